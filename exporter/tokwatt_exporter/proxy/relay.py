"""One client and its connection to the engine: what one side sends, the other gets, byte for byte and at once.

What passes is only noted here, with the time at which it came; it is read elsewhere, when there is time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from tokwatt_exporter.engines.client import CONNECT_SECONDS

#: One read; an upload of pictures takes few of them.
_VIEW = memoryview(bytearray(256 * 1024))
#: What a side may take after the other has ended.
LINGER_SECONDS = 5.0
#: A client that has said nothing for so long has nothing to say.
SILENT_SECONDS = 60.0
#: After so long without a word a side is asked whether it is still there: one that vanished says nothing of it.
KEEPALIVE_SECONDS = 60
_KEEPALIVE = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", 0x10)
_RESET = struct.pack("ii", 1, 0)


class Upstream(NamedTuple):
    """Where the engine listens; `context` where it wants TLS."""

    host: str
    port: int
    context: ssl.SSLContext | None = None


class Witness(Protocol):
    """Who is told what passes on one connection; times are nanoseconds of `time.perf_counter_ns`."""

    def sent(self, at_ns: int, data: bytes) -> None:
        """The client sent this."""

    def answered(self, at_ns: int, data: bytes) -> None:
        """The engine sent this."""

    def ended(self, at_ns: int, how: str) -> None:
        """Nothing more comes: `eof`, `reset` (by the engine), `client` (it went away) or `unreachable`."""


class Owner(Protocol):
    """Who has the relay."""

    def reached(self) -> None:
        """The engine took the connection."""

    def refused(self, error: OSError) -> bytes:
        """It did not; gives what the client is answered."""
        ...

    def closed(self, relay: Relay) -> None:
        """The relay is over."""


class _Side(asyncio.BufferedProtocol):
    """One end of a relay. Its transport is None before it is connected and after it is lost."""

    def __init__(self, relay: Relay, witness: Callable[[int, bytes], None]) -> None:
        self._relay = relay
        self._note = witness
        self.other: _Side
        self.transport: asyncio.Transport | None = None
        #: It sends nothing more.
        self.ended = False
        self.write: Callable[[bytes], None] = _nowhere

    def connection_made(self, transport: Any) -> None:
        self.transport, self.write = transport, transport.write
        self._relay.made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        # Not the bytes themselves: asyncio reads TLS into a slice of what it gets, which must be no copy.
        return _VIEW

    def buffer_updated(self, count: int) -> None:
        # The clock first, and the other side next: all else can wait.
        now = time.perf_counter_ns()
        data = bytes(_VIEW[:count])
        self.other.write(data)
        self._note(now, data)

    def eof_received(self) -> bool:
        self.ended = True
        return self._relay.eof(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport, self.write = None, _nowhere
        self._relay.lost(self, error)

    # A side that does not take what it gets holds back the one that sends it.

    def pause_writing(self) -> None:
        if self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


def _nowhere(data: bytes) -> None:
    """For what comes when there is nobody to give it to any more."""


class Relay:
    """A client's connection from its first byte to its end, and the one to the engine that belongs to it."""

    def __init__(self, upstream: Upstream, witness: Witness, owner: Owner) -> None:
        self._loop = asyncio.get_running_loop()
        self._upstream = upstream
        self._witness = witness
        self._owner = owner
        self._timer = self._loop.call_later(SILENT_SECONDS, self.abort)
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[bytes] = []
        self._told = False
        self.client = _Side(self, witness.sent)
        self.engine = _Side(self, witness.answered)
        self.client.other, self.engine.other = self.engine, self.client
        # Whoever only holds a connection open costs the engine none.
        self.engine.write = self._first

    @property
    def silent(self) -> bool:
        """Whether the client has not said a word yet."""
        return self._connecting is None

    def abort(self) -> None:
        """End both connections now."""
        for side in (self.client, self.engine):
            if side.transport:
                side.transport.abort()

    def made(self, side: _Side) -> None:
        """A side is connected."""
        assert side.transport
        sock = side.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, _KEEPALIVE, KEEPALIVE_SECONDS)
        if side is self.engine:
            if self.client.transport is None:
                side.transport.abort()
                return
            self._owner.reached()
            side.transport.write(b"".join(self._waiting))
            self._waiting.clear()
            self.client.transport.resume_reading()
            if self.client.ended:
                self.eof(self.client)

    def eof(self, side: _Side) -> bool:
        """A side sends nothing more; True keeps its connection for what it still gets."""
        other = side.other.transport
        if side is self.engine:
            self._tell("eof")
            self._linger()
        if other is None:
            # Before the engine is connected it only waits; after the engine is gone there is nobody to answer.
            return side is self.client and self._connecting is not None and not self._connecting.done()
        if side.other.ended:
            other.close()
            return False
        if not other.can_write_eof() or (transport := side.transport) is None or not transport.can_write_eof():
            # TLS knows no half of a connection.
            other.close()
            return False
        other.write_eof()
        return True

    def lost(self, side: _Side, error: Exception | None) -> None:
        """A connection is gone; the other one follows, as roughly."""
        other = side.other.transport
        if side is self.client:
            self._tell("client")
            if other:
                _reset(other)
                other.abort()
        else:
            self._tell("reset" if error else "eof")
            if other:
                if error:
                    _reset(other)
                other.close()
                self._linger()
        if self.client.transport is None and self.engine.transport is None:
            self._end()

    def _first(self, data: bytes) -> None:
        """Bytes for an engine that is not connected yet."""
        self._waiting.append(data)
        if self._connecting is None:
            self._timer.cancel()
            assert self.client.transport
            self.client.transport.pause_reading()
            self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        up = self._upstream
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._loop.create_connection(
                    lambda: self.engine, up.host, up.port, ssl=up.context,
                    server_hostname=up.host if up.context else None,
                )  # fmt: skip
        except OSError as error:
            # Among them what TLS has to say, and TimeoutError.
            self._refuse(error)

    def _refuse(self, error: OSError) -> None:
        self._tell("unreachable")
        self.engine.write = _nowhere
        self._waiting.clear()
        answer, client = self._owner.refused(error), self.client.transport
        if client is None:
            return
        client.write(answer)
        if self.client.ended:
            client.close()
            return
        # Closed with bytes unread, the client would get a reset instead of the answer.
        client.write_eof()
        client.resume_reading()
        self._linger()

    def _linger(self) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_SECONDS, self.abort)

    def _tell(self, how: str) -> None:
        if not self._told:
            self._told = True
            self._witness.ended(time.perf_counter_ns(), how)

    def _end(self) -> None:
        self._timer.cancel()
        if self._connecting and not self._connecting.done():
            self._connecting.cancel()
        self._owner.closed(self)


def _reset(transport: asyncio.Transport) -> None:
    # The other side is to see what this one saw: an end in the middle of an answer without a length looks like its end.
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
