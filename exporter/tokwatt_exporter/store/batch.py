"""Rows on their way from the journal to the tables, checked so that the tables cannot refuse them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)

#: Metric, labels sorted by name, host: what makes a series one.
Series = tuple[str, tuple[tuple[str, str], ...], str]
#: The first millisecond of the year 10000.
_END_OF_TIME = 253_402_300_800_000

_WANTED = """
    SELECT unnest($ids::INTEGER[]) AS id, unnest($metrics::VARCHAR[]) AS metric,
        map(unnest($names::VARCHAR[][]), unnest($values::VARCHAR[][])) AS labels, unnest($hosts::VARCHAR[]) AS host
"""


class Batch:
    """Rows of one transaction, and how far each segment was read for them."""

    def __init__(self) -> None:
        self.offsets: dict[str, int] = {}
        self.skipped = 0
        self._series: dict[Series, int] = {}
        self._ids: list[int] = []
        self._times: list[int] = []
        self._values: list[float] = []
        self._bench: dict[str, Mapping[str, Any]] = {}

    @property
    def rows(self) -> int:
        """Sample rows so far."""
        return len(self._ids)

    def reader(self) -> Reader:
        """For the records of one segment, in order."""
        return Reader(self)

    def add_samples(self, time_ms: int, rows: list[tuple[Series, float]]) -> None:
        """Rows of one time."""
        for series, value in rows:
            self._ids.append(self._series.setdefault(series, len(self._series)))
            self._times.append(time_ms)
            self._values.append(value)

    def add_bench(self, run_id: str, record: Mapping[str, Any]) -> None:
        """A benchmark run with its requests; the first of an id stays."""
        self._bench.setdefault(run_id, record)

    def insert(self, db: DuckDBPyConnection, step: Callable[[str], None]) -> tuple[int, int, int]:
        """Put all rows into the tables, in the caller's transaction: sample rows, runs, and runs that made no sense."""
        if self._ids:
            step("series")
            stored = self._stored_series(db)
            step("samples")
            db.execute(
                "INSERT INTO sample_row SELECT id, make_timestamp_ms(time), value FROM (SELECT"
                " unnest($1::INTEGER[]) AS id, unnest($2::BIGINT[]) AS time, unnest($3::DOUBLE[]) AS value)",
                [[stored[number] for number in self._ids], self._times, self._values],
            )
        runs = useless = 0
        for run_id, record in self._bench.items():
            step("bench")
            try:
                runs += _insert_bench(db, run_id, record)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                log.error("benchmark run %s cannot be kept: %s", run_id, error)
                useless += 1
        return len(self._ids), runs, useless

    def _stored_series(self, db: DuckDBPyConnection) -> list[int]:
        """The series_id of each of our numbers; series that are new are added."""
        found = dict(
            db.execute(
                f"SELECT wanted.id, series_id FROM ({_WANTED}) AS wanted JOIN series USING (metric, labels, host)",
                _columns(list(self._series), range(len(self._series))),
            ).fetchall()
        )
        new = [series for series, number in self._series.items() if number not in found]
        if new:
            [(top,)] = db.execute("SELECT coalesce(max(series_id), 0) FROM series").fetchall()
            ids = range(top + 1, top + 1 + len(new))
            db.execute(f"INSERT INTO series {_WANTED}", _columns(new, ids))
            found |= {self._series[series]: series_id for series, series_id in zip(new, ids, strict=True)}
        return [found[number] for number in range(len(self._series))]


def _columns(series: list[Series], ids: range) -> dict[str, Any]:
    return {
        "ids": list(ids),
        "metrics": [metric for metric, _, _ in series],
        "names": [[name for name, _ in labels] for _, labels, _ in series],
        "values": [[value for _, value in labels] for _, labels, _ in series],
        "hosts": [host for _, _, host in series],
    }


