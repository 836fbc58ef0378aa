"""Ports, plain requests and waiting."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

#: For plain HTTP. What httpx makes by itself has the certificates of every authority, which takes 35 ms a time.
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
#: Below the ports that Linux and macOS give to clients, and above those where engines usually listen.
_PORTS, _BLOCK = range(18_000, 30_000), 250


class NeverWill(AssertionError):
    """Why there is no use in waiting on."""


def free_port() -> int:
    """A TCP port on loopback that nothing listens on, and that no process of the tests was given or will be."""
    for port in _ports:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")


def _mine() -> Iterator[int]:
    # Tests run side by side: each process keeps blocks of ports to itself, and the system frees them when it ends.
    folder = Path(tempfile.gettempdir(), f"tokwatt-test-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for first in random.sample(_PORTS[::_BLOCK], len(_PORTS) // _BLOCK):
        lock = (folder / str(first)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _locks.append(lock)
        yield from range(first, first + _BLOCK)


_locks: list[Any] = []
_ports = _mine()


def get(url: str, timeout: float = 10.0, **options: Any) -> httpx.Response:
    """What a server on this machine answers over plain HTTP, whatever proxy the environment names."""
    return httpx.get(url, timeout=timeout, trust_env=False, verify=PLAIN, **options)


def wait_for(condition: Callable[[], T], timeout: float = 10.0, why: str = "", every: float = 0.05) -> T:
    """The first truthy result of `condition`; AssertionError that says `why` after `timeout` seconds.

    An exception counts as "not yet", and the last one is the cause of the AssertionError; `NeverWill` ends the wait.
    """
    end = time.monotonic() + timeout
    last: Exception | None = None
    result: T | None = None
    while True:
        try:
            last, result = None, condition()
            if result:
                return result
        except NeverWill:
            raise
        except Exception as error:
            last = error
        if time.monotonic() > end:
            seen = f"{type(last).__name__}: {last}" if last else repr(result)
            raise AssertionError(f"{why or 'condition'}: not within {timeout:g} s; last: {seen:.500}") from last
        time.sleep(every)
