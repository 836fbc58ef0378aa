"""Keeping a result: the lock of a running benchmark, the journal, and the history where it is free."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tokwatt_exporter.errors import StoreError, StoreLocked
from tokwatt_exporter.store.folder import prepare

#: Someone who only looks whether a benchmark is running holds the lock for a moment.
_LOCK_SECONDS = 1.0


def lock(data_dir: Path | None) -> AbstractContextManager[None]:
    """The lock of a running benchmark, where there is a data directory."""
    if data_dir is None:
        return nullcontext()
    prepare(data_dir)
    return running(data_dir)


@contextmanager
def running(data_dir: Path) -> Iterator[None]:
    """Hold `bench.lock`, by which the exporter knows that the load is synthetic; `StoreError` while another runs."""
    fd = os.open(data_dir / "bench.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(fd)
        os.ftruncate(fd, 0)
        os.write(fd, str(os.getpid()).encode())
        yield
    finally:
        os.close(fd)


def _take(fd: int) -> None:
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
                raise StoreError(
                    f"another benchmark is running (pid {holder}), and two at once measure each other"
                ) from None
        time.sleep(0.05)


def keep(data_dir: Path, record: Mapping[str, Any], wait: float = 5.0) -> None:
    """Write the record to the journal and take it into the history; where that is busy, it is taken in later.

    `wait` is the time in seconds for which it may be busy. `StoreError` where the journal cannot be written.
    """
    with _quiet():
        _write(data_dir, record)
        _take_in(data_dir, wait)


def _write(data_dir: Path, record: Mapping[str, Any]) -> None:
    from tokwatt_exporter.store.journal import Journal

    journal = Journal(data_dir)
    written, problem = journal.append(record), journal.problem
    journal.close()
    if not written:
        raise StoreError(f"the result could not be kept: {problem}")


def _take_in(data_dir: Path, wait: float) -> None:
    from tokwatt_exporter.store.ingest import ingest

    try:
        ingest(data_dir, wait=wait)
    except StoreLocked:
        sys.stderr.write("tokwatt-bench: the history is in use; the result is in the journal and taken in later\n")
    except StoreError as error:
        raise StoreError(f"the result waits in the journal, for the history cannot be written: {error}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    # What goes wrong is said in one line of ours.
    log = logging.getLogger("tokwatt_exporter.store")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
