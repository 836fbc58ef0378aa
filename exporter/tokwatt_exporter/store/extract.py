"""Parts of the history in a DuckDB of their own: the file is open only while they are read."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tokwatt_exporter.errors import StoreError, StoreLocked
from tokwatt_exporter.store import file, schema
from tokwatt_exporter.store.views import UNPACKED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Seconds that an export waits for the file: longer than a portion of upkeep takes.
LOCK_WAIT = 30.0
_MEMORY = "256MB"


class Part(NamedTuple):
    """What one table has of a host and a day. The mark is another one when the rows are, or how they are kept."""

    table: str
    host: str
    #: ISO 8601; None for a benchmark run that says no time.
    date: str | None
    mark: str


class Extract:
    """Takes parts out of the history of a data directory, one at a time. `StoreLocked` while others hold the file."""

    def __init__(self, data_dir: Path, db: DuckDBPyConnection, wait: float) -> None:
        #: The part that was taken is in its tables `staged` and `named`, or in `rows` for a benchmark's.
        self.db = db
        self._data_dir = data_dir
        self._wait = wait

    def parts(self) -> list[Part]:
        """All that the history has now, the oldest first."""
        with self._attached():
            return [Part(*row) for row in self.db.execute(_PARTS).fetchall()]

    def take(self, part: Part) -> tuple[Part, int]:
        """Read a part; gives it with the mark it has now, and the number of its rows."""
        named = {"host": part.host, "date": part.date}
        with self._attached():
            found = self.db.execute(f"{_OF[part.table]} HAVING host = $host AND date IS NOT DISTINCT FROM $date", named)
            now = [Part(*row) for row in found.fetchall()]
            if part.table == "sample":
                self._take_samples(_DAY, {"host": part.host}, {"date": part.date})
            else:
                self.db.execute(f"CREATE OR REPLACE TABLE memory.rows AS {_BENCH[part.table]}", named)
        rows = self._settle() if part.table == "sample" else _count(self.db, "rows")
        return (now or [part])[0], rows

    def take_range(self, metrics: Sequence[str], labels: Mapping[str, str], since_ms: int, until_ms: int) -> int:
        """Read the samples of some metrics, or of all where none is named, between two times; gives their number."""
        wanted = {"metrics": list(metrics), "names": list(labels), "wanted": list(labels.values())}
        with self._attached():
            self._take_samples(_RANGE, wanted, {"since": since_ms, "until": until_ms})
        return self._settle()

    def _take_samples(self, where: _Where, of: dict[str, Any], bounds: dict[str, Any]) -> None:
        run = self.db.execute
        run(f"CREATE OR REPLACE TABLE memory.named AS {where.series}", of)
        ids = "series_id IN (SELECT series_id FROM memory.named)"
        run(
            f"""CREATE OR REPLACE TABLE memory.taken AS
            SELECT series_id, time, value, rowid AS place FROM sample_row WHERE {ids} AND {where.time} UNION ALL
            SELECT series_id, time, value, -1 FROM ({UNPACKED} WHERE {ids} AND {where.day})
            WHERE value IS NOT NULL AND {where.time}""",
            bounds,
        )

    def _settle(self) -> int:
        """One value a time and series, as packing has it; the history is free meanwhile."""
        run = self.db.execute
        if run("SELECT 1 FROM taken WHERE place >= 0 LIMIT 1").fetchone():
            run("CREATE OR REPLACE TABLE staged AS SELECT series_id, time, arg_max(value, place) AS value FROM taken"
                " GROUP BY ALL")  # fmt: skip
        else:
            run("CREATE OR REPLACE TABLE staged AS SELECT series_id, time, value FROM taken")
        run("DROP TABLE taken")
        return _count(self.db, "staged")

    @contextmanager
    def _attached(self) -> Iterator[None]:
        import duckdb

        path = file.existing(self._data_dir)
        with file.store_lock(self._data_dir, self._wait, shared=True):
            try:
                self._attach(path)
                try:
                    self.db.execute("USE history")
                    if schema.check(self.db, path) < len(schema.MIGRATIONS):
                        raise StoreError(f"{path} is of an older tokwatt; the next flush brings it up to date")
                    yield
                finally:
                    self.db.execute("USE memory")
                    self.db.execute("DETACH history")
            except duckdb.Error as error:
                raise file.explained(error, path) from error

    def _attach(self, path: Path) -> None:
        import duckdb

        end = time.monotonic() + self._wait
        while True:
            try:
                self.db.execute(f"ATTACH {quoted(str(path))} AS history (READ_ONLY)")
                return
            except duckdb.IOException as error:
                if "Could not set lock" not in str(error) or time.monotonic() >= end:
                    raise
            time.sleep(0.05)


@contextmanager
def extract(data_dir: Path, folder: Path, *, wait: float = LOCK_WAIT) -> Iterator[Extract]:
    """An `Extract` that may use a folder for what has no room in memory."""
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _MEMORY, "threads": 1, "temp_directory": str(folder),
        "autoinstall_known_extensions": "false",
    }  # fmt: skip
    with duckdb.connect(config=config) as db:
        yield Extract(data_dir, db, wait)


@contextmanager
def scratch(data_dir: Path) -> Iterator[Path]:
    """A folder for files on their way out; one export a data directory at a time, `StoreLocked` for a second one."""
    if not file.ours(data_dir):
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    folder = data_dir / "export"
    with (data_dir / "export.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreLocked(f"another export of {data_dir} is under way; try again later") from None
        # What one that died has left.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _count(db: DuckDBPyConnection, table: str) -> int:
    [(rows,)] = db.execute(f"SELECT count(*) FROM memory.{table}").fetchall()
    return int(rows)


class _Where(NamedTuple):
    series: str
    time: str
    day: str


_DAY = _Where(
    "SELECT series_id, metric, labels, host FROM series WHERE host = $host",
    "time >= $date::DATE AND time < $date::DATE + 1",
    "day + 0 = $date::DATE",
)
_RANGE = _Where(
    """SELECT series_id, metric, labels, host FROM series
    WHERE (len($metrics::VARCHAR[]) = 0 OR list_contains($metrics::VARCHAR[], metric))
      AND list_has_all(map_entries(labels), map_entries(map($names::VARCHAR[], $wanted::VARCHAR[])))""",
    "time >= make_timestamp_ms($since) AND time <= make_timestamp_ms($until)",
    "day + 0 >= make_timestamp_ms($since)::DATE AND day + 0 <= make_timestamp_ms($until)::DATE",
)
# No list is read for it: rows that wait to be packed, and what the packed ones say of themselves.
_SAMPLE_PARTS = """
SELECT 'sample' AS part, host, date::VARCHAR AS date, concat_ws('.', sum(waiting), count(ticks), sum(ticks),
    sum(tick_id::HUGEINT * ticks)) AS mark
