"""Run in a mount namespace of its own, on a file system of a few megabytes: `full_disk.py DIRECTORY SCENARIO`.

A program and not a test, for a mount needs a process that may make one; test_full_disk.py runs it.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from store.helpers import NOON, rows_of, segments, snapshot, stored
from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store import backup, file
from tokwatt_exporter.store import upkeep as upkeep_module
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.upkeep import Retention, upkeep


def fill(disk: Path, leave: int) -> Path:
    """Take all room but so many bytes."""
    filler = disk / "filler"
    with filler.open("ab") as opened:
        while (room := free(disk) - leave) > 0:
            opened.write(b"x" * room)
            opened.flush()
    return filler


def free(disk: Path) -> int:
    state = os.statvfs(disk)
    return state.f_bavail * state.f_frsize


def journal_fills_up(disk: Path) -> None:
    data, journal = disk / "data", Journal(disk / "data")
    journal.append_snapshot(snapshot(0), "box")
    filler = fill(disk, 8192)
    taken = [journal.append_snapshot(snapshot(number), "box") for number in range(1, 200)]
    assert taken[0] and not taken[-1], "the disk is full on the way"
    assert "No space left" in journal.problem
    filler.unlink()
    assert journal.append_snapshot(snapshot(200), "box")
    assert journal.buffered_rows == 0
    journal.close()
    ingest(data)
    assert stored(data) == rows_of(map(snapshot, range(201)))


def history_fills_up(disk: Path) -> None:
    """The DuckDB file meets a full disk with room for nothing, for the log, and for the log and a checkpoint."""
    data, number, failed, checkpoints_missed = disk / "data", 0, 0, 0
    journal = Journal(data)
    journal.append_snapshot(snapshot(0), "box")
    ingest(data)
    for pages in (0, 5, 12, 15, 18, 21, 25, 30, 40, 50, 70, 100, 140, 200):
        for _ in range(20):
            number += 1
            assert journal.append_snapshot(snapshot(number, series=100), "box")
        journal.rotate()
        filler = fill(disk, 4096 * pages)
        for _ in range(2):
            try:
                ingest(data)
            except StoreError as error:
                assert "No space left" in str(error) or "full" in str(error), error
                failed += 1
            else:
                checkpoints_missed += file.wal_of(file.path_of(data)).exists()
        filler.unlink()
        ingest(data)
    journal.close()
    ingest(data)
    assert 0 < failed < 28, "the room was too small sometimes, and sometimes enough"
    assert checkpoints_missed, "and sometimes enough for the log alone"
    assert stored(data) == rows_of([snapshot(0), *(snapshot(n, series=100) for n in range(1, number + 1))])
    assert segments(data) == []
    assert not list(data.glob("*corrupt*"))


def history_cannot_be_made(disk: Path) -> None:
    data, journal = disk / "data", Journal(disk / "data")
    journal.append_snapshot(snapshot(0), "box")
    for pages in range(0, 400, 20):
        filler = fill(disk, 4096 * pages)
        try:
            ingest(data)
        except StoreError:
            assert not file.path_of(data).exists(), "a history is there whole or not at all"
        filler.unlink()
    ingest(data)
    journal.close()
    assert stored(data) == rows_of([snapshot(0)])
    assert not list(data.glob("*corrupt*")) and not list(data.glob("*.new*"))


def upkeep_fills_up(disk: Path) -> None:
    """Packing, ageing and writing anew meet a full disk with room for nothing, and for more and more."""
    data, kept, failed = disk / "data", [], 0
    real, upkeep_module._wasted = upkeep_module._wasted, lambda db: True
    for day, pages in enumerate((0, 8, 16, 32, 64, 100, 140, 200, 300)):
        day_before = rows_of([shifted(number, day - 1) for number in range(40)])
        journal = Journal(data)
        for number in range(40):
            assert journal.append_snapshot(shifted(number, day), "box")
        journal.close()
        ingest(data)
        kept = [*(day_before if day else []), *rows_of([shifted(number, day) for number in range(40)])]
        filler = fill(disk, 4096 * pages)
        now = NOON / 1000 + (day + 1) * 86_400
        for _ in range(2):
            try:
                upkeep(data, Retention(raw=2 * 86_400), now=now)
            except StoreError as error:
                assert "No space left" in str(error) or "full" in str(error), error
                failed += 1
        filler.unlink()
        assert set(stored(data)) >= set(rows_of([shifted(number, day) for number in range(40)]))
        while upkeep(data, Retention(raw=2 * 86_400), now=now).more:
            pass
        assert stored(data) == sorted(kept)
    upkeep_module._wasted = real
    assert 0 < failed < 18, failed
    assert not list(data.glob("*corrupt*")) and not list(data.glob("*.new*"))


def shifted(number: int, day: int) -> Snapshot:
    made = snapshot(number, series=60)
    return Snapshot(made.time_ms + 86_400_000 * day, made.values)


def copies_fill_up(disk: Path) -> None:
    """A backup, a restore and a migration without the room for a copy change nothing, and leave nothing half made."""
    data = disk / "data"
    journal = Journal(data)
    journal.append_snapshot(snapshot(0), "box")
    ingest(data)
    copy = backup.backup(data)
    with file.connection(file.path_of(data), 1) as db:
        db.execute("UPDATE schema_version SET version = 1; DELETE FROM schema_version WHERE rowid > 0")
        for view in ("metrics", "sample"):
            db.execute(f"DROP VIEW {view}")
        db.execute("ALTER TABLE sample_row RENAME TO sample")
    journal.append_snapshot(snapshot(1), "box")
    filler = fill(disk, 64 * 1024)
    for call in (lambda: backup.backup(data), lambda: backup.restore(data, copy), lambda: ingest(data)):
        try:
            call()
        except StoreError as error:
            assert "the disk has less" in str(error) or "No space" in str(error), error
        else:
            raise AssertionError("there was room")
    filler.unlink()
    assert not list(data.glob("*.new*")) and not list(data.glob("*.schema-*")) and len(list(data.glob("*backup*"))) == 1
    backup.restore(data, copy)
    journal.close()
    ingest(data)
    assert stored(data) == rows_of(map(snapshot, range(2)))


SCENARIOS = (journal_fills_up, history_fills_up, history_cannot_be_made, upkeep_fills_up, copies_fill_up)

if __name__ == "__main__":
    {scenario.__name__: scenario for scenario in SCENARIOS}[sys.argv[2]](Path(sys.argv[1]))
