"""One timed stream: bytes and clock readings now, parsing later.

While an answer comes in, nothing happens but reading: the clock is read as soon as the system call returns, and what
came is kept beside it. The garbage collector waits.
"""

from __future__ import annotations

import gc
import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: An answer larger than this is none: 64 MiB are a hundred thousand tokens with the most verbose of envelopes.
MAX_BYTES = 64 * 2**20
_BUFFER = 256 * 1024

End = Literal["complete", "cut", "timeout", "refused", "unreachable", "not_http", "too_large"]


class _TooLarge(Exception):
    pass


@dataclass(slots=True)
class Recording:
    """What came over the wire and when; times are nanoseconds of `time.perf_counter_ns`, 0 where it did not happen."""

    started_ms: int
    connect_ns: int = 0
    connected_ns: int = 0
    #: Taken right before the request was given to the system.
    sent_ns: int = 0
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
    recording = Recording(started_ms=round(time.time() * 1000))
    deadline = time.monotonic() + timeout
    recording.connect_ns = time.perf_counter_ns()
    try:
        with _connected(url, deadline) as wire:
            recording.connected_ns = time.perf_counter_ns()
            with _no_collection():
                _exchange(wire, url, body, headers, recording)
    except TimeoutError:
        recording.end, recording.detail = "timeout", f"no complete answer within {timeout:g} s"
    except ConnectionRefusedError:
        recording.end, recording.detail = "refused", "connection refused"
    except _TooLarge:
        recording.end, recording.detail = "too_large", f"more than {MAX_BYTES // 2**20} MiB"
    except http.client.IncompleteRead:
        recording.end, recording.detail = "cut", "the connection ended in the middle of the answer"
    except OSError as error:
        recording.end = "cut" if recording.sent_ns else "unreachable"
        recording.detail = error.strerror or str(error) or type(error).__name__
    except (http.client.HTTPException, ValueError) as error:
        recording.end, recording.detail = "not_http", f"the answer is not HTTP ({type(error).__name__})"
    recording.ended_ns = time.perf_counter_ns()
    return recording


class _Wire(io.RawIOBase):
    """A connected socket that notes when each read returned; what `http.client` takes for its socket."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._bytes = 0
        self.stamp = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        # The timeout is for the whole answer: one that starts anew with each read would let a trickle last forever.
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        count = self._sock.recv_into(buffer)
        self.stamp = time.perf_counter_ns()
        self._bytes += count
        if self._bytes > MAX_BYTES:
            raise _TooLarge
        return count

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(max(self._deadline - time.monotonic(), 0.001))
        self._sock.sendall(data)

    def close(self) -> None:
        """Nothing: `http.client` closes what it sent the request with before it has read the answer."""

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self, _BUFFER)


@contextmanager
def _connected(url: str, deadline: float) -> Iterator[_Wire]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    address = parts.hostname or "", parts.port or (443 if secure else 80)
    left = max(deadline - time.monotonic(), 0.001)
    with socket.create_connection(address, timeout=left) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not secure:
            yield _Wire(plain, deadline)
            return
        with ssl.create_default_context().wrap_socket(plain, server_hostname=address[0]) as encrypted:
            yield _Wire(encrypted, deadline)


def _exchange(wire: _Wire, url: str, body: bytes, headers: Mapping[str, str], recording: Recording) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("unused")
    connection.sock = wire
    connection.putrequest("POST", parts.path or "/", skip_host=True, skip_accept_encoding=True)
    fixed = {"Host": parts.netloc, "Content-Type": "application/json", "Content-Length": str(len(body))}
    # Compression would gather tokens; a connection kept open would hide where an answer without a length ends.
    fixed |= {"Accept-Encoding": "identity", "Connection": "close"}
    for name, value in (fixed | dict(headers)).items():
        connection.putheader(name, value)
    recording.sent_ns = time.perf_counter_ns()
    connection.endheaders(body)
    response = connection.getresponse()
    try:
        recording.status = response.status
        recording.headers = {name.lower(): value for name, value in response.getheaders()}
        _read(response, wire, recording.pieces)
        if response.length:
            raise http.client.IncompleteRead(b"")
    finally:
        response.close()


def _read(response: http.client.HTTPResponse, wire: _Wire, pieces: list[tuple[int, bytes]]) -> None:
    read, keep = response.read1, pieces.append
    while piece := read(_BUFFER):
        keep((wire.stamp, piece))


@contextmanager
def _no_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
