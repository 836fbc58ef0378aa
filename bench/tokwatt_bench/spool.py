"""What ended streams brought, out of the way until there is time to parse it: a long run must not fill the memory."""

from __future__ import annotations

import marshal
from contextlib import suppress
from pathlib import Path
from typing import IO

from tokwatt_bench.stream import Recording

#: So much of it stays in memory; what comes after goes to a file.
MOST_BYTES = 32 * 2**20
#: What Python needs for a read besides its bytes.
_READ_BYTES = 120
#: A disk on most machines where the default is memory.
_FOLDER = Path("/var/tmp")


class Spool:
    """Keeps the reads of recordings: many of them in a file without a name, on a full disk in memory after all."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._held = 0
        self._file: IO[bytes] | None = None
        self._places: dict[int, tuple[int, int]] = {}

    @property
    def held_bytes(self) -> int:
        """How much memory what was put in takes."""
        return self._held

    def put(self, number: int, recording: Recording) -> None:
        """Take the reads of the recording with this number; some tens of microseconds, between two looks at sockets."""
        size = recording.size + _READ_BYTES * len(recording.reads)
        if self._held + size <= self._most_bytes or not self._write(number, recording):
            self._held += size

    def give_back(self, number: int, recording: Recording) -> None:
        """Put its reads into the recording again."""
        if place := self._places.pop(number, None):
            assert self._file
            self._file.seek(place[0])
            recording.reads = marshal.loads(self._file.read(place[1]))

    def close(self) -> None:
        """Give the disk's space back."""
        if self._file:
            self._file.close()

    def _write(self, number: int, recording: Recording) -> bool:
        data = marshal.dumps(recording.reads)
        try:
            if self._file is None:
                self._file = _file()
            at = self._file.seek(0, 2)
            if self._file.write(data) < len(data):
                return False
        except OSError:
            return False
        self._places[number] = (at, len(data))
        recording.reads = []
        return True


def _file() -> IO[bytes]:
    import tempfile

    with suppress(OSError):
        return tempfile.TemporaryFile(dir=_FOLDER, buffering=0)
    return tempfile.TemporaryFile(buffering=0)
