"""The journal on disk: what a reader gets from it, whatever happened to its end or its middle."""

import errno
import os
import stat

import pytest

from store.helpers import NOON, bench, rows_of, segments, snapshot
from tokwatt_exporter.store import segment
from tokwatt_exporter.store.batch import Batch
from tokwatt_exporter.store.journal import Journal


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "data")
    yield journal
    journal.close()


def records(data_dir):
    """What can be read of all segments."""
    found = []
    for name in segment.names(data_dir):
        opened = segment.Segment(segment.folder(data_dir) / name, claim=False)
        found += [line.record for line in opened.lines()]
        opened.close()
    return found


def rows(data_dir):
    """The sample rows that ingestion would make of each segment."""
    found = []
    for name in segment.names(data_dir):
        batch = Batch()
        reader = batch.reader()
        opened = segment.Segment(segment.folder(data_dir) / name, claim=False)
        for line in opened.lines():
            if line.record is not None:
                reader.add(line.record)
        opened.close()
        series = list(batch._series)
        for number, time_ms, value in zip(batch._ids, batch._times, batch._values, strict=True):
            found.append((time_ms, series[number][0], series[number][1], value))
    return sorted(found)


def test_a_snapshot_is_on_disk_when_append_returns(journal, tmp_path):
    assert journal.append_snapshot(snapshot(1), "box")
    assert rows(tmp_path / "data") == rows_of([snapshot(1)])


def test_only_the_owner_can_read_the_journal(journal, tmp_path):
    old = os.umask(0)
    try:
        journal.append_snapshot(snapshot(1), "box")
    finally:
        os.umask(old)
    [made] = segments(tmp_path / "data")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_series_is_defined_once_a_segment(journal, tmp_path):
    for number in range(3):
        journal.append_snapshot(snapshot(number), "box")
    journal.rotate()
    journal.append_snapshot(snapshot(3), "box")
    assert [len(record["series"]) for record in records(tmp_path / "data")] == [6, 0, 0, 6]
    assert rows(tmp_path / "data") == rows_of(map(snapshot, range(4)))


def test_three_hundred_series_take_less_than_five_thousand_bytes_a_snapshot(journal):
    journal.append_snapshot(snapshot(0, 298), "box")
    before = journal.size
    journal.append_snapshot(snapshot(1, 298), "box")
    assert 0 < journal.size - before < 5000


def test_a_record_that_names_its_own_series_is_kept_beside_snapshots(journal, tmp_path):
    journal.append_snapshot(snapshot(0), "box")
    [family, *_] = snapshot(0).values
    known = {"0": {"metric": family.name, "labels": {"device": "gpu", "sensor": "die"}}}
    journal.append({"kind": "samples", "time_ms": NOON, "host": "box", "series": known, "values": [[0, 5.5]]})
    expected = (NOON, family.name, (("device", "gpu"), ("sensor", "die")), 5.5)
    assert rows(tmp_path / "data") == sorted([*rows_of([snapshot(0)]), expected])


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_torn_tail_costs_only_the_record_in_flight(journal, tmp_path, cut):
    journal.append_snapshot(snapshot(0), "box")
    journal.append_snapshot(snapshot(1), "box")
    journal.close()
    [made] = segments(tmp_path / "data")
    os.truncate(made, made.stat().st_size - cut)
    assert rows(tmp_path / "data") == rows_of([snapshot(0)])


def test_a_tail_of_zeros_costs_nothing_before_it(journal, tmp_path):
    journal.append_snapshot(snapshot(0), "box")
    journal.close()
    [made] = segments(tmp_path / "data")
    with made.open("ab") as file:
        file.write(b"\0" * 4096)
    assert rows(tmp_path / "data") == rows_of([snapshot(0)])


def test_a_record_damaged_in_the_middle_costs_only_itself(journal, tmp_path):
    for number in range(5):
        journal.append_snapshot(snapshot(number), "box")
    [made] = segments(tmp_path / "data")
    lines = made.read_bytes().splitlines(keepends=True)
    for position in range(len(lines[2]) - 1):
        damaged = bytearray(lines[2])
        damaged[position] ^= 1
        if b"\n" in damaged[:-1]:
            continue
        made.write_bytes(b"".join([*lines[:2], bytes(damaged), *lines[3:]]))
        assert rows(tmp_path / "data") == rows_of(snapshot(n) for n in (0, 1, 3, 4))


def test_a_segment_is_unfinished_until_its_writer_lets_go(journal, tmp_path):
    def finished():
        [made] = segments(tmp_path / "data")
        opened = segment.Segment(made, claim=True)
        opened.close()
        return opened.finished

    journal.append_snapshot(snapshot(0), "box")
    assert not finished()
    journal.close()
    assert finished()


def test_a_segment_whose_file_someone_deleted_is_begun_again_with_its_series(journal, tmp_path):
    journal.append_snapshot(snapshot(0), "box")
    [made] = segments(tmp_path / "data")
    made.unlink()
    journal.append_snapshot(snapshot(1), "box")
    assert rows(tmp_path / "data") == rows_of([snapshot(1)])


def test_a_segment_that_was_taken_for_a_dead_writers_and_removed_is_begun_again(journal, tmp_path, monkeypatch):
    import fcntl

    real = fcntl.flock

    def removed_first(fd, how):
        # An ingestion that looked between the file's making and its locking.
        monkeypatch.setattr(fcntl, "flock", real)
        [made] = segments(tmp_path / "data")
        made.unlink()
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    assert journal.append_snapshot(snapshot(0), "box")
    assert rows(tmp_path / "data") == rows_of([snapshot(0)])


