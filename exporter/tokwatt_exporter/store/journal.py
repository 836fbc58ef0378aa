"""The journal: records are appended to a segment on disk at once, and taken into the history later."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokwatt_exporter.snapshot import Labels, Snapshot
from tokwatt_exporter.store import segment

log = logging.getLogger(__name__)

#: What is kept in memory while the disk takes nothing: some hours of samples.
MAX_BUFFER_BYTES = 32 * 2**20

Series = tuple[str, Labels]


class Journal:
    """One writer's segments under `data_dir`. Thread-safe; never raises for a disk that takes nothing.

    What cannot be written waits in memory, in order, and is written as soon as there is room.
    """

    def __init__(self, data_dir: Path, *, max_buffer_bytes: int = MAX_BUFFER_BYTES) -> None:
        #: Where the segments are written, in a folder of theirs.
        self.data_dir = data_dir
        self._max_buffer_bytes = max_buffer_bytes
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._name = ""
        self._size = 0
        # Series are defined once a segment. What waits in memory is written in order to the segment whose numbers it
        # uses, so a number stays good from the moment it was given.
        self._numbers: dict[Series, int] = {}
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._waiting_bytes = 0
        self._redefine = False
        #: Rows in memory because the disk took nothing, and rows given up because memory was full too.
        self.buffered_rows = 0
        self.dropped_rows = 0
        #: Rows on disk, over all segments of this writer.
        self.written_rows = 0
        #: Why the disk takes nothing now; empty while it does.
        self.problem = ""

    @property
    def size(self) -> int:
        """Bytes of the segment being written."""
        return self._size

    def append(self, record: Mapping[str, Any]) -> bool:
        """Write a record of kind `samples` or `bench`; False while it waits in memory.

        A `samples` record defines each series it uses; `ValueError` where one is NaN or infinite.
        """
        if record["kind"] != "samples":
            with self._lock:
                return self._add(segment.encode(record), 0) if self._room() else self._drop(1)
        series = {
            int(number): (str(known["metric"]), tuple(known["labels"].items()))
            for number, known in record["series"].items()
        }
        rows = [(series[int(number)], value) for number, value in record["values"]]
        return self._append_samples(record["time_ms"], record["host"], rows)

    def append_snapshot(self, snapshot: Snapshot, host: str) -> bool:
        """Write all series of a snapshot; False while they wait in memory."""
        rows = [
            ((family.name, labels), value) for family, rows in snapshot.values.items() for labels, value in rows.items()
        ]
        return self._append_samples(snapshot.time_ms, host, rows)

    def drain(self) -> bool:
        """Write what waits in memory; whether all of it is on disk now."""
        with self._lock:
            return self._drain()

    def rotate(self) -> bool:
        """Finish the segment, so that it can be taken in whole and removed; False where it is still needed."""
        with self._lock:
            if not self._drain():
                return False
            self._finish()
            return True

    def close(self) -> None:
        """Finish the segment; what the disk did not take by now is given up, and said so."""
        with self._lock:
            if not self._drain():
                log.error("%d rows of history are lost at the end: %s", self.buffered_rows, self.problem)
                self.dropped_rows += self.buffered_rows
                self._waiting.clear()
                self._waiting_bytes = self.buffered_rows = 0
            self._finish()

    def _append_samples(self, time_ms: int, host: str, rows: Iterable[tuple[Series, float]]) -> bool:
        with self._lock:
            numbers = self._numbers
            new: dict[Series, int] = {}
            values: list[tuple[int, float]] = []
            for key, value in rows:
                number = numbers.get(key)
                if number is None:
                    number = new.setdefault(key, len(numbers) + len(new))
                values.append((number, _short(value)))
            record = {
                "kind": "samples", "time_ms": time_ms, "host": host, "series": _definitions(new), "values": values,
            }  # fmt: skip
            line = segment.encode(record)
            if not self._room():
                return self._drop(len(values))
            numbers.update(new)
            return self._add(line, len(values))

    def _room(self) -> bool:
        return self._waiting_bytes < self._max_buffer_bytes or self._drain()

    def _drop(self, rows: int) -> bool:
        self.dropped_rows += rows
        return False

    def _add(self, line: bytes, rows: int) -> bool:
        self._waiting.append((line, rows))
        self._waiting_bytes += len(line)
        self.buffered_rows += rows
        return self._drain()

    def _drain(self) -> bool:
        try:
            while self._waiting:
                line, rows = self._waiting[0]
                self._write(line)
                self._waiting.popleft()
                self._waiting_bytes -= len(line)
                self.buffered_rows -= rows
                self.written_rows += rows
        except OSError as error:
            problem = f"the journal cannot be written: {error.strerror or error}"
            if problem != self.problem:
                log.warning("%s; samples wait in memory", problem)
            self.problem = problem
            return False
        if self.problem:
            log.info("the journal can be written again")
            self.problem = ""
        return True

    def _write(self, line: bytes) -> None:
        if self._fd is not None and not os.fstat(self._fd).st_nlink:
            log.warning("the journal's segment %s was deleted by someone; a new one is begun", self._name)
            self._abandon()
        if self._fd is None:
            _private_folder(self.data_dir)
            _private_folder(segment.folder(self.data_dir))
            self._fd, self._name = _create(segment.folder(self.data_dir))
        if self._redefine:
            again = {"kind": "samples", "time_ms": 0, "host": "", "series": _definitions(self._numbers), "values": []}
            self._write_whole(self._fd, segment.encode(again))
            self._redefine = False
        self._write_whole(self._fd, line)

    def _write_whole(self, fd: int, line: bytes) -> None:
        try:
            written = os.write(fd, line)
            if written != len(line):
                written += os.write(fd, line[written:])
            if written != len(line):
                raise OSError(None, "the disk took only a part of a record")
        except OSError:
            # What was begun must go: the next record would be appended to it, and both be damaged.
            try:
                os.ftruncate(fd, self._size)
            except OSError:
                self._abandon()
            raise
        self._size += len(line)

    def _abandon(self) -> None:
        self._close_file()
        # The lines that wait use the numbers of the segment that was given up.
        self._redefine = True

    def _finish(self) -> None:
        self._close_file()
        self._numbers.clear()
        self._redefine = False

    def _close_file(self) -> None:
        fd, self._fd, self._size = self._fd, None, 0
        if fd is not None:
            # A child being forked may have the descriptor too: closing alone would leave the lock with it.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


def _private_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _create(directory: Path) -> tuple[int, str]:
    for _ in range(10):
        name = segment.new_name()
        fd = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Before the lock was ours, someone taking records in may have removed it as one whose writer is gone.
            if os.fstat(fd).st_nlink:
                return fd, name
        except BlockingIOError:
            pass
        except OSError:
            os.close(fd)
            raise
        os.close(fd)
    raise OSError(None, "no segment could be begun")


def _definitions(numbers: Mapping[Series, int]) -> dict[str, Any]:
    return {str(number): {"metric": metric, "labels": dict(labels)} for (metric, labels), number in numbers.items()}


def _short(value: float) -> float:
    # Whole numbers in fewer bytes; they come back as the same float.
    return int(value) if abs(value) < 2**53 and float(value).is_integer() else value
