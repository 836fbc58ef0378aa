"""Events of a stream, each with the time at which its last byte had arrived.

Server-sent events by their grammar: lines end in CR, LF or CRLF, the space after the colon is optional, lines that
begin with a colon are comments, and an event ends with an empty line. Reads cut all of it anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Event(NamedTuple):
    """A server-sent event, or a line of NDJSON (`kind` is empty then); `comment` where it is only that."""

    at_ns: int
    data: bytes
    kind: str = ""
    comment: bool = False


class Events(Protocol):
    """Takes a body in pieces and gives its events."""

    @property
    def between(self) -> bool:
        """Whether what came so far ends with the end of an event."""
        ...

    def feed(self, at_ns: int, piece: bytes) -> Iterator[Event]:
        """The events and comments that this piece completes; `at_ns` is when the read that brought it returned."""
        ...

    def end(self) -> Iterator[Event]:
        """What stands after the last end of an event: servers forget it."""
        ...


class ServerSentEvents:
    """The events and comments of `text/event-stream`, in order."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._data: list[bytes] = []
        self._kind = ""
        self._at_ns = 0

    @property
    def between(self) -> bool:
        """Whether what came so far ends with the end of an event."""
        return self._lines.between and not self._data and not self._kind

    def feed(self, at_ns: int, piece: bytes) -> Iterator[Event]:
        """The events and comments that this piece completes."""
        for line in self._lines.feed(piece):
            yield from self._line(at_ns, line)
        self._at_ns = at_ns

    def end(self) -> Iterator[Event]:
        """What has no empty line after it."""
        for line in self._lines.end():
            yield from self._line(self._at_ns, line)
        if self._data:
            yield from self._line(self._at_ns, b"")

    def _line(self, at_ns: int, line: bytes) -> Iterator[Event]:
        if not line:
            if self._data:
                yield Event(at_ns, b"\n".join(self._data), self._kind)
            self._data, self._kind = [], ""
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not name:
            yield Event(at_ns, value, comment=True)
        elif name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._kind = value.decode(errors="replace")


class JsonLines:
    """The lines of NDJSON that are not empty, in order."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._at_ns = 0

    @property
    def between(self) -> bool:
        """Whether what came so far ends with the end of a line."""
        return self._lines.between

    def feed(self, at_ns: int, piece: bytes) -> Iterator[Event]:
        """The lines that this piece completes."""
        yield from (Event(at_ns, line) for line in self._lines.feed(piece) if line.strip())
        self._at_ns = at_ns

    def end(self) -> Iterator[Event]:
        """The last line where its end is missing."""
        yield from (Event(self._at_ns, line) for line in self._lines.end() if line.strip())


class WholeBody:
    """An answer that was not streamed: one event, when it is all there."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._at_ns = 0
        #: It has one end.
        self.between = False

    def feed(self, at_ns: int, piece: bytes) -> Iterator[Event]:
        """Nothing yet."""
        self._pieces.append(piece)
        self._at_ns = at_ns
        return iter(())

    def end(self) -> Iterator[Event]:
        """All of it."""
        yield Event(self._at_ns, b"".join(self._pieces))


class _Lines:
    """Lines without their ends."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._after_cr = False

    @property
    def between(self) -> bool:
        """Whether the last line has ended, and no LF of its end may follow."""
        return not self._kept and not self._after_cr

    def feed(self, piece: bytes) -> Iterator[bytes]:
        # A CR ends the line at once: whether a LF follows is only known with the next read.
        if self._after_cr and piece.startswith(b"\n"):
            piece, self._after_cr = piece[1:], False
        if not piece:
            return
        self._after_cr = piece.endswith(b"\r")
        # UTF-8 has no byte of a longer character that looks like CR or LF, so bytes can be split safely.
        *ended, rest = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in ended:
            self._kept.append(line)
            yield b"".join(self._kept)
            self._kept = []
        if rest:
            self._kept.append(rest)

    def end(self) -> Iterator[bytes]:
        if self._kept:
            yield b"".join(self._kept)
            self._kept = []
