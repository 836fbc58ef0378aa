"""The file by which a proxy tells the daemon what it has counted: locked as long as it lives, replaced as a whole."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.store.folder import prepare

log = logging.getLogger(__name__)

FOLDER, SCHEMA = "proxy", 1
#: A state is some kilobytes; 64 models with every histogram are 200.
MAX_BYTES, MAX_FILES = 2**20, 64


class Problem(NamedTuple):
    """A file that is not what a proxy of this version writes, and why."""

    name: str
    why: str


class StateFile:
    """The state of this proxy. Each version of the file is locked before it is seen, so that the lock never lapses."""

    def __init__(self, data_dir: Path, engine: str, facts: Mapping[str, Any]) -> None:
        """`UsageError` where another proxy counts for this engine, or the folder cannot be used."""
        prepare(data_dir)
        folder = data_dir / FOLDER
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._path = folder / f"{quote(engine, safe='')[:200]}.json"
            self._facts = {"schema": SCHEMA, "pid": os.getpid(), "engine": engine, **facts}
            self._held = -1
            with _one_at_a_time(folder):
                for path in sorted(folder.glob("*.json")):
                    self._tidy(path, engine)
                self.write({})
        except OSError as error:
            raise UsageError(f"data-dir: {folder} cannot be used: {error.strerror}") from None

    def write(self, counted: Mapping[str, Any]) -> None:
        """Replace the file. OSError where the disk does not take it."""
        new = self._path.with_suffix(".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with open(fd, "wb", closefd=False) as file:
                file.write(json.dumps({**self._facts, **counted}, ensure_ascii=False).encode())
            new.replace(self._path)
        except BaseException:
            os.close(fd)
            raise
        if self._held >= 0:
            os.close(self._held)
        self._held = fd

    def remove(self) -> None:
        """Take the file away: this proxy counts no more."""
        self._path.unlink(missing_ok=True)
        os.close(self._held)

    def _tidy(self, path: Path, engine: str) -> None:
        """Remove what a dead proxy left; `UsageError` where a living one has our name."""
        if not _held(path):
            path.unlink(missing_ok=True)
        elif path == self._path:
            try:
                other = _read(path)
            except (OSError, ValueError):
                other = {}
            at = ", ".join(str(place) for place in other.get("listen", ()))
            raise UsageError(
                f"another tokwatt proxy (pid {other.get('pid', 'unknown')}) observes {engine}"
                + (f" on {at}" if at else "") + "; give this one a --name of its own"
            )  # fmt: skip


def living(data_dir: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The states of the proxies that live, and the files that cannot be used; those of dead ones are not looked at."""
    states: list[dict[str, Any]] = []
    problems: list[Problem] = []
    try:
        paths = sorted((data_dir / FOLDER).glob("*.json"))
    except OSError:
        return [], []
    for path in paths[:MAX_FILES]:
        try:
            if _held(path):
                states.append(_read(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(Problem(path.name, error.strerror or "cannot be read"))
        except ValueError as error:
            problems.append(Problem(path.name, str(error)))
    return states, problems


def ports(data_dir: Path) -> set[int]:
    """Where proxies listen: what answers there is the engine behind them, once more."""
    found: set[int] = set()
    for state in living(data_dir)[0]:
        listen = state.get("listen")
        for place in listen if isinstance(listen, list) else ():
            port = str(place).rpartition(":")[2]
            if port.isascii() and port.isdigit():
                found.add(int(port))
    return found


def _read(path: Path) -> dict[str, Any]:
    """The content; ValueError where it is not what a proxy of this version writes."""
    fd = _open(path)
    with os.fdopen(fd, "rb") as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError("is larger than any state")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("engine"), str):
        raise ValueError("is not the state of a proxy")
    if found.get("schema") != SCHEMA:
        raise ValueError(f"is of another version of tokwatt (schema {str(found.get('schema'))[:20]})")
    return found


def _open(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(fd)
        raise ValueError("is not a file of this user")
    return fd


def _held(path: Path) -> bool:
    """Whether the proxy that wrote the file lives."""
    for _ in range(3):
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            # Its writer may have replaced it between the two calls: then the new one says.
            if os.path.samestat(os.fstat(fd), path.stat()):
                return False
        finally:
            os.close(fd)
    return False


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    fd = os.open(folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        end = time.monotonic() + 5
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
        yield
    finally:
        os.close(fd)
