"""Reading the history in this process: what is pending is taken in first, then the file is opened for reading only."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokwatt_exporter.errors import StoreError, StoreSlow, UsageError
from tokwatt_exporter.store import file, schema, segment
from tokwatt_exporter.store.expression import Expression
from tokwatt_exporter.store.queries import Prepared, prepare
from tokwatt_exporter.store.views import UNPACKED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)

#: Seconds that a reader waits for the file, and that its SQL may run.
LOCK_WAIT = 3.0
TIMEOUT = 30.0
#: Snapshots that are read at a time, so that memory stays bounded and the file is free in between.
PAGE = 100


def query(
    data_dir: Path, name: str, params: Mapping[str, Any] | None = None, *, wait: float = LOCK_WAIT,
    timeout: float = TIMEOUT,
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of a named query, the newest samples included; empty where there is no history.

    Times are ISO 8601 in UTC. `UsageError` for what the query does not take, `StoreLocked` while another program
    holds the file, `StoreError` when the query takes longer than `timeout` seconds.
    """
    return answer(data_dir, prepare(name, params), wait=wait, timeout=timeout)


def answer(
    data_dir: Path, prepared: Prepared, *, wait: float = LOCK_WAIT, timeout: float = TIMEOUT
) -> list[dict[str, Any]]:
    """The rows of a query that is prepared already; else as `query`."""
    take_in(data_dir, wait)
    with opened(data_dir, wait, timeout) as db:
        return rows_of(db, prepared) if db else []


def snapshots(
    data_dir: Path, after_ms: int, until_ms: int, *, wait: float = LOCK_WAIT
) -> Iterator[tuple[int, list[tuple[str, dict[str, str], float]]]]:
    """Every snapshot after `after_ms` up to `until_ms`, oldest first: its time and (metric, labels, value) of each row.

    The file is open only while a page of them is read.
    """
    take_in(data_dir, wait)
    while True:
        with opened(data_dir, wait, TIMEOUT) as db:
            page = _page(db, after_ms, until_ms) if db else []
        found: dict[int, list[tuple[str, dict[str, str], float]]] = {}
        for time_ms, metric, labels, value in page:
            found.setdefault(time_ms, []).append((metric, labels, value))
        if not found:
            return
        yield from found.items()
        after_ms = max(found)


def _page(db: DuckDBPyConnection, after_ms: int, until_ms: int) -> list[tuple[int, str, dict[str, str], float]]:
    between = "time > make_timestamp_ms($after) AND time <= make_timestamp_ms($until)"
    days = "day BETWEEN make_timestamp_ms($after)::DATE AND make_timestamp_ms($until)::DATE"
    rows = (
        f"SELECT series_id, time, value FROM sample_row WHERE {between} UNION ALL"
        f" SELECT series_id, time, value FROM ({UNPACKED} WHERE {days}) WHERE value IS NOT NULL AND {between}"
    )
    bounds = {"after": after_ms, "until": until_ms}
    [(last,)] = db.execute(
        f"SELECT epoch_ms(max(time)) FROM (SELECT DISTINCT time FROM ({rows}) ORDER BY time LIMIT {PAGE})", bounds
    ).fetchall()
    if last is None:
        return []
    return db.execute(
        f"SELECT epoch_ms(time), metric, labels, value FROM ({rows}) JOIN series USING (series_id)"
        " ORDER BY time, series_id",
        bounds | {"until": last},
    ).fetchall()


def newest_ms(db: DuckDBPyConnection) -> int | None:
    """Time of the newest sample in an open history; None where there is none."""
    [(newest,)] = db.execute("SELECT epoch_ms(max(time)) FROM sample_row").fetchall()
    if newest is None:
        # Only then: to look into the lists takes longer.
        [(newest,)] = db.execute("SELECT epoch_ms(max(list_last(times))) FROM sample_tick").fetchall()
    return int(newest) if newest is not None else None


def info(data_dir: Path, *, wait: float = LOCK_WAIT) -> dict[str, Any]:
    """What the history of a data directory holds; what is not known is None."""
    take_in(data_dir, wait)
    path = file.path_of(data_dir)
    facts: dict[str, Any] = {"path": str(path), "exists": path.exists()}
    names = ("schema_version", "series", "samples", "first_sample", "last_sample", "benchmark_runs")
    with opened(data_dir, wait, TIMEOUT) as db:
        if db:
            row = db.execute(
                "SELECT (SELECT max(version) FROM schema_version), (SELECT count(*) FROM series), count(*), min(time),"
                " max(time), (SELECT count(*) FROM bench_run) FROM sample"
            ).fetchone()
            facts |= dict(zip(names, map(plain, row or ()), strict=True))
        else:
            facts |= dict.fromkeys(names)
    waiting = segment.waiting(data_dir)
    return facts | {
        "size_bytes": file.size_of(path), "journal_bytes": waiting.bytes, "journal_records": waiting.records,
    }  # fmt: skip