FROM (SELECT host, time::DATE AS date, count(*) AS waiting, NULL AS ticks, NULL AS tick_id
      FROM sample_row JOIN series USING (series_id) GROUP BY ALL UNION ALL
      SELECT host, day, 0, ticks, tick_id FROM sample_day JOIN series USING (series_id))
GROUP BY host, date
"""
_RUN_DATE = "coalesce(finished, started)::DATE::VARCHAR"
_RUN_PARTS = f"""
SELECT '{{}}' AS part, coalesce(host, '') AS host, date, md5(string_agg(run_id, ' ' ORDER BY run_id)) AS mark
FROM (SELECT run_id, host, {_RUN_DATE} AS date FROM bench_run {{}}) GROUP BY ALL
"""
_OF = {
    "sample": _SAMPLE_PARTS,
    "bench_run": _RUN_PARTS.format("bench_run", ""),
    "bench_request": _RUN_PARTS.format("bench_request", "WHERE run_id IN (SELECT run_id FROM bench_request)"),
}
_PARTS = f"SELECT * FROM ({' UNION ALL '.join(f'({sql})' for sql in _OF.values())}) ORDER BY date, part DESC, host"
_RUNS = f"coalesce(host, '') = $host AND {_RUN_DATE} IS NOT DISTINCT FROM $date"
_BENCH = {
    "bench_run": f"SELECT * FROM bench_run WHERE {_RUNS} ORDER BY run_id",
    "bench_request": f"""SELECT * FROM bench_request WHERE run_id IN (SELECT run_id FROM bench_run WHERE {_RUNS})
        ORDER BY run_id, phase DESC, request_index""",
}
