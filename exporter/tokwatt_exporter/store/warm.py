"""Children that answer one question after the other, so that a panel does not wait for Python and DuckDB to start."""

from __future__ import annotations

import json
import logging
import os
import selectors
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tokwatt_exporter.errors import StoreError

log = logging.getLogger(__name__)

Child = subprocess.Popen[bytes]


class Warm:
    """Asks a child that waits, or a new one; `end` ends one that must not go on. Safe to use from several threads."""

    def __init__(self, start: Callable[[], Child], end: Callable[[Child], None]) -> None:
        self._start = start
        self._end = end
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        # When nobody has this any more, at the end of the process too.
        weakref.finalize(self, _end_all, self._idle, end)

    def ask(self, order: Mapping[str, Any], timeout: float) -> tuple[bytes, int | None]:
        """The line that answers, and the exit status where the child has ended; `StoreError` after the timeout."""
        line = json.dumps(order).encode() + b"\n"
        child = self._waiting()
        answer = self._asked(child, line, timeout) if child is not None else b""
        if child is None or not answer:
            # One that waited may have ended at this very moment.
            if child is not None:
                self._end(child)
            child = self._start()
            answer = self._asked(child, line, timeout)
        if answer.endswith(b"\n"):
            with self._lock:
                self._idle.append(child)
            return answer, None
        with suppress(subprocess.TimeoutExpired):
            child.wait(1)
        self._end(child)
        return answer, child.returncode

    def _asked(self, child: Child, line: bytes, timeout: float) -> bytes:
        try:
            _write(child, line)
            answer = _line(child, timeout)
            _log(child)
        except BaseException:
            self._end(child)
            raise
        return answer

    def _waiting(self) -> Child | None:
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None or child.poll() is None:
                return child
            self._end(child)


def _end_all(children: list[Child], end: Callable[[Child], None]) -> None:
    while children:
        end(children.pop())


def _write(child: Child, line: bytes) -> None:
    assert child.stdin is not None
    # Where it has ended there is no answer either, and that is seen next.
    with suppress(BrokenPipeError):
        child.stdin.write(line)
        child.stdin.flush()


def _line(child: Child, timeout: float) -> bytes:
    """What it says up to the end of a line, or up to its end."""
    assert child.stdout is not None
    end = time.monotonic() + timeout
    parts: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while not parts or not parts[-1].endswith(b"\n"):
            if not selector.select(max(end - time.monotonic(), 0)):
                raise StoreError(f"the history did not answer within {timeout:g} s")
            part = os.read(child.stdout.fileno(), 1 << 18)
            if not part:
                break
            parts.append(part)
    return b"".join(parts)


def _log(child: Child) -> None:
    """Pass on what it has said to stderr; it has been there before the answer."""
    assert child.stderr is not None
    os.set_blocking(child.stderr.fileno(), False)
    said = b""
    with suppress(BlockingIOError):
        while part := os.read(child.stderr.fileno(), 1 << 16):
            said += part
    for line in said.decode(errors="replace").splitlines():
        log.warning("%s", line)