class Reader:
    """Gives the records of one segment their meaning: a series is defined where it first occurs."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._defined: dict[int, tuple[str, tuple[tuple[str, str], ...]]] = {}

    def learn(self, record: Mapping[str, Any]) -> bool:
        """Take in only the definitions of a record; False where one makes no sense."""
        series = record.get("series")
        if not isinstance(series, dict):
            return series is None
        good = True
        for number, definition in series.items():
            try:
                # What cannot be read must not leave the number with an older meaning.
                self._defined.pop(int(number), None)
                labels = definition["labels"].items()
                if not all(isinstance(text, str) for pair in labels for text in pair):
                    raise TypeError
                self._defined[int(number)] = (str(definition["metric"]), tuple(sorted(labels)))
            except (ValueError, TypeError, KeyError, AttributeError):
                good = False
        return good

    def add(self, record: Mapping[str, Any]) -> bool:
        """Take in a record; False where it, or some of it, makes no sense and was left out."""
        match record:
            case {"kind": "bench", "run": {"run_id": str(run_id)}}:
                self._batch.add_bench(run_id, record)
                return True
            case {"kind": "samples", "time_ms": int(time_ms), "host": str(host), "values": list(values)}:
                good = self.learn(record)
                rows = [row for pair in values if (row := self._row(pair, host))]
                if not 0 <= time_ms < _END_OF_TIME:
                    return False
                self._batch.add_samples(time_ms, rows)
                return good and len(rows) == len(values)
        return False

    def _row(self, pair: Any, host: str) -> tuple[Series, float] | None:
        try:
            number, value = pair
            metric, labels = self._defined[number]
            value = float(value)
        except (ValueError, TypeError, KeyError, OverflowError):
            return None
        return ((metric, labels, host), value) if math.isfinite(value) else None


def _insert_bench(db: DuckDBPyConnection, run_id: str, record: Mapping[str, Any]) -> int:
    if db.execute("SELECT 1 FROM bench_run WHERE run_id = $1", [run_id]).fetchone():
        return 0
    requests: list[Mapping[str, Any]] = [{**request, "run_id": run_id} for request in record.get("requests", [])]
    given: dict[str, list[Mapping[str, Any]]] = {"bench_run": [record["run"]], "bench_request": requests}
    # Every cell is checked before the first row goes in: a run is kept whole or not at all.
    tables = [(table, kinds := _kinds(db, table), _cells(table, kinds, rows)) for table, rows in given.items()]
    for table, kinds, cells in tables:
        marks = ", ".join(
            f"make_timestamp_ms(${n})" if kind == "TIMESTAMP_MS" else f"${n}"
            for n, kind in enumerate(kinds.values(), 1)
        )
        if cells:
            db.executemany(f"INSERT INTO {table} VALUES ({marks})", cells)
    return 1


def _kinds(db: DuckDBPyConnection, table: str) -> dict[str, str]:
    """The type of each column, in order."""
    # Not out of the catalogue of columns, which takes DuckDB 17 ms to list.
    columns = db.execute(f"SELECT * FROM {table} LIMIT 0").description or []
    return {name: str(kind) for name, kind, *_ in columns}


def _cells(table: str, kinds: Mapping[str, str], rows: list[Mapping[str, Any]]) -> list[list[Any]]:
    if unknown := {name for row in rows for name in row} - kinds.keys():
        log.warning("%s has no column %s; it is left out", table, ", ".join(sorted(unknown)))
    return [[_cell(name, kind, row.get(name)) for name, kind in kinds.items()] for row in rows]


def _cell(name: str, kind: str, value: Any) -> Any:
    """A value as its column takes it; `ValueError` where it cannot be one."""
    if value is None:
        return None
    match kind, value:
        case "VARCHAR", str():
            return value
        case "JSON", _:
            return value if isinstance(value, str) and _is_json(value) else json.dumps(value, allow_nan=False)
        case "BOOLEAN", bool():
            return value
        case "INTEGER", int() if not isinstance(value, bool) and abs(value) < 2**31:
            return value
        case "DOUBLE", int() | float() if not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        case "BIGINT[]", list() if all(type(part) is int and abs(part) < 2**63 for part in value):
            return value
        case "TIMESTAMP_MS", int() | str() if 0 <= (time_ms := _time_ms(value)) < _END_OF_TIME:
            return time_ms
    raise ValueError(f"{name} is {kind}, not {value!r:.60}")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _time_ms(value: int | str) -> int:
    if isinstance(value, int):
        return value
    time = datetime.fromisoformat(value)
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
