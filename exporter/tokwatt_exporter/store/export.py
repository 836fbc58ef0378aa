"""The history as Parquet for others to read: a file a table, host and day, written again only where there is more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.store import file, parquet
from tokwatt_exporter.store.extract import LOCK_WAIT, Extract, Part, extract, scratch
from tokwatt_exporter.store.parquet import Facts
from tokwatt_exporter.store.read import take_in
from tokwatt_exporter.store.target import Target, target


@dataclass(slots=True)
class Exported:
    """What an export did: files written, files that were good already, rows and bytes of the written ones."""

    written: int = 0
    kept: int = 0
    rows: int = 0
    bytes: int = 0


def export(data_dir: Path, to: str, *, wait: float = LOCK_WAIT) -> Exported:
    """Bring the Parquet files in a folder or at a URL up to what the history has; nothing there is ever made less.

    `StoreError` where a file cannot be written; those before it are whole, and the next export goes on from there.
    """
    import duckdb

    goal = target(to, data_dir)
    take_in(data_dir, wait)
    file.existing(data_dir)
    done = Exported()
    try:
        with scratch(data_dir) as folder, extract(data_dir, folder, wait=wait) as source:
            for part in source.parts():
                _export(source, part, goal, folder, done)
    except duckdb.Error as error:
        raise StoreError(" ".join(str(error).split())[:300]) from error
    except OSError as error:
        raise StoreError(f"{data_dir}: {error.strerror or error}") from error
    return done


def _export(source: Extract, part: Part, goal: Target, folder: Path, done: Exported) -> None:
    place = parquet.place_of(part)
    there = goal.facts(source.db, place)
    if there is not None and there.part == part:
        done.kept += 1
        return
    part, rows = source.take(part)
    if there is not None and not _goes_on(source, there):
        # What was forgotten here since, or lost with a history that was damaged, or another machine knows of that host.
        rows = parquet.merge(source.db, part, goal.path(place))
        if rows == there.rows:
            done.kept += 1
            return
    if not rows:
        return
    new = folder / "new.parquet"
    parquet.write(source.db, part, rows, new)
    goal.put(new, place)
    done.written += 1
    done.rows += rows
    done.bytes += new.stat().st_size


def _goes_on(source: Extract, there: Facts) -> bool:
    """Whether what was taken is what the file has, and what came after it; such a file is simply written anew."""
    if there.part.table != "sample":
        return False
    [(before,)] = source.db.execute(
        "SELECT count(*) FROM staged WHERE time <= make_timestamp_ms($1)", [there.until_ms]
    ).fetchall()
    return bool(before == there.rows)
