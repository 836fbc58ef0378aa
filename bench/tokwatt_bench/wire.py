"""Any number of streams at a time, read by one thread that does nothing else while one of them runs.

Every read is kept as it came with the time at which its system call returned. What the bytes mean is found out later
(`stream.decode`); here it is only followed where an answer ends, for a server may keep its connection open.
"""

from __future__ import annotations

import errno
import gc
import math
import os
import selectors
import socket
import ssl
import time
from collections.abc import Hashable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit

from tokwatt_bench import stream
from tokwatt_bench.framing import Framing
from tokwatt_bench.stream import End, Recording

_BUFFER = 256 * 1024
_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


class Outgoing(NamedTuple):
    """A request, ready to be sent: where to, the bytes of its head and body, and the seconds its answer may take."""

    url: str
    data: bytes
    timeout: float


class Ended(NamedTuple):
    """A stream that is over, by the key it was started with."""

    key: Hashable
    recording: Recording


class Wires:
    """Streams under way. The garbage collector waits while the `with` block lasts."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._running: dict[Hashable, _Wire] = {}
        self._ended: list[Ended] = []
        self._addresses: dict[tuple[str, int], Sequence[tuple[socket.AddressFamily, tuple[str, int]]]] = {}
        self._view = memoryview(bytearray(_BUFFER))
        self._collecting = False
        #: When the next one may have taken too long; nobody is looked at before.
        self._due = math.inf

    def __enter__(self) -> Wires:
        self._collecting = gc.isenabled()
        gc.disable()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for wire in self._running.values():
            wire.close()
        self._selector.close()
        if self._collecting:
            gc.enable()

    @property
    def running(self) -> int:
        """Number of streams under way."""
        return len(self._running)

    def start(self, key: Hashable, request: Outgoing) -> None:
        """Connect and send, on a connection of its own. What goes wrong is told by `wait`, like any other end."""
        wire = self._running[key] = _Wire(key, request, self._selector)
        self._due = min(self._due, wire.deadline)
        try:
            wire.connect(self._resolve(request.url))
        except OSError as error:
            self._end(wire, error)

    def wait(self, until: float | None = None) -> list[Ended]:
        """The streams that ended, as soon as there is one; none where `time.perf_counter()` reached `until` before."""
        while not self._ended and (self._running or until is not None):
            now = time.perf_counter()
            if until is not None and now >= until:
                break
            if now >= self._due:
                self._time_out(now)
            else:
                self._read((self._due if until is None else min(until, self._due)) - now)
        ended, self._ended = self._ended, []
        return ended

    def poll(self) -> list[Ended]:
        """Read what is there already; the streams that ended."""
        self._read(0)
        ended, self._ended = self._ended, []
        return ended

    def _read(self, seconds: float) -> None:
        for key, _ in self._selector.select(None if seconds == math.inf else seconds):
            wire: _Wire = key.data
            try:
                if wire.ready(self._view):
                    self._end(wire, None)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as wanted:
                wire.want(write=isinstance(wanted, ssl.SSLWantWriteError))
            except BlockingIOError:
                pass
            except (OSError, _Stop) as error:
                self._end(wire, error)

    def _time_out(self, now: float) -> None:
        for wire in [wire for wire in self._running.values() if wire.deadline <= now]:
            self._end(wire, _Stop("timeout", f"no complete answer within {wire.request.timeout:g} s"))
        self._due = min((wire.deadline for wire in self._running.values()), default=math.inf)

    def _end(self, wire: _Wire, error: OSError | _Stop | None) -> None:
        wire.close()
        recording = wire.recording
        recording.ended_ns = time.perf_counter_ns()
        if error is not None:
            recording.end, recording.detail = _why(error, recording)
        del self._running[wire.key]
        self._ended.append(Ended(wire.key, recording))

    def _resolve(self, url: str) -> Sequence[tuple[socket.AddressFamily, tuple[str, int]]]:
        parts = urlsplit(url)
        address = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if address not in self._addresses:
            found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
            self._addresses[address] = [(family, to) for family, _, _, _, to in found]  # type: ignore[misc]
        return self._addresses[address]


class _Stop(Exception):
    """The end of a stream, as `Recording.end` and `Recording.detail` have it."""


def _why(error: OSError | _Stop, recording: Recording) -> tuple[End, str]:
    if isinstance(error, _Stop):
        return error.args
    if isinstance(error, ConnectionRefusedError):
        return "refused", "connection refused"
    return "cut" if recording.sent_ns else "unreachable", error.strerror or str(error) or type(error).__name__


class _Wire:
    """One stream: its socket, what is to be sent, and what came."""

    def __init__(self, key: Hashable, request: Outgoing, selector: selectors.BaseSelector) -> None:
        self.key, self.request = key, request
        self.recording = Recording(started_ms=round(time.time() * 1000), connect_ns=time.perf_counter_ns())
        self.deadline = time.perf_counter() + request.timeout
        self._selector = selector
        self._socket: socket.socket | None = None
        self._addresses: list[tuple[socket.AddressFamily, tuple[str, int]]] = []
        self._left = memoryview(request.data)
        self._framing = Framing()
        self._step = self._connected

    def connect(self, addresses: Sequence[tuple[socket.AddressFamily, tuple[str, int]]]) -> None:
        """Begin with the first address; the next ones are for when nobody answers there."""
        self._addresses = list(addresses[1:])
        family, address = addresses[0]
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self._socket.connect_ex(address)
        if code not in _UNDER_WAY:
            self._next(OSError(code, os.strerror(code)))
            return
        self._selector.register(self._socket, selectors.EVENT_WRITE, self)

    def ready(self, view: memoryview) -> bool:
        """Do what the socket is ready for; whether that was the end of the answer."""
        return self._step(view)

    def want(self, *, write: bool) -> None:
        """What the socket has to be ready for next."""
        if self._socket:
            self._selector.modify(self._socket, selectors.EVENT_WRITE if write else selectors.EVENT_READ, self)

    def close(self) -> None:
        """Give the socket back."""
        if self._socket:
            with suppress(KeyError, ValueError):
                self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def _next(self, error: OSError) -> None:
        self.close()
        if not self._addresses:
            # By its number, so that it is a ConnectionRefusedError where it is one.
            raise OSError(error.errno, error.strerror)
        self.connect(self._addresses)

    def _connected(self, view: memoryview) -> bool:
        assert self._socket
        if code := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._next(OSError(code, os.strerror(code)))
            return False
        parts = urlsplit(self.request.url)
        if parts.scheme != "https":
            return self._established(view)
        self._selector.unregister(self._socket)
        self._socket = ssl.create_default_context().wrap_socket(
            self._socket, server_hostname=parts.hostname, do_handshake_on_connect=False
        )
        self._selector.register(self._socket, selectors.EVENT_WRITE, self)
        self._step = self._shake_hands
        return self._shake_hands(view)

    def _shake_hands(self, view: memoryview) -> bool:
        assert isinstance(self._socket, ssl.SSLSocket)
        self._socket.do_handshake()
        self.want(write=True)
        return self._established(view)

    def _established(self, view: memoryview) -> bool:
        self._step = self._send
        self.recording.connected_ns = self.recording.sent_ns = time.perf_counter_ns()
        return self._send(view)

    def _send(self, view: memoryview) -> bool:
        assert self._socket
        self._left = self._left[self._socket.send(self._left) :]
        if not self._left:
            self._step = self._receive
            self.want(write=False)
        return False

    def _receive(self, view: memoryview) -> bool:
        assert self._socket
        count = self._socket.recv_into(view)
        stamp = time.perf_counter_ns()
        if not count:
            return True
        data = bytes(view[:count])
        self.recording.reads.append((stamp, data))
        self.recording.size += count
        if self.recording.size > stream.MAX_BYTES:
            raise _Stop("too_large", f"more than {stream.MAX_BYTES // 2**20} MiB")
        if self._framing.over(data):
            return True
        # What TLS has unpacked already does not make the socket ready again.
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return self._receive(view)
        return False
