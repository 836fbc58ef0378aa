"""Who listens on this machine, as far as this user may see."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


class Listener(NamedTuple):
    """A listening TCP socket reachable over loopback. Process and start time are None for other users' processes."""

    host: str
    port: int
    pid: int | None = None
    started: float | None = None

    @property
    def url(self) -> str:
        """Where to ask it."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


class Sockets:
    """Lists the listeners; the costly part, finding the processes, is done again only when the sockets changed."""

    def __init__(self) -> None:
        self._seen: object = None
        self._listeners: tuple[Listener, ...] = ()

    def listeners(self) -> tuple[Listener, ...]:
        """Every listener on loopback now, by port."""
        seen = _fingerprint()
        if seen is None or seen != self._seen:
            self._listeners = tuple(_single(_listeners()))
            self._seen = seen
        return self._listeners


def started(pid: int) -> float | None:
    """When the process started, Unix time; None where it is gone or hidden."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def _fingerprint() -> object:
    # Address, state and inode of the listening sockets: a new process on the same port gives a new inode.
    try:
        lines = [line.split() for table in _TABLES if table.exists() for line in table.read_bytes().splitlines()]
    except OSError:
        return None
    return [(part[1], part[9]) for part in lines if len(part) > 9 and part[3] == b"0A"] or None


def _single(listeners: Iterable[Listener]) -> Iterator[Listener]:
    # Forked workers share their parent's socket, and one process may listen on 127.0.0.1 and ::1: the eldest process
    # and the IPv4 address stand for all of them.
    found: dict[int, list[Listener]] = {}
    for one in sorted(listeners, key=lambda one: (one.port, one.started or 0.0, one.pid or 0, one.host)):
        others = found.setdefault(one.port, [])
        if not any(one.host == other.host or one.pid == other.pid is not None for other in others):
            others.append(one)
    for port in sorted(found):
        yield from found[port]


def _listeners() -> Iterator[Listener]:
    own = os.getuid()
    for connection, pid in _connections():
        if connection.status != psutil.CONN_LISTEN or not (host := _loopback(connection.laddr.ip)):
            continue
        if pid is None or not _belongs(pid, own):
            yield Listener(host, connection.laddr.port)
        elif pid != os.getpid():
            yield Listener(host, connection.laddr.port, pid, started(pid))


def _connections() -> Iterable[tuple[Any, int | None]]:
    try:
        for connection in psutil.net_connections("tcp"):
            yield connection, connection.pid
        return
    except psutil.AccessDenied:
        pass
    # macOS shows a user its own processes' sockets only.
    for process in psutil.process_iter():
        try:
            for own in process.net_connections("tcp"):
                yield own, process.pid
        except psutil.Error:
            continue


def _loopback(address: str) -> str | None:
    if address in ("0.0.0.0", "::") or address.startswith(("127.", "::ffff:127.")):
        # A server on "::" takes IPv4 as well unless it was told otherwise.
        return "127.0.0.1" if not address.startswith("127.") else address
    return "::1" if address == "::1" else None


def _belongs(pid: int, uid: int) -> bool:
    try:
        return psutil.Process(pid).uids().real == uid
    except psutil.Error:
        return False
