"""Where an answer ends, by HTTP/1.1: what it says is found out later, but a server may keep its connection open."""

from __future__ import annotations

import re

#: A head that is longer is none.
_MAX_HEAD = 256 * 1024
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*\bchunked\b", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r\n", re.IGNORECASE)


class Framing:
    """Follows an answer to where HTTP/1.1 says it ends."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        #: Bytes until the end of the body or of the chunk; None where only the end of the connection tells.
        self._left: int | None = None
        self._chunked = False
        #: The beginning of a chunk's line of size, or of the lines after the last one.
        self._line = b""
        self._trailing = False

    def over(self, data: bytes) -> bool:
        """Whether the answer is complete with this read. Of what is not HTTP nothing more is awaited."""
        if self._head is not None:
            head = self._head + data
            if not (head.startswith(b"HTTP/") or b"HTTP/".startswith(head[:5])) or len(head) > _MAX_HEAD:
                return True
            before, found, data = head.partition(b"\r\n\r\n")
            if not found:
                self._head = head
                return False
            if before.split(b" ", 2)[1:2] == [b"100"]:
                self._head = b""
                return bool(data) and self.over(data)
            self._begin(before + b"\r\n")
        if self._chunked:
            return self._chunks(data)
        if self._left is not None:
            self._left -= len(data)
            return self._left <= 0
        return False

    def _begin(self, head: bytes) -> None:
        self._head = None
        self._chunked = bool(_CHUNKED.search(head))
        if not self._chunked and (length := _LENGTH.search(head)):
            self._left = int(length[1])
        elif self._chunked:
            self._left = 0

    def _chunks(self, data: bytes) -> bool:
        at = 0
        while at < len(data) and self._left is not None:
            step = min(self._left, len(data) - at)
            self._left -= step
            at += step
            if self._left:
                break
            line, found, _ = data[at:].partition(b"\n")
            at += len(line) + len(found)
            self._line += line
            if found and self._ended(self._line.strip()):
                return True
            if found:
                self._line = b""
        return False

    def _ended(self, line: bytes) -> bool:
        if self._trailing:
            return not line
        if not line:
            # The line break after a chunk's bytes.
            return False
        try:
            self._left = int(line.partition(b";")[0], 16)
        except ValueError:
            # Not a size: only the end of the connection tells, and the decoder what is wrong.
            self._left = None
            return False
        self._trailing = self._left == 0
        return False
