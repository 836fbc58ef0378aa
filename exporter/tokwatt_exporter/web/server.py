"""The HTTP server: a thread of its own with the listening sockets, and never more connections than it can hold.

HTTP is hypercorn's (`protocol.h11` on top of h11). Its own accept loop is not used: it has no limit on connections, so
300 idle clients under `ulimit -n 256` stop every scrape, and clients that hang in a TLS handshake are not seen by it.
HTTP/2 and WebSockets come with its import (6.5 MB resident, on top of 11 for asyncio and ssl) and are never spoken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tokwatt_exporter.catalogue import HTTP_REJECTED
from tokwatt_exporter.config import Config
from tokwatt_exporter.parse import Address
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.web.app import App
from tokwatt_exporter.web.config import Source
from tokwatt_exporter.web.connection import Connection, Shared
from tokwatt_exporter.web.listen import bound, is_loopback, listen

log = logging.getLogger(__name__)

#: Open connections; more would need descriptors that the collectors need too (launchd gives 256 in all).
MAX_CONNECTIONS = 64
_STOP_SECONDS = 5.0

Query = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]


class State(Protocol):
    """What the server asks the daemon."""

    @property
    def latest(self) -> Snapshot | None:
        """The newest snapshot; None before the first."""
        ...

    def stalled(self) -> bool:
        """Whether sampling has stopped."""
        ...


class Server:
    """Listens from the moment it is made (`UsageError` where it cannot), answers from `start` to `stop`."""

    def __init__(self, config: Config, state: State, metrics: SelfMetrics, query: Query | None = None) -> None:
        self._metrics = metrics
        self._source = Source(config)
        self._app = App(config, state, self._source, self._count, query)
        self._sockets = listen(config.web_listen_address)
        self._app.private = all(is_loopback(sock) for sock in self._sockets)
        self.addresses: list[Address] = [bound(sock) for sock in self._sockets]
        self.scheme = "https" if self._source.over_tls else "http"
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._starving = False
        self._open: dict[asyncio.Task[None], Connection] = {}
        for reason in ("limit", "timeout", "host", "auth"):
            metrics.inc(HTTP_REJECTED, 0, reason=reason)

    def start(self) -> None:
        """Answer from now on."""
        if not self._app.safe(self._source.current()):
            log.warning(
                "listening beyond this machine without TLS and authentication: /api/ is closed; "
                "--web.config.file and --web.bearer-token-file add both"
            )
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and the listening sockets."""
        self._stopping.set()
        if self._loop:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopped.set)
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        for sock in self._sockets:
            sock.close()
        self._app.close()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_forget)
        self._shared = Shared(self._app)
        accepting = [self._loop.create_task(self._accept(sock)) for sock in self._sockets]
        if not self._stopping.is_set():
            await self._stopped.wait()
        tasks = [*accepting, *self._open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError as error:
                self._starved(error)
                await asyncio.sleep(0.05)
                continue
            self._starving = False
            if len(self._open) >= MAX_CONNECTIONS:
                self._make_room()
            self._serve_connection(sock)
            # Accepting does not wait while others queue up: without a turn for them, what was closed stays open.
            await asyncio.sleep(0)

    def _starved(self, error: OSError) -> None:
        # No descriptors left, most likely: that of the oldest connection is needed now.
        self._make_room()
        if not self._starving:
            log.warning("no connection can be accepted: %s", error.strerror)
        self._starving = True

    def _serve_connection(self, sock: socket.socket) -> None:
        connection = Connection(sock, self._source.current(), self._shared, lambda: self._count("timeout"))
        task = asyncio.get_running_loop().create_task(connection.serve())
        self._open[task] = connection
        task.add_done_callback(self._open.pop)

    def _make_room(self) -> None:
        """Close the connection that has waited longest for a request, or longest for its answer to be taken."""
        here = [connection for connection in self._open.values() if not connection.gone]
        if here:
            min(here, key=lambda connection: (connection.answering, connection.since)).abort()
            self._count("limit")

    def _count(self, reason: str) -> None:
        self._metrics.inc(HTTP_REJECTED, reason=reason)


def _forget(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # What clients break is theirs to notice; a line for each would fill the log.
    log.debug("%s: %r", context.get("message"), context.get("exception"))
