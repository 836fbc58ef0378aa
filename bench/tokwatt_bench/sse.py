"""Events of a recorded stream, each with the time at which its last byte had arrived.

Server-sent events by their grammar: lines end in CR, LF or CRLF, the space after the colon is optional, lines that
begin with a colon are comments, and an event ends with an empty line. Reads cut all of it anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

#: A piece of the body and when the read that brought it returned, in nanoseconds.
Piece = tuple[int, bytes]


class Event(NamedTuple):
    """A server-sent event, or a line of NDJSON (`kind` is empty then); `comment` where it is only that."""

    at_ns: int
    data: bytes
    kind: str = ""
    comment: bool = False


def server_sent_events(pieces: Iterable[Piece]) -> Iterator[Event]:
    """The events and comments in order. What stands after the last empty line is given too: servers forget it."""
    data: list[bytes] = []
    kind = ""
    at_ns = 0
    for at_ns, line in _lines(pieces):
        if not line:
            if data:
                yield Event(at_ns, b"\n".join(data), kind)
            data, kind = [], ""
            continue
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not name:
            yield Event(at_ns, value, comment=True)
        elif name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value.decode(errors="replace")
    if data:
        yield Event(at_ns, b"\n".join(data), kind)


def json_lines(pieces: Iterable[Piece]) -> Iterator[Event]:
    """The lines that are not empty, in order."""
    for at_ns, line in _lines(pieces):
        if line.strip():
            yield Event(at_ns, line)


def _lines(pieces: Iterable[Piece]) -> Iterator[tuple[int, bytes]]:
    """Lines without their ends; the last one also where its end is missing."""
    kept: list[bytes] = []
    after_cr = False
    at_ns = 0
    for at_ns, piece in pieces:
        # A CR ends the line at once: whether a LF follows is only known with the next read.
        if after_cr and piece.startswith(b"\n"):
            piece, after_cr = piece[1:], False
        if not piece:
            continue
        after_cr = piece.endswith(b"\r")
        # UTF-8 has no byte of a longer character that looks like CR or LF, so bytes can be split safely.
        *ended, rest = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in ended:
            kept.append(line)
            yield at_ns, b"".join(kept)
            kept = []
        if rest:
            kept.append(rest)
    if kept:
        yield at_ns, b"".join(kept)
