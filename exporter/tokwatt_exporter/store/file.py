"""The DuckDB file: how it is opened, by whom it is held, and what its errors mean."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tokwatt_exporter.errors import StoreError, StoreLocked
from tokwatt_exporter.store import schema

if TYPE_CHECKING:
    import duckdb

log = logging.getLogger(__name__)

#: Grafana's DuckDB plugin and hosted DuckDB cannot read a newer format.
STORAGE = "v1.5.0"
_STAMP = "%Y%m%dT%H%M%S.%f"
_DAMAGED = ("not a valid DuckDB database file", "Corrupt database file", "Could not read enough bytes")


class NoRoom(StoreError):
    """A copy of the file was not made: the disk has no room for it."""


class StoreDamaged(StoreError):
    """The file's content is not what DuckDB wrote."""


def path_of(data_dir: Path) -> Path:
    """The history of a data directory."""
    return data_dir / "history.duckdb"


def existing(data_dir: Path) -> Path:
    """The history of a data directory; `StoreError` where there is none."""
    path = path_of(data_dir)
    if not path.exists():
        raise StoreError(f"there is no history in {data_dir}")
    return path


def stamp() -> str:
    """This moment, for the name of a copy."""
    return datetime.now(UTC).strftime(_STAMP)


def wal_of(path: Path) -> Path:
    """The write-ahead log that belongs to a DuckDB file."""
    return path.with_name(path.name + ".wal")


def size_of(path: Path) -> int:
    """Bytes of the file and its write-ahead log; 0 where there is none."""
    total = 0
    for part in (path, wal_of(path)):
        with suppress(FileNotFoundError):
            total += part.stat().st_size
    return total


def lock_of(data_dir: Path) -> Path:
    """The lock that all of tokwatt takes around the history."""
    return data_dir / "store.lock"


def ours(data_dir: Path) -> bool:
    """Whether a reader may write here: root in someone's directory would leave files that their owner cannot open."""
    for made in (lock_of(data_dir), path_of(data_dir)):
        with suppress(FileNotFoundError):
            return os.access(data_dir, os.W_OK | os.X_OK) and made.stat().st_uid == os.geteuid()
    with suppress(OSError):
        return os.access(data_dir, os.W_OK | os.X_OK) and data_dir.stat().st_uid == os.geteuid()
    return False


