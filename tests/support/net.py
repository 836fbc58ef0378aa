"""Ports and waiting."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NeverWill(AssertionError):
    """Why there is no use in waiting on."""


_given: set[int] = set()


def free_port() -> int:
    """A TCP port on loopback that nothing listens on, and that was not given before in this process."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


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
