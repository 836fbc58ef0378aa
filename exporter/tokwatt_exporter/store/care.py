"""What a user does to the history by hand: check it, write it anew, forget a part of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.store import file, schema
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.samples import MATCHING
from tokwatt_exporter.store.upkeep import Retention, upkeep
from tokwatt_exporter.store.views import UNPACKED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: What must hold of the tables, each with a query that counts where it does not.
_RULES = {
    "samples of no series": "SELECT count(*) FROM sample_row ANTI JOIN series USING (series_id)",
    "packed days of no series": "SELECT count(*) FROM sample_day ANTI JOIN series USING (series_id)",
    "packed days without their times": "SELECT count(*) FROM sample_day ANTI JOIN sample_tick USING (tick_id)",
    "days packed twice": "SELECT count(*) - count(DISTINCT (series_id, day)) FROM sample_day",
    "packed days whose values and times differ in number": """
        SELECT count(*) FROM sample_day JOIN sample_tick USING (tick_id)
        WHERE first_tick + ticks - 1 > len(times) OR coalesce(len("values"), len(floats), 0) NOT IN (1, ticks)""",
    "minutes rolled up twice": "SELECT count(*) - count(DISTINCT (series_id, time)) FROM rollup_1m",
    "hours rolled up twice": "SELECT count(*) - count(DISTINCT (series_id, time)) FROM rollup_1h",
    "roll-ups of no series": "SELECT count(*) FROM rollup_1h ANTI JOIN series USING (series_id)",
    "requests of no benchmark run": "SELECT count(*) FROM bench_request ANTI JOIN bench_run USING (run_id)",
}
_TABLES = ("series", "sample_row", "sample_day", "sample_tick", "rollup_1m", "rollup_1h", "bench_run", "bench_request")


def check(data_dir: Path, *, wait: float = 5.0) -> dict[str, Any]:
    """Read all of the history; `problems` says what is wrong with it, `moved_aside` names damaged ones of before."""
    path = file.path_of(data_dir)
    facts: dict[str, Any] = {
        "path": str(path), "size_bytes": file.size_of(path), "schema_version": None, "free_bytes": None, "rows": {},
        "moved_aside": [kept.name for kept in file.moved_aside(data_dir)], "problems": [],
    }  # fmt: skip
    if not path.exists():
        facts["problems"].append("there is no history")
        return facts
    try:
        with file.store_lock(data_dir, wait, shared=True), file.connection(path, wait, read_only=True) as db:
            facts["schema_version"] = schema.check(db, path)
            if facts["schema_version"] == len(schema.MIGRATIONS):
                _read_all(db, facts)
    except file.StoreDamaged as error:
        facts["problems"].append(str(error))
    return facts


def _read_all(db: DuckDBPyConnection, facts: dict[str, Any]) -> None:
    [(free,)] = db.execute(
        "SELECT free_blocks * block_size FROM pragma_database_size() WHERE database_name = current_database()"
    ).fetchall()
    facts["free_bytes"] = free
    for table in _TABLES:
        # A hash of every column, so that every block is read and its checksum compared.
        [(rows, _)] = db.execute(f"SELECT count(*), bit_xor(hash({table})) FROM {table}").fetchall()
        facts["rows"][table] = rows
    for rule, sql in _RULES.items():
        [(broken,)] = db.execute(sql).fetchall()
        if broken:
            facts["problems"].append(f"{rule}: {broken}")


def compact(data_dir: Path, retention: Retention, *, wait: float = 5.0) -> dict[str, int]:
    """Take in the journal, pack all closed days, drop what is too old, and write the file anew without free room."""
    before = _taken_in(data_dir, wait)
    packed = 0
    while True:
        done = upkeep(data_dir, retention, wait=wait)
        packed += done.packed
        if not done.more:
            break
    path = file.path_of(data_dir)
    with file.store_lock(data_dir, wait):
        file.rewrite(path, wait)
    return {"packed": packed, "before_bytes": before, "after_bytes": file.size_of(path)}


def forget(
    data_dir: Path, metric: str | None, labels: Mapping[str, str], before_ms: int | None, *, dry_run: bool = False,
    wait: float = 5.0,
) -> dict[str, Any]:  # fmt: skip
    """Delete the samples and roll-ups of matching series, all or those before a time, and the room they had.

    `UsageError` where nothing says what; benchmark runs and copies of the file stay.
    """
    if metric is None and not labels and before_ms is None:
        raise UsageError("say what to forget: --metric, --label or --before")
    _taken_in(data_dir, wait)
    path = file.path_of(data_dir)
    until = datetime.max if before_ms is None else datetime.fromtimestamp(before_ms / 1000, UTC).replace(tzinfo=None)
    with file.store_lock(data_dir, wait):
        with file.connection(path, wait) as db:
            db.execute("BEGIN")
            found = {"metric": metric, "names": list(labels), "wanted": list(labels.values())}
            db.execute(f"CREATE TEMP TABLE gone AS {MATCHING}", found)
            counts = _forget(db, until, whole=before_ms is None)
            db.execute("ROLLBACK" if dry_run else "COMMIT")
        if not dry_run:
            # What was deleted would lie in the free room of the file.
            file.rewrite(path, wait)
    return counts | {"size_bytes": file.size_of(path), "copies": _copies(data_dir)}


def _forget(db: DuckDBPyConnection, until: datetime, *, whole: bool) -> dict[str, int]:
    of_them = "series_id IN (SELECT series_id FROM gone)"
    [(series,)] = db.execute("SELECT count(*) FROM gone").fetchall()
    [(samples,)] = db.execute(f"SELECT count(*) FROM sample WHERE {of_them} AND time < $1", [until]).fetchall()
    # Of the day that the time lies in, what is after it becomes rows again.
    db.execute(
        f"""INSERT INTO sample_row SELECT series_id, time, value
        FROM ({UNPACKED} WHERE {of_them} AND day + 0 = $1::DATE)
        WHERE value IS NOT NULL AND time >= $1""",
        [until],
    )
    db.execute(f"DELETE FROM sample_day WHERE {of_them} AND day <= $1::DATE", [until])
    for table in ("sample_row", "rollup_1m", "rollup_1h"):
        db.execute(f"DELETE FROM {table} WHERE {of_them} AND time < $1", [until])
    if whole:
        db.execute(f"DELETE FROM series WHERE {of_them}")
    return {"series": series, "samples": samples}


def _copies(data_dir: Path) -> list[str]:
    path = file.path_of(data_dir)
    return sorted(copy.name for copy in data_dir.glob(f"{path.name}.*") if copy != file.wal_of(path))


def _taken_in(data_dir: Path, wait: float) -> int:
    """Bytes of the history with its journal in it; `StoreError` where there is none."""
    path = file.existing(data_dir)
    ingest(data_dir, wait=wait)
    return file.size_of(path)
