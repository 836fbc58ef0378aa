"""The history as the daemon uses it: by children that soon end, so that DuckDB's memory is never the daemon's."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tokwatt_exporter import errors
from tokwatt_exporter.store.queries import prepare
from tokwatt_exporter.store.warm import Warm

log = logging.getLogger(__name__)

#: Queries that run at once; each is a process.
CONCURRENT_QUERIES = 2
_WORKER = (sys.executable, "-P", "-m", "tokwatt_exporter.store.worker")


class Store:
    """Flushes and queries of one data directory. Safe to use from several threads."""

    def __init__(
        self, data_dir: Path, *, retention: Mapping[str, float | None] | None = None, worker: Sequence[str] = _WORKER
    ) -> None:
        self._data_dir = data_dir
        #: Seconds that things are kept, as `upkeep.Retention` names them.
        self._retention = dict(retention or {})
        #: What may be interrupted, by its command.
        self._aside: dict[str, subprocess.Popen[bytes]] = {}
        self._interrupted = False
        self._worker = tuple(worker)
        self._queries = threading.BoundedSemaphore(CONCURRENT_QUERIES)
        asks = (*self._worker, "query", "--data-dir", str(data_dir))
        self._warm = Warm(lambda: _start(asks), _end)

    def flush(self, timeout: float = 30.0) -> dict[str, Any]:
        """Take the journal into the history.

        Gives `rows` and `bench_runs` committed, `skipped` damaged records, `newest_ms` of the newest sample (None
        where there is none), `size_bytes` of the file and its log, `bench_latest` rows, `due`, whether `upkeep` has
        something to do, `damaged_at`, the Unix time at which a damaged file that is there still was moved aside, and
        `moved_aside`, its name where it was now. `StoreLocked` where another program holds the file, `StoreError`
        for all else.
        """
        result: dict[str, Any] = self._run("flush", {"wait": min(5.0, timeout / 2)}, timeout)
        return result

    def upkeep(self, timeout: float = 600.0) -> dict[str, Any]:
        """Do a portion of what is due: closed days are packed and rolled up, what is too old goes.

        Gives `packed` rows, `expired_days`, and `more`, whether there is another portion to do. Errors as for `flush`.
        """
        order = {"retention": self._retention, "wait": 5.0}
        result: dict[str, Any] = self._run("upkeep", order, timeout, partial(self._started, "upkeep"))
        return result

    def export(self, order: Mapping[str, Any], timeout: float = 3600.0) -> list[dict[str, Any]]:
        """Bring what is outside up to what the history has, as `worker.export` takes it; errors as for `flush`."""
        result: list[dict[str, Any]] = self._run("export", order, timeout, partial(self._started, "export"))
        return result

    def interrupt(self) -> None:
        """End upkeep and export under way, and every later one; they are done by the next daemon."""
        self._interrupted = True
        for child in list(self._aside.values()):
            _kill(child)

    def _started(self, command: str, child: subprocess.Popen[bytes] | None) -> None:
        if child is None:
            self._aside.pop(command, None)
            return
        self._aside[command] = child
        # Whoever interrupts may have come before there was a child to end.
        if self._interrupted:
            _kill(child)

    def query(self, name: str, params: Mapping[str, Any] | None = None, timeout: float = 20.0) -> list[dict[str, Any]]:
        """The rows of a named query; `UsageError` for a parameter it does not take."""
        prepare(name, params)
        if not self._queries.acquire(timeout=timeout):
            raise errors.StoreError("too many queries at once; try again")
        try:
            order = {"name": name, "params": dict(params or {}), "wait": min(3.0, timeout / 4), "timeout": timeout / 2}
            answer, code = self._warm.ask(order, timeout)
            rows: list[dict[str, Any]] = _answer("query", code, answer)
            return rows
        finally:
            self._queries.release()

    def _run(
        self, command: str, order: Mapping[str, Any], timeout: float,
        started: Callable[[subprocess.Popen[bytes] | None], None] = lambda child: None,
    ) -> Any:  # fmt: skip
        child = _start((*self._worker, command, "--data-dir", str(self._data_dir)))
        started(child)
        try:
            out, err = child.communicate(json.dumps(order).encode(), timeout)
        except subprocess.TimeoutExpired:
            raise errors.StoreError(f"the history did not answer within {timeout:g} s") from None
        finally:
            started(None)
            _end(child)
        for line in err.decode(errors="replace").splitlines():
            log.warning("%s", line)
        return _answer(command, child.returncode, out)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Ctrl-C in the terminal is for the daemon, whose last flush this may be.
        start_new_session=True,
    )  # fmt: skip


def _kill(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        _kill(child)
        child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            with suppress(OSError):
                pipe.close()


def _answer(command: str, code: int | None, out: bytes) -> Any:
    try:
        answer = json.loads(out)
        if "error" not in answer:
            return answer["result"]
        kind = getattr(errors, answer["error"], errors.StoreError)
        message = answer["message"]
    except (ValueError, KeyError, TypeError):
        raise errors.StoreError(f"the history's {command} ended with exit status {code}") from None
    raise kind(message)
