"""Taking another machine's export into the history: what it has already stays as it is, so each row comes in once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tokwatt_exporter.errors import StoreError, UsageError
from tokwatt_exporter.store import file, parquet
from tokwatt_exporter.store.extract import LOCK_WAIT, quoted
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.parquet import Facts
from tokwatt_exporter.store.views import UNPACKED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Rows of a transaction: a second or two, in which nobody else can open the file.
ROWS = 500_000
_MEMORY = "768MB"
#: What a file of samples has, and must have.
_COLUMNS = {"time": "TIMESTAMP", "metric": "VARCHAR", "labels": "MAP(VARCHAR, VARCHAR)", "value": "DOUBLE"}
Step = Callable[[str], None]


@dataclass(slots=True)
class Imported:
    """What an import did; `known_rows` were in the history already, `refused_rows` are such as it never keeps."""

    files: int = 0
    rows: int = 0
    known_rows: int = 0
    refused_rows: int = 0
    bench_runs: int = 0


class _File(NamedTuple):
    path: Path
    facts: Facts


def import_(
    data_dir: Path, paths: Sequence[Path], *, wait: float = LOCK_WAIT, rows: int = ROWS,
    step: Step = lambda name: None,
) -> Imported:  # fmt: skip
    """Merge Parquet files, and those in folders, into the history; `UsageError` before the first row for one that is
    no export.

    May die at any moment and be done again. `step` is called before each thing that changes the history.
    """
    files = _checked(_found(paths))
    ingest(data_dir, wait=wait)
    done = Imported()
    # Runs before their requests.
    for one in sorted(files, key=lambda one: list(parquet.FOLDERS).index(one.facts.part.table)):
        try:
            if one.facts.part.table == "sample":
                _samples(data_dir, one, wait, rows, done, step)
            else:
                _bench(data_dir, one, wait, done, step)
        except OSError as error:
            raise StoreError(f"{data_dir}: {error.strerror or error}") from error
        done.files += 1
    return done


def _found(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            # What is hidden is not whole yet.
            inside = sorted(one for one in path.rglob("*.parquet") if not one.name.startswith("."))
            if not inside:
                raise UsageError(f"{path} holds no Parquet files")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(f"{path}: there is no such file or folder")
    return found


def _checked(paths: Sequence[Path]) -> list[_File]:
    import duckdb

    files: list[_File] = []
    with duckdb.connect(config={"autoinstall_known_extensions": "false", "threads": 1}) as db:
        for path in paths:
            facts = parquet.facts(db, str(path))
            if facts is None:
                raise UsageError(f"{path} is no Parquet file of `tokwatt history export`")
            kinds = _kinds(db, path)
            wanted = _COLUMNS if facts.part.table == "sample" else {"run_id": "VARCHAR"}
            if any(kinds.get(name) != kind for name, kind in wanted.items()):
                raise UsageError(f"{path} says that it is an export of tokwatt, and has other columns")
            files.append(_File(path, facts))
    return files


def _kinds(db: DuckDBPyConnection, path: Path) -> dict[str, str]:
    """The type of each column; none where the file says too little."""
    import duckdb

    try:
        return {name: str(kind) for name, kind, *_ in db.execute(f"{_scan(path)} LIMIT 0").description or []}
    except duckdb.Error:
        return {}


def _scan(path: Path, *options: str) -> str:
    # The folders it lies in must not become columns: the file says its host itself.
    return f"FROM read_parquet({', '.join((quoted(str(path)), 'hive_partitioning = false', *options))})"


def _given(db: DuckDBPyConnection, path: Path, sql: str) -> int:
    """Put rows of a file into `given`; gives how many there are."""
    import duckdb

    try:
        return _one(db.execute(f"CREATE TEMP TABLE given AS {sql}"))
    except duckdb.Error as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from None


def _samples(data_dir: Path, one: _File, wait: float, rows: int, done: Imported, step: Step) -> None:
    path = file.path_of(data_dir)
    first = 0
    while first < max(one.facts.rows, 1):
        with file.store_lock(data_dir, wait), file.connection(path, wait) as db:
            portion = _Portion(db, one, step)
            read = portion.read(first, rows)
            if not read:
                break
            taken, refused = portion.insert()
        done.rows += taken
        done.refused_rows += refused
        done.known_rows += read - taken - refused
        first += rows


class _Portion:
    """Some rows of a file, on an open history."""

    def __init__(self, db: DuckDBPyConnection, one: _File, step: Step) -> None:
        self._db = db
        self._file = one
        self._step = step

    def read(self, first: int, rows: int) -> int:
        """Put rows of the file aside; gives how many there are."""
        run = self._db.execute
        run(f"SET memory_limit = '{_MEMORY}'")
        # The order of labels in a file is nobody's to rely on, and here it is part of what a series is.
        return _given(
            self._db, self._file.path,
            f"""SELECT make_timestamp_ms(epoch_ms(time)) AS time, metric, value,
            map_from_entries(list_sort(map_entries(labels))) AS labels
            {_scan(self._file.path, "file_row_number = true")}
            WHERE file_row_number >= {first} AND file_row_number < {first + rows}""",
        )  # fmt: skip

    def insert(self) -> tuple[int, int]:
        """Add what is new in one transaction; rows that were added, and rows such as ingestion would refuse."""
        run = self._db.execute
        refused = _one(run(f"DELETE FROM given WHERE NOT coalesce({_GOOD}, false)"))
        self._step("begin")
        run("BEGIN")
        self._step("series")
        run(_SERIES, {"host": self._file.facts.part.host})
        self._step("samples")
        # The days are named in the text: only so does DuckDB leave the lists of all others alone.
        days = (
            ", ".join(f"DATE '{day}'" for (day,) in run("SELECT DISTINCT time::DATE FROM given").fetchall()) or "NULL"
        )
        taken = _one(run(_NEW.replace(":days", days), {"host": self._file.facts.part.host}))
        self._step("commit")
        run("COMMIT")
        return taken, refused


#: What ingestion asks of a row.
_GOOD = """isfinite(value) AND metric IS NOT NULL AND list_aggregate(map_values(labels), 'count') = cardinality(labels)
    AND time >= TIMESTAMP '1970-01-01' AND time < TIMESTAMP '10000-01-01'"""
_SERIES = """
INSERT INTO series
SELECT (SELECT coalesce(max(series_id), 0) FROM series) + row_number() OVER (ORDER BY metric, map_entries(labels)),
    metric, labels, $host
