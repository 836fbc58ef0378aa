"""The proxy as it runs: takes no more clients than it has descriptors for, and tells the daemon what it counted."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import socket
from collections.abc import Sequence
from typing import Any

from tokwatt_exporter import __version__, logs
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.parse import Address
from tokwatt_exporter.proxy.counts import Counts
from tokwatt_exporter.proxy.relay import Relay, Upstream
from tokwatt_exporter.proxy.state import StateFile
from tokwatt_exporter.proxy.target import Target
from tokwatt_exporter.proxy.watch import Desk, Watch
from tokwatt_exporter.web.listen import bound, is_loopback, listen

log = logging.getLogger(__name__)

#: A connection takes two descriptors; launchd gives 256 in all.
WANTED_DESCRIPTORS, OWN_DESCRIPTORS = 4096, 32
#: What running streams get when the proxy is to end.
GRACE_SECONDS = 5.0
WRITE_SECONDS = 1.0


def run_proxy(config: Config, target: Target, address: Address, expose: bool) -> int:
    """Relay until SIGTERM or SIGINT; 0 after a clean stop. `UsageError` where it cannot listen."""
    os.umask(0o077)
    logs.configure(config.log_level, config.log_format, config.log_file)
    sockets = _listen(address, expose)
    try:
        places = [str(bound(sock)) for sock in sockets]
        state = StateFile(config.data_dir, target.name, {"listen": places, "url": target.url})
        try:
            upstream = target.upstream()
            log.info("tokwatt %s relays %s to %s at %s", __version__, ", ".join(places), target.name, target.url)
            asyncio.run(Proxy(sockets, upstream, target, state).run())
            log.info("stopped")
        finally:
            state.remove()
    finally:
        for sock in sockets:
            sock.close()
    return 0


def _listen(address: Address, expose: bool) -> list[socket.socket]:
    try:
        sockets = listen([address])
    except UsageError as error:
        raise UsageError(f"--listen: {str(error).removeprefix('web.listen-address: ')}") from None
    if not expose and not all(is_loopback(sock) for sock in sockets):
        for sock in sockets:
            sock.close()
        raise UsageError(
            f"--listen: {address} lets other machines use the engine, which may ask for no key; --expose allows it"
        )
    return sockets


class Proxy:
    """The running proxy, in one event loop."""

    def __init__(self, sockets: Sequence[socket.socket], upstream: Upstream, target: Target, state: StateFile) -> None:
        self._sockets = sockets
        self._upstream = upstream
        self._target = target
        self._state = state
        self._counts = Counts()
        self._open: dict[Relay, Watch] = {}
        self._room = _room()
        self._written: tuple[int, int] | None = None
        self._reached = True
        self._full = False

    async def run(self) -> None:
        """Until a signal; running streams get a few seconds to end."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_forget)
        self._desk = Desk(self._counts)
        self._gone = asyncio.Event()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        # What is there now stays: it need not be looked at for garbage while streams run.
        gc.freeze()
        tasks = [loop.create_task(self._accept(sock)) for sock in self._sockets]
        writing = loop.create_task(self._keep_writing())
        await stop.wait()
        await _cancel(tasks)
        for sock in self._sockets:
            sock.close()
        stop.clear()
        await self._drain(stop)
        await _cancel([writing])
        self._desk.finish()

    async def _drain(self, again: asyncio.Event) -> None:
        """Wait for requests under way, not longer than the grace, and not after a second signal."""
        loop = asyncio.get_running_loop()
        end = loop.time() + GRACE_SECONDS
        running = sum(watch.busy for watch in self._open.values())
        if running:
            log.info("stopping: %d requests are under way", running)
        while any(watch.busy for watch in self._open.values()) and loop.time() < end and not again.is_set():
            await asyncio.sleep(0.05)
        for relay in list(self._open):
            relay.abort()
        await asyncio.sleep(0)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while len(self._open) >= self._room and not self._make_room():
                # Whoever comes now waits in the kernel's queue.
                self._gone.clear()
                await self._gone.wait()
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("no connection can be accepted: %s", error.strerror)
                await asyncio.sleep(0.5)
                continue
            watch = Watch(self._desk)
            relay = Relay(self._upstream, watch, self)
            self._open[relay] = watch
            await loop.connect_accepted_socket(lambda relay=relay: relay.client, sock)  # type: ignore[misc]

    def _make_room(self) -> bool:
        """End the oldest connection that has no request under way; False where all have."""
        idle = [relay for relay, watch in self._open.items() if not watch.busy]
        if not self._full:
            log.warning("%d connections are open: those without a request are closed for new ones", len(self._open))
        self._full = True
        for relay in sorted(idle, key=lambda relay: not relay.silent)[:1]:
            relay.abort()
            self._open.pop(relay, None)
        return bool(idle)

    def closed(self, relay: Relay) -> None:
        """A relay is over."""
        self._open.pop(relay, None)
        self._full = self._full and len(self._open) >= self._room // 2
        self._gone.set()

    def reached(self) -> None:
        """The engine took a connection."""
        if not self._reached:
            log.info("%s at %s is reached again", self._target.name, self._target.url)
        self._reached = True

    def refused(self, error: OSError) -> bytes:
        """What the engine's absence looks like to a client; the only bytes that are ours."""
        why = _why(error)
        if self._reached:
            log.warning("%s at %s %s", self._target.name, self._target.url, why)
        self._reached = False
        message = f"tokwatt proxy: {self._target.name} at {self._target.url} {why}"
        body = json.dumps({"error": {"message": message, "type": "engine_unreachable"}}).encode() + b"\n"
        return (
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        ) + body

    async def _keep_writing(self) -> None:
        while True:
            now = self._counts.version, len(self._open)
            if now != self._written:
                text = {"connections": now[1], **self._counts.as_json()}
                try:
                    # The disk may take its time; streams should not have to.
                    await asyncio.to_thread(self._state.write, text)
                    self._written = now
                except OSError as error:
                    log.warning("what was counted cannot be written: %s", error.strerror)
            await asyncio.sleep(WRITE_SECONDS)


def _room() -> int:
    """How many connections there are descriptors for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(WANTED_DESCRIPTORS, hard)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max((min(soft, WANTED_DESCRIPTORS) - OWN_DESCRIPTORS) // 2, 4)


def _why(error: OSError) -> str:
    import ssl

    from tokwatt_exporter.unreachable import explain_unreachable

    if isinstance(error, ConnectionRefusedError):
        return "refuses connections: is it running?"
    if isinstance(error, TimeoutError):
        return "does not answer"
    if isinstance(error, ssl.SSLError):
        return f"cannot be trusted: {getattr(error, 'verify_message', None) or error.reason}"
    return explain_unreachable(error, None) or f"cannot be reached: {getattr(error, 'strerror', None) or error}"


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _forget(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # What clients and engines break is theirs to notice.
    log.debug("%s: %r", context.get("message"), type(context.get("exception")).__name__)
