"""Segments of the journal: how a record is written as a line, and which segments of a directory can be read."""

from __future__ import annotations

import fcntl
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

SUFFIX = ".journal"


class Line(NamedTuple):
    """One complete line: where it ends, and its record; None where it is damaged."""

    end: int
    record: dict[str, Any] | None


def folder(data_dir: Path) -> Path:
    """Where the segments of a data directory are."""
    return data_dir / "journal"


def new_name() -> str:
    """A name that no segment ever had before; names sort by the time of their making."""
    return f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(8).hex()}{SUFFIX}"


def names(data_dir: Path) -> list[str]:
    """The segments there are, oldest first."""
    try:
        return sorted(path.name for path in folder(data_dir).iterdir() if path.suffix == SUFFIX)
    except FileNotFoundError:
        return []


def encode(record: Mapping[str, Any]) -> bytes:
    """CRC-32 in hex, a space, compact JSON, a newline. `ValueError` for NaN and infinities: JSON has none."""
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # A lone surrogate (a name of undecodable bytes) would make the record one that can never be stored.
    body = text.encode("utf-8", "replace")
    return b"%08x %b\n" % (zlib.crc32(body), body)


def decode(line: bytes) -> dict[str, Any] | None:
    """The record of a line without its newline; None where it is damaged."""
    body = line[9:]
    if line[8:9] != b" " or b"%08x" % zlib.crc32(body) != line[:8]:
        return None
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


class Segment:
    """A segment open for reading. `finished` says that its writer is gone; it stays so while this is open."""

    def __init__(self, path: Path, *, claim: bool) -> None:
        self.name = path.name
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.finished = claim and self._claim()
        #: Bytes of complete lines, once `lines` has been through.
        self.size = 0
        #: Bytes after the last complete line: a record under way, or what a writer that died had begun.
        self.torn_bytes = 0

    def _claim(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def lines(self) -> Iterator[Line]:
        """Every complete line from the beginning, damaged ones too."""
        with open(self._fd, "rb", closefd=False) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    self.torn_bytes = len(line)
                    return
                self.size += len(line)
                yield Line(self.size, decode(line[:-1]))

    def remove(self) -> None:
        """Delete the file; only for a finished segment, all of whose records are in the history."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


class Waiting(NamedTuple):
    """What a journal holds, whether or not some of it is in the history already."""

    bytes: int
    records: int
    rows: int


def waiting(data_dir: Path, those: Iterable[str] | None = None) -> Waiting:
    """Count the journal of a data directory, or only some of its segments."""
    total = Waiting(0, 0, 0)
    for name in names(data_dir) if those is None else those:
        try:
            segment = Segment(folder(data_dir) / name, claim=False)
        except OSError:
            continue
        with closing(segment):
            for line in segment.lines():
                rows = len((line.record or {}).get("values", ()))
                total = Waiting(total.bytes, total.records + 1, total.rows + rows)
            total = total._replace(bytes=total.bytes + segment.size)
    return total
