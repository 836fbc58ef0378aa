"""One timed stream: bytes and clock readings now, parsing later.

While answers come in, nothing happens but reading (`wire`): the clock is read as soon as the system call returns, and
what came is kept beside it. What HTTP made of the bytes is taken off afterwards, here.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: An answer larger than this is none: 64 MiB are a hundred thousand tokens with the most verbose of envelopes.
MAX_BYTES = 64 * 2**20
_BUFFER = 256 * 1024

End = Literal["complete", "cut", "timeout", "refused", "unreachable", "not_http", "too_large"]


@dataclass(slots=True)
class Recording:
    """What came over the wire and when; times are nanoseconds of `time.perf_counter_ns`, 0 where it did not happen."""

    started_ms: int
    connect_ns: int = 0
    connected_ns: int = 0
    #: Taken right before the request was given to the system.
    sent_ns: int = 0
    #: What each read brought, and when it returned; empty once it is decoded.
    reads: list[tuple[int, bytes]] = field(default_factory=list)
    #: Bytes of them all.
    size: int = 0
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Pieces of the body, each with the time at which the read that brought it returned.
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    end: End = "complete"
    detail: str = ""
    ended_ns: int = 0


def record(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Recording:
    """POST the body and record the answer; a connection of its own, at most `timeout` seconds in all. Never raises for
    what the server does: `end` and `detail` say how it went.
    """
    from tokwatt_bench.wire import Outgoing, Wires

    with Wires() as wires:
        wires.start(0, Outgoing(url, encode(url, body, headers), timeout))
        recording = wires.wait()[0].recording
    decode(recording)
    return recording


def encode(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """The bytes of a POST of JSON."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("unused")
    out = connection.sock = _Collector()
    connection.putrequest("POST", parts.path or "/", skip_host=True, skip_accept_encoding=True)
    fixed = {"Host": parts.netloc, "Content-Type": "application/json", "Content-Length": str(len(body))}
    # Compression would gather tokens; a connection kept open would hide where an answer without a length ends.
    fixed |= {"Accept-Encoding": "identity", "Connection": "close"}
    for name, value in (fixed | dict(headers)).items():
        connection.putheader(name, value)
    connection.endheaders(body)
    return b"".join(out.sent)


def decode(recording: Recording) -> None:
    """Take HTTP off what was read: status, headers and the pieces of the body, and whether all of it came. Once is
    enough: what is decoded already stays as it is.
    """
    reads, recording.reads = recording.reads, []
    if not reads and (recording.end != "complete" or recording.status or recording.detail):
        return
    try:
        _decode(_Replay(reads), recording)
    except http.client.IncompleteRead:
        _ended(recording, "cut", "the connection ended in the middle of the answer")
    except http.client.RemoteDisconnected:
        _ended(recording, "cut", "the connection ended without an answer")
    except (http.client.HTTPException, ValueError) as error:
        _ended(recording, "not_http", f"the answer is not HTTP ({type(error).__name__})")


def _ended(recording: Recording, end: End, detail: str) -> None:
    # Half an answer is half because of what ended it before.
    if recording.end == "complete":
        recording.end, recording.detail = end, detail


def _decode(wire: _Replay, recording: Recording) -> None:
    response = http.client.HTTPResponse(wire, method="POST")  # type: ignore[arg-type]
    try:
        response.begin()
        recording.status = response.status
        recording.headers = {name.lower(): value for name, value in response.getheaders()}
        while piece := response.read1(_BUFFER):
            recording.pieces.append((wire.stamp, piece))
        if response.length:
            raise http.client.IncompleteRead(b"")
    finally:
        response.close()


class _Collector:
    """What `http.client` takes for the socket it sends to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.sent.append(bytes(data))


class _Replay(io.RawIOBase):
    """What was read, read again, with the time of each read; what `http.client` takes for its socket."""

    def __init__(self, reads: list[tuple[int, bytes]]) -> None:
        self._reads = iter(reads)
        self._rest = memoryview(b"")
        self.stamp = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if not self._rest:
            self.stamp, data = next(self._reads, (self.stamp, b""))
            self._rest = memoryview(data)
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self, _BUFFER)
