"""One connection: its TLS handshake, its HTTP/1.1 by hypercorn, and the time it has for each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

import h11
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr

from tokwatt_exporter.web import tls
from tokwatt_exporter.web.config import WebConfig

log = logging.getLogger(__name__)

#: For the TLS handshake and the first byte; then for the rest of a request's headers.
REQUEST_SECONDS = 5.0
#: From there to the last byte of the answer, a slow query and a slow reader included.
ANSWER_SECONDS = 60.0
#: Between two requests; above the common scrape intervals, so that Prometheus need not connect anew.
KEEP_ALIVE_SECONDS = 75.0
#: For what is left to be said when a connection is closed.
CLOSE_SECONDS = 2.0

#: Headers are refused from 16 KiB on, as seen at the end of a chunk.
_CHUNK = 2**13


class _Http1(H11Protocol):
    async def _check_protocol(self, event: h11.Request) -> None:
        """No upgrade to HTTP/2: a request is a request."""


class Shared:
    """What hypercorn needs for every connection."""

    def __init__(self, app: Any) -> None:
        self.app = ASGIWrapper(app)
        self.context = WorkerContext(None)
        self.config = HypercornConfig()
        self.config.errorlog = None
        self.config.include_server_header = False


class Connection:
    """Serves one accepted socket until it closes, is closed, or its time is over."""

    def __init__(self, sock: socket.socket, web: WebConfig, shared: Shared, expired: Callable[[], None]) -> None:
        self.answering = False
        self.gone = False
        #: When it began to wait for a request, by the loop's clock.
        self.since = asyncio.get_running_loop().time()
        self._sock = sock
        self._web = web
        self._shared = shared
        self._expired = expired
        self._waiting_for_request = True
        self._receives = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(REQUEST_SECONDS, self._expire)
        self._transport: asyncio.Transport | None = None
        self._writer: asyncio.StreamWriter

    async def serve(self) -> None:
        """Until the end; nothing that a client does is an error here."""
        try:
            reader = await self._open()
            if self._welcome():
                await self._talk(reader)
            self._writer.close()
            self._allow(CLOSE_SECONDS)
            await self._writer.wait_closed()
        except OSError:
            # Includes every failed handshake: ssl.SSLError is an OSError.
            pass
        except Exception:
            log.debug("a connection was lost", exc_info=True)
        finally:
            self._timer.cancel()
            self.abort()

    def abort(self) -> None:
        """Close now, whatever is under way."""
        self.gone = True
        if self._transport:
            self._transport.abort()
            return
        # The handshake owns the socket; an end of file makes it give up.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    async def _open(self) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(limit=_CHUNK, loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        context = self._web.context
        transport, _ = await self._loop.connect_accepted_socket(
            lambda: protocol, self._sock, ssl=context, ssl_shutdown_timeout=CLOSE_SECONDS if context else None
        )
        self._transport = transport
        self._writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        return reader

    def _welcome(self) -> bool:
        allowed = self._web.allowed_sans
        if allowed is None:
            return True
        certificate = self._writer.get_extra_info("peercert") or {}
        return bool(tls.names_of(certificate) & allowed)

    async def _talk(self, reader: asyncio.StreamReader) -> None:
        family = self._sock.family
        client, server = self._writer.get_extra_info("peername"), self._writer.get_extra_info("sockname")
        async with TaskGroup(self._loop) as group:
            self._http = _Http1(
                self._shared.app, self._shared.config, self._shared.context, group,
                ConnectionState(LifespanState({})), self._web.context is not None,
                parse_socket_addr(family, client), parse_socket_addr(family, server), self._send,
            )  # fmt: skip
            while data := await reader.read(_CHUNK):
                self._receiving()
                await self._http.handle(RawData(data))
            await self._http.handle(Closed())

    async def _send(self, event: Event) -> None:
        match event:
            case RawData(data=data):
                try:
                    self._writer.write(data)
                    await self._writer.drain()
                except ConnectionError:
                    await self._http.handle(Closed())
            case Closed():
                self._writer.close()
            case Updated(idle=idle):
                self.answering = not idle
                self.since = self._loop.time()
                self._waiting_for_request = self._receives = False
                self._allow(KEEP_ALIVE_SECONDS if idle else ANSWER_SECONDS)

    def _allow(self, seconds: float) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._expire)

    def _receiving(self) -> None:
        if not self.answering and not self._receives:
            self._receives = self._waiting_for_request = True
            self._allow(REQUEST_SECONDS)

    def _expire(self) -> None:
        if self.answering or self._waiting_for_request:
            self._expired()
        self.abort()
