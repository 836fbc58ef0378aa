"""The cache of the tests: folders that are made once, by one process, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp


def root() -> Path:
    """$TOKWATT_TEST_CACHE, or tokwatt-tests in the user's cache folder."""
    if given := os.environ.get("TOKWATT_TEST_CACHE"):
        return Path(given).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "tokwatt-tests").resolve()


def made(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, filled by `make` where it is not there yet.

    Two processes never make it twice; one that is killed leaves nothing that looks made.
    """
    folder = root() / name
    if folder.is_dir():
        return folder
    with locked(name):
        if folder.is_dir():
            return folder
        under_way = Path(mkdtemp(prefix=f".{name}-", dir=root()))
        try:
            make(under_way)
            under_way.chmod(0o755)
            under_way.rename(folder)
        except BaseException:
            shutil.rmtree(under_way, ignore_errors=True)
            raise
    return folder


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Keep other processes (and threads) out of `name` meanwhile."""
    root().mkdir(parents=True, exist_ok=True)
    with (root() / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