FROM (SELECT DISTINCT metric, labels FROM given
      ANTI JOIN (SELECT metric, labels FROM series WHERE host = $host) USING (metric, labels))
"""
_NEW = f"""
INSERT INTO sample_row
WITH known AS (SELECT series_id, metric, labels FROM series WHERE host = $host),
coming AS (SELECT series_id, time, any_value(value) AS value FROM given JOIN known USING (metric, labels)
           GROUP BY series_id, time)
SELECT series_id, time, value FROM coming
ANTI JOIN (SELECT series_id, time FROM sample_row
           WHERE time >= (SELECT min(time) FROM coming) AND time <= (SELECT max(time) FROM coming)
           UNION ALL
           SELECT series_id, time FROM ({UNPACKED} WHERE day IN (:days)
               AND series_id IN (SELECT series_id FROM coming)) WHERE value IS NOT NULL) USING (series_id, time)
"""


def _bench(data_dir: Path, one: _File, wait: float, done: Imported, step: Step) -> None:
    table = one.facts.part.table
    with file.store_lock(data_dir, wait), file.connection(file.path_of(data_dir), wait) as db:
        read = _given(db, one.path, f"SELECT * {_scan(one.path)}")
        # Of an older or newer tokwatt: the columns that both know.
        columns = ", ".join(f'"{name}"' for name in _names(db, table) if name in _names(db, "given"))
        step("bench")
        new = _one(db.execute(f"INSERT INTO {table} BY NAME SELECT {columns} FROM given WHERE {_NEW_BENCH[table]}"))
    done.bench_runs += new if table == "bench_run" else 0
    done.rows += new
    done.known_rows += read - new


_NEW_BENCH = {
    "bench_run": """run_id NOT IN (SELECT run_id FROM bench_run)
        QUALIFY row_number() OVER (PARTITION BY run_id) = 1""",
    # Those of a run come in one file, and in one step.
    "bench_request": """run_id IN (SELECT run_id FROM bench_run)
        AND run_id NOT IN (SELECT run_id FROM bench_request)""",
}


def _names(db: DuckDBPyConnection, table: str) -> list[str]:
    return [name for name, *_ in db.execute(f"SELECT * FROM {table} LIMIT 0").description or []]


def _one(found: DuckDBPyConnection) -> int:
    [(count,)] = found.fetchall()
    return int(count)
