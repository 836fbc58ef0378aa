"""Parquet files of the history: one has the rows of a table, host and day, and says so itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from tokwatt_exporter.store.extract import Part, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: What files of this layout say; another one gets another number.
LAYOUT = "1"
#: Where each table is. Engines that read folders as tables skip those that begin with an underscore.
FOLDERS = {"sample": "", "bench_run": "_bench_run/", "bench_request": "_bench_request/"}
#: As hive writes it where there is none.
_NO_DATE = "__HIVE_DEFAULT_PARTITION__"
_ROW_GROUP = 1_000_000
_SAMPLES = """
SELECT time, metric, labels, value FROM staged
JOIN (SELECT series_id, metric, labels, row_number() OVER (ORDER BY metric, map_entries(labels)) AS place
      FROM named) USING (series_id)
ORDER BY place, time
"""


class Facts(NamedTuple):
    """What a file says of itself."""

    part: Part
    rows: int
    #: Time of the newest sample, in milliseconds; 0 where there is none.
    until_ms: int = 0


def place_of(part: Part) -> str:
    """Where the file of a part is in an export, as hive partitions are named."""
    return f"{FOLDERS[part.table]}host={quote(part.host, safe='')}/date={part.date or _NO_DATE}/{part.table}.parquet"


def write(db: DuckDBPyConnection, part: Part, rows: int, path: Path) -> None:
    """Write what was taken last, samples in the order of metric, labels and time."""
    facts = {"tokwatt": LAYOUT, "rows": str(rows), **{k: v for k, v in part._asdict().items() if v is not None}}
    if part.table == "sample":
        facts["until"] = str(newest_ms(db) or 0)
    said = ", ".join(f"{quoted(name)}: {quoted(text)}" for name, text in facts.items())
    db.execute(
        f"COPY ({_SAMPLES if part.table == 'sample' else 'FROM rows'}) TO {quoted(str(path))}"
        f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP}, KV_METADATA {{{said}}})"
    )


def newest_ms(db: DuckDBPyConnection) -> int | None:
    """Time of the newest sample that was taken."""
    [(until,)] = db.execute("SELECT epoch_ms(max(time)) FROM staged").fetchall()
    return int(until) if until is not None else None


def merge(db: DuckDBPyConnection, part: Part, path: str) -> int:
    """Add what a file has and what was taken has not; gives the rows there are then."""
    given = f"read_parquet({quoted(path)}, hive_partitioning = false)"
    if part.table == "sample":
        db.execute(
            f"""CREATE OR REPLACE TABLE extra AS SELECT time, metric, labels, value FROM {given} ANTI JOIN
            (SELECT time, metric, labels FROM staged JOIN named USING (series_id)) USING (time, metric, labels);
            INSERT INTO named BY NAME SELECT metric, labels,
                (SELECT coalesce(max(series_id), 0) FROM named) + row_number() OVER () AS series_id
            FROM (SELECT DISTINCT metric, labels FROM extra
                ANTI JOIN (SELECT metric, labels FROM named) USING (metric, labels));
            INSERT INTO staged SELECT series_id, time, value FROM extra JOIN named USING (metric, labels)"""
        )
    else:
        db.execute(
            f"""CREATE OR REPLACE TABLE rows AS FROM rows UNION ALL BY NAME
            FROM {given} WHERE run_id NOT IN (SELECT run_id FROM rows)"""
        )
    [(rows,)] = db.execute(f"SELECT count(*) FROM {'staged' if part.table == 'sample' else 'rows'}").fetchall()
    return int(rows)


def facts(db: DuckDBPyConnection, path: str) -> Facts | None:
    """What the file says of itself; None for one that is not of an export, or cannot be read."""
    import duckdb

    try:
        found = db.execute(f"SELECT decode(key), decode(value) FROM parquet_kv_metadata({quoted(path)})").fetchall()
        return _facts(dict(found))
    except (duckdb.Error, ValueError, KeyError):
        return None


def _facts(said: Mapping[str, Any]) -> Facts | None:
    if said["tokwatt"] != LAYOUT or said["table"] not in FOLDERS:
        return None
    return Facts(
        Part(said["table"], said["host"], said.get("date"), said["mark"]), int(said["rows"]), int(said.get("until", 0))
    )
