"""HTTP/1.1 as it passes: where messages begin and end on a connection that somebody else speaks.

Not h11: a reader of both sides has no part in the conversation that h11 would conduct. What cannot be read is
`Unreadable`, and passes all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

MAX_HEAD_BYTES = 64 * 1024
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/1\.([01])")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: .*)?")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")


class Unreadable(Exception):
    """This is no HTTP/1.1, or not such that one can be sure where a message ends."""


class Head(NamedTuple):
    """How a message begins. Names of headers are lower-case."""

    method: str
    target: str
    status: int
    headers: Mapping[str, str]


class Part(NamedTuple):
    """A head, a piece of a body, or an end; what is not in this part is None and False."""

    head: Head | None = None
    body: bytes = b""
    end: bool = False


class Requests:
    """What a client sends."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._body: _Body | None = None

    def feed(self, data: bytes) -> Iterator[Part]:
        """The parts that these bytes complete, in order; `Unreadable` ends it for good."""
        self._data += data
        while self._data:
            if self._body is None:
                lines = _head(self._data)
                if lines is None:
                    return
                found = _REQUEST.fullmatch(lines[0])
                if not found:
                    raise Unreadable("no request")
                headers = _headers(lines[1:])
                yield Part(Head(found[1].decode(), found[2].decode("latin-1"), 0, headers))
                self._body = _Body(_length(headers, 0))
            data = bytes(self._data)
            self._data.clear()
            body, rest = self._body.take(data)
            self._data += rest
            if body:
                yield Part(body=body)
            if not self._body.ended:
                return
            self._body = None
            yield Part(end=True)

    @property
    def between(self) -> bool:
        """Whether no request has begun."""
        return self._body is None


class Responses:
    """What an engine answers. Each answer belongs to a request, whose method says whether it has a body."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._body: _Body | None = None

    def plain(self, pieces: Sequence[tuple[int, bytes]]) -> Sequence[tuple[int, bytes]]:
        """What of the body is in the first of these, as long as each is one whole piece of it: most are."""
        return self._body.plain(pieces) if self._body else ()

    def feed(self, data: bytes, method: str | None) -> tuple[list[Part], bytes]:
        """The parts of the answer to a request of this method, and what is left for the next one."""
        parts: list[Part] = []
        if self._body is None:
            self._data += data
            while self._body is None:
                lines = _head(self._data)
                if lines is None:
                    return parts, b""
                found = _STATUS.fullmatch(lines[0])
                if not found or method is None:
                    raise Unreadable("no answer")
                head = Head(method, "", int(found[2]), _headers(lines[1:]))
                if head.status == 101 or (method == "CONNECT" and head.status < 300):
                    raise Unreadable("another protocol")
                if head.status >= 200:
                    parts.append(Part(head))
                    self._body = _Body(_answer_length(head))
            data = bytes(self._data)
            self._data.clear()
        body, rest = self._body.take(data)
        if body:
            parts.append(Part(body=body))
        if self._body.ended:
            self._body = None
            parts.append(Part(end=True))
        return parts, rest

    def eof(self) -> bool:
        """The connection ends; whether that is how the answer ends that is under way, if there is one."""
        return self._body is not None and self._body.until_eof


class _Body:
    """A body of so many bytes; chunked (-1), or as long as the connection (-2)."""

    def __init__(self, length: int) -> None:
        self._chunked = length == -1
        self.until_eof = length == -2
        self._left = max(length, 0)
        self.ended = length == 0
        self._line = b""
        #: What the next line is: the size of a chunk, the end of its data, or a trailer.
        self._state = "size"

    def plain(self, pieces: Sequence[tuple[int, bytes]]) -> Sequence[tuple[int, bytes]]:
        """What of the body is in the first of these, as long as each is one whole chunk, or the body has no end."""
        if self.until_eof:
            return pieces
        found: list[tuple[int, bytes]] = []
        if not self._chunked or self._left or self._line or self._state != "size":
            return found
        for at_ns, data in pieces:
            at = data.find(b"\r\n", 0, 10)
            size = data[:at]
            # int() would take signs and underscores too.
            if at <= 0 or not size.isalnum() or not data.endswith(b"\r\n"):
                break
            try:
                length = int(size, 16)
            except ValueError:
                break
            # The chunk of 0 is the end.
            if not length or length != len(data) - at - 4:
                break
            found.append((at_ns, data[at + 2 : -2]))
        return found

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """What of these bytes is body, and what comes after its end."""
        if self.until_eof:
            return data, b""
        if self._chunked:
            return self._chunks(data)
        if self.ended:
            return b"", data
        body = data[: self._left]
        self._left -= len(body)
        self.ended = not self._left
        return body, data[len(body) :]

    def _chunks(self, data: bytes) -> tuple[bytes, bytes]:
        found: list[bytes] = []
        at = 0
        while at < len(data) and not self.ended:
            if self._left:
                piece = data[at : at + self._left]
                found.append(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            newline = data.find(b"\n", at)
            self._line += data[at : newline if newline >= 0 else len(data)]
            if len(self._line) > MAX_HEAD_BYTES:
                raise Unreadable("an endless line between chunks")
            if newline < 0:
                return b"".join(found), b""
            at = newline + 1
            line, self._line = self._line.removesuffix(b"\r"), b""
            self._between(line)
        return b"".join(found), data[at:]

    def _between(self, line: bytes) -> None:
        if self._state == "end":
            if line:
                raise Unreadable("a chunk is longer than it says")
            self._state = "size"
        elif self._state == "size":
            size = _SIZE.fullmatch(line)
            if not size:
                raise Unreadable("no size of a chunk")
            self._left = int(size[1], 16)
            self._state = "end" if self._left else "trailer"
        else:
            self.ended = not line


def _head(data: bytearray) -> list[bytes] | None:
    """The lines of the head at the beginning, which is taken away; None while it is not whole."""
    # Before a request there may be an empty line.
    while data[:2] == b"\r\n":
        del data[:2]
    ends = [(at, len(mark)) for mark in (b"\r\n\r\n", b"\n\n") if (at := data.find(mark)) >= 0]
    at, length = min(ends, default=(len(data), 0))
    if at > MAX_HEAD_BYTES:
        raise Unreadable("an endless head")
    if not length:
        return None
    lines = bytes(data[:at]).replace(b"\r\n", b"\n").split(b"\n")
    del data[: at + length]
    return lines


def _headers(lines: list[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise Unreadable("no header")
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _length(headers: Mapping[str, str], otherwise: int) -> int:
    """Bytes of the body; -1 for chunked, `otherwise` where nothing says it."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise Unreadable("a body in another coding, or of two lengths")
        return -1
    if length is None:
        return otherwise
    said = {text.strip() for text in length.split(",")}
    if len(said) > 1 or not re.fullmatch(r"[0-9]{1,15}", length.partition(",")[0].strip()):
        raise Unreadable("a body of no length")
    return int(said.pop())


def _answer_length(head: Head) -> int:
    if head.method == "HEAD" or head.status in (204, 304):
        return 0
    return _length(head.headers, -2)