def take_in(data_dir: Path, wait: float) -> None:
    """Take in what is pending, where this user may write and nobody holds the file; a line in the log where not."""
    if not segment.names(data_dir) or not file.ours(data_dir):
        return
    from tokwatt_exporter.store.ingest import ingest

    try:
        ingest(data_dir, wait=wait)
    except StoreError as error:
        # What is in the file can be read all the same; if it cannot, opening it says why.
        log.warning("the newest samples are still in the journal: %s", error)


@contextmanager
def opened(data_dir: Path, wait: float, timeout: float) -> Iterator[DuckDBPyConnection | None]:
    """The history, for reading only and no longer than `timeout` seconds; None where there is none."""
    path = file.path_of(data_dir)
    if not path.exists():
        yield None
        return
    with file.store_lock(data_dir, wait, shared=True), file.connection(path, wait, read_only=True) as db:
        schema.check(db, path)
        expired = threading.Event()

        def end() -> None:
            expired.set()
            db.interrupt()

        timer = threading.Timer(timeout, end)
        timer.daemon = True
        timer.start()
        try:
            yield db
        except Exception as error:
            if expired.is_set():
                raise StoreSlow(f"the query took longer than {timeout:g} s; ask for less") from error
            raise
        finally:
            timer.cancel()


def rows_of(db: DuckDBPyConnection, prepared: Prepared) -> list[dict[str, Any]]:
    """Run a query on an open history; a row is a dict of what JSON can say."""
    if prepared.series:
        return _samples(db, prepared, *prepared.series)
    found = db.execute(prepared.sql, dict(prepared.values))
    columns = [(name, str(kind)) for name, kind, *_ in found.description or ()]
    rows = found.fetchall()
    _check(prepared, len(rows))
    return [
        {name: json.loads(cell) if kind == "JSON" and cell else plain(cell)
         for (name, kind), cell in zip(columns, row, strict=True)}
        for row in rows
    ]  # fmt: skip


def _samples(
    db: DuckDBPyConnection, prepared: Prepared, sql: str, values: Mapping[str, Any]
) -> list[dict[str, Any]]:  # fmt: skip
    found = _series(db, sql, values)
    named = {number: (labels, {"host": host}) for number, (labels, host) in found.items()}
    # Numbers in the text and not in a subquery: only then does DuckDB use its index.
    text = prepared.sql.replace(":ids", ", ".join(str(int(number)) for number in found) or "NULL")
    if prepared.over:
        number_of = {number: number for number in found}
        if prepared.over.expression.aggregation:
            named, number_of = _groups(prepared.over.expression, found)
        groups = ", ".join(f"({int(number)}, {int(group)})" for number, group in number_of.items())
        text = text.replace(":groups", groups or "(NULL, NULL)")
    rows = db.execute(text, dict(prepared.values)).fetchall()
    _check(prepared, len(rows))
    return [
        {"time": time, "labels": named[number][0], "value": value, **named[number][1]} for time, number, value in rows
    ]


def _series(db: DuckDBPyConnection, sql: str, values: Mapping[str, Any]) -> dict[int, tuple[dict[str, str], str]]:
    import duckdb

    try:
        return {number: (labels, host) for number, labels, host in db.execute(sql, dict(values)).fetchall()}
    except duckdb.InvalidInputException as error:
        raise UsageError(f"expr: not a pattern that RE2 knows: {first_line(error)}") from None


def _groups(
    expression: Expression, series: Mapping[int, tuple[dict[str, str], str]]
) -> tuple[dict[int, tuple[dict[str, str], dict[str, str]]], dict[int, int]]:
    """Labels of each group by its number, and the number of each series' group."""
    number_of: dict[int, int] = {}
    named: dict[int, tuple[dict[str, str], dict[str, str]]] = {}
    known: dict[tuple[tuple[str, str], ...], int] = {}
    for series_id, (labels, host) in series.items():
        group = expression.group(labels, host)
        number = known.setdefault(tuple(group.items()), len(known))
        named[number] = (group, {})
        number_of[series_id] = number
    return named, number_of


def first_line(error: Exception) -> str:
    """What DuckDB says is wrong, in one line, without its kind and the place."""
    said = str(error).partition("\n\n")[0]
    return " ".join(said.partition(": ")[2].split())[:300]


def _check(prepared: Prepared, rows: int) -> None:
    if prepared.limit is not None and rows > prepared.limit:
        raise UsageError(
            f"{prepared.name}: more than {prepared.limit} rows; ask for a shorter time, fewer series or a longer step"
        )


def plain(value: Any) -> Any:
    """A value as JSON has it: times are ISO 8601 in UTC with milliseconds."""
    return value.isoformat(timespec="milliseconds") + "Z" if isinstance(value, datetime) else value
