"""Run in a mount namespace of its own, on a file system of a few megabytes: `full_disk.py DIRECTORY SCENARIO`.

A program and not a test, for a mount needs a process that may make one; test_full_disk.py runs it.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from store.helpers import rows_of, segments, snapshot, stored
from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.store import file
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal


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


if __name__ == "__main__":
    {f.__name__: f for f in (journal_fills_up, history_fills_up, history_cannot_be_made)}[sys.argv[2]](
        Path(sys.argv[1])
    )