@contextmanager
def store_lock(data_dir: Path, wait: float, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock around the file; `StoreLocked` after `wait` seconds.

    A reader without the right to the lock goes on without it, and relies on DuckDB's own.
    """
    flags = os.O_RDONLY if shared and not ours(data_dir) else os.O_RDWR | os.O_CREAT
    fd = None
    try:
        fd = os.open(lock_of(data_dir), flags | os.O_CLOEXEC, 0o600)
    except OSError:
        if not shared:
            raise
    try:
        if fd is not None:
            _take(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait, data_dir)
        yield
    finally:
        if fd is not None:
            os.close(fd)


def _take(fd: int, how: int, wait: float, data_dir: Path) -> None:
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise StoreLocked(f"{path_of(data_dir)} is in use by another tokwatt command; try again") from None
        time.sleep(0.02)


@contextmanager
def connection(path: Path, wait: float, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """The open file, for as long as the block runs. Errors of DuckDB inside it come out as `StoreError`."""
    import duckdb

    # The file and its log are made with the process's mask, and only for the owner.
    mask = os.umask(0o077)
    try:
        db = _connect(path, wait, read_only)
        try:
            yield db
        finally:
            db.close()
    except duckdb.Error as error:
        raise explained(error, path) from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    finally:
        os.umask(mask)


def _connect(path: Path, wait: float, read_only: bool) -> duckdb.DuckDBPyConnection:
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {
        "storage_compatibility_version": STORAGE, "threads": 2 if read_only else 1,
        "memory_limit": "512MB" if read_only else "256MB",
    }  # fmt: skip
    if read_only:
        config |= {"enable_external_access": "false", "lock_configuration": "true"}
    end = time.monotonic() + wait
    pause = 0.01
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=config)
        except duckdb.IOException as error:
            if "Could not set lock" not in str(error) or time.monotonic() >= end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


def explained(error: Exception, path: Path) -> StoreError:
    """The one line to say for an error of DuckDB."""
    text = " ".join(str(error).split())
    if "Could not set lock" in text:
        holder = re.search(r"held in (\S+) \(PID (\d+)\)", text)
        by = f"{Path(holder[1]).name}, pid {holder[2]}" if holder else "another program"
        return StoreLocked(f"{path} is held by {by}: close it there, or try again later")
    if any(sign in text for sign in _DAMAGED):
        return StoreDamaged(f"{path} is damaged: {text[:200]}")
    return StoreError(f"{path}: {text[:300]}")


def create(path: Path) -> None:
    """A new history. It gets its name when it is whole, so a file of that name always is one."""
    new = path.with_name(path.name + ".new")
    remove(new)
    if wal_of(path).exists():
        aside(path)
    try:
        with connection(new, 0.0) as db:
            schema.migrate(db, new)
        if wal_of(new).exists():
            raise StoreError(f"{path} cannot be made: the disk is full")
        new.rename(path)
    finally:
        remove(new)


def remove(path: Path) -> None:
    """Delete a DuckDB file and its log, where they are."""
    wal_of(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def aside(path: Path) -> Path:
    """Rename a damaged history and its log; gives the new name."""
    kept = path.with_name(f"{path.name}.corrupt-{stamp()}")
    # The log first: a new file must never find the log of the old one beside it.
    with suppress(FileNotFoundError):
        wal_of(path).rename(wal_of(kept))
    with suppress(FileNotFoundError):
        path.rename(kept)
    return kept


def rewrite(path: Path, wait: float, step: Callable[[str], None] = lambda name: None) -> None:
    """Write the history anew, without what it has free; the lock is the caller's. `NoRoom` where the disk is full.

    The new file gets the name when it is whole and on disk; until then the old one is the history.
    """
    new = path.with_name(path.name + ".new")
    step("rewrite")
    try:
        copy(path, new, wait)
        step("rename")
        new.rename(path)
        sync(path.parent)
    finally:
        remove(new)


def copy(path: Path, new: Path, wait: float) -> None:
    """A copy of the history in a new file: all that is committed, and nothing else."""
    remove(new)
    if shutil.disk_usage(new.parent).free < size_of(path) * 1.1:
        raise NoRoom(f"{new} would need {size_of(path) / 1e6:.0f} MB, and the disk has less")
    with connection(path, wait) as db:
        # What the log holds goes into the file first; the copy has no log.
        db.execute("CHECKPOINT")
        db.execute(f"ATTACH '{str(new).replace(chr(39), 2 * chr(39))}' AS copy (STORAGE_VERSION '{STORAGE}')")
        db.execute(f'COPY FROM DATABASE "{db.execute("SELECT current_database()").fetchall()[0][0]}" TO copy')
        db.execute("CHECKPOINT copy")
        db.execute("DETACH copy")
    with new.open("rb") as whole:
        os.fsync(whole.fileno())


def sync(directory: Path) -> None:
    """See to it that a renaming or a deletion in a directory survives a power failure."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def moved_aside(data_dir: Path) -> list[Path]:
    """Damaged histories of a data directory, the oldest first; not their logs."""
    path = path_of(data_dir)
    return sorted(kept for kept in data_dir.glob(f"{path.name}.corrupt-*") if kept.suffix != ".wal")


def lost_at(data_dir: Path) -> float | None:
    """When the newest damaged history was moved aside, Unix time; None where there is none."""
    kept = moved_aside(data_dir)
    stamp = kept[-1].name.rpartition("-")[2] if kept else ""
    with suppress(ValueError):
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    return None