class FullDisk:
    """`os.write` on a disk that has room for so many more bytes; what does not fit is written in part."""

    def __init__(self, monkeypatch, room):
        self.room = room
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, fd, data):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(fd, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 200, 700])
def test_what_a_full_disk_does_not_take_is_kept_and_written_in_order(journal, tmp_path, monkeypatch, room):
    journal.append_snapshot(snapshot(0), "box")
    disk = FullDisk(monkeypatch, room)
    for number in range(1, 30):
        journal.append_snapshot(snapshot(number), "box")
    assert not journal.append_snapshot(snapshot(30, series=6), "box")
    assert "No space left" in journal.problem
    kept = rows(tmp_path / "data")
    assert len(kept) + journal.buffered_rows == 30 * 6 + 8
    assert kept == rows_of(map(snapshot, range(len(kept) // 6)))

    disk.room = 10**9
    assert journal.append_snapshot(snapshot(31), "box")
    assert journal.problem == "" and journal.buffered_rows == 0
    assert rows(tmp_path / "data") == rows_of([*map(snapshot, range(30)), snapshot(30, series=6), snapshot(31)])
    times = [record["time_ms"] for record in records(tmp_path / "data")]
    assert times == sorted(times)


def test_a_full_disk_before_the_first_segment_loses_nothing(journal, tmp_path, monkeypatch):
    real = os.open
    monkeypatch.setattr(os, "open", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    assert not journal.append_snapshot(snapshot(0), "box")
    monkeypatch.setattr(os, "open", real)
    assert journal.append_snapshot(snapshot(1), "box")
    assert rows(tmp_path / "data") == rows_of([snapshot(0), snapshot(1)])


def test_a_torn_record_that_cannot_be_taken_back_is_left_behind_in_its_segment(journal, tmp_path, monkeypatch):
    journal.append_snapshot(snapshot(0), "box")
    disk = FullDisk(monkeypatch, 30)
    monkeypatch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
    assert not journal.append_snapshot(snapshot(1), "box")
    disk.room = 10**9
    assert journal.append_snapshot(snapshot(2), "box")
    assert rows(tmp_path / "data") == rows_of(map(snapshot, range(3)))


def test_rotation_waits_while_records_wait(journal, tmp_path, monkeypatch):
    journal.append_snapshot(snapshot(0), "box")
    disk = FullDisk(monkeypatch, 0)
    journal.append_snapshot(snapshot(1), "box")
    assert not journal.rotate()
    disk.room = 10**9
    assert journal.rotate()
    journal.append_snapshot(snapshot(2), "box")
    assert rows(tmp_path / "data") == rows_of(map(snapshot, range(3)))


def test_memory_is_bounded_and_what_is_given_up_is_counted(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "data", max_buffer_bytes=3000)
    disk = FullDisk(monkeypatch, 0)
    for number in range(100):
        journal.append_snapshot(snapshot(number), "box")
    assert journal.dropped_rows + journal.buffered_rows == 600
    assert 0 < journal.buffered_rows < 300
    kept = journal.buffered_rows // 6
    disk.room = 10**9
    journal.append_snapshot(snapshot(100), "box")
    journal.close()
    assert rows(tmp_path / "data") == rows_of([*map(snapshot, range(kept)), snapshot(100)])


def test_a_value_that_json_cannot_say_is_refused_and_harms_nothing(journal, tmp_path):
    [family, *_] = snapshot(0).values
    known = {"0": {"metric": family.name, "labels": {"device": "x", "sensor": "y"}}}
    with pytest.raises(ValueError, match="JSON"):
        journal.append({"kind": "samples", "time_ms": 1, "host": "b", "series": known, "values": [[0, float("nan")]]})
    journal.append({"kind": "samples", "time_ms": 1, "host": "b", "series": known, "values": [[0, 2]]})
    assert rows(tmp_path / "data") == [(1, family.name, (("device", "x"), ("sensor", "y")), 2.0)]


def test_a_name_of_undecodable_bytes_is_kept_as_readable_text(journal, tmp_path):
    journal.append(bench(model="m\udcff.gguf"))
    [record] = records(tmp_path / "data")
    assert record["run"]["model"] == "m?.gguf"


def test_whole_numbers_and_fractions_come_back_as_they_were(journal, tmp_path):
    values = [0.1, 1e300, -0.5, 2.0**53 + 2, 1 / 3, 7.0, 5e-324]
    known = {str(n): {"metric": "m", "labels": {"n": str(n)}} for n in range(len(values))}
    pairs = [[n, value] for n, value in enumerate(values)]
    journal.append({"kind": "samples", "time_ms": 1, "host": "b", "series": known, "values": pairs})
    assert [value for *_, value in rows(tmp_path / "data")] == values


def test_a_child_that_still_has_the_file_open_does_not_keep_a_segment_unfinished(journal, tmp_path):
    journal.append_snapshot(snapshot(0), "box")
    copy = os.dup(journal._fd)
    journal.close()
    [made] = segments(tmp_path / "data")
    opened = segment.Segment(made, claim=True)
    opened.close()
    os.close(copy)
    assert opened.finished
