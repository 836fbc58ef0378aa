"""Copies of the history: made while nobody writes, named when they are whole, and put back in one step."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tokwatt_exporter.errors import StoreError, UsageError
from tokwatt_exporter.store import file, schema

Step = Callable[[str], None]
#: Copies from before a change of the schema that are kept, the newest.
KEPT = 2


def backup(data_dir: Path, target: Path | None = None, *, wait: float = 5.0, step: Step = lambda name: None) -> Path:
    """Copy the history to `target`, or beside it under the time; gives the path. `StoreError` where there is none."""
    path = file.existing(data_dir)
    chosen = target or path.with_name(f"{path.name}.backup-{file.stamp()}")
    if target is not None and target.exists():
        raise UsageError(f"{target} exists already; a backup replaces nothing")
    with file.store_lock(data_dir, wait):
        _copy(path, chosen, wait, step)
    return chosen


def before_migration(path: Path, version: int, wait: float, step: Step) -> Path:
    """Keep a history of an older schema as it is, and only the newest such copies; the lock is the caller's."""
    kept = path.with_name(f"{path.name}.schema-{version}")
    _copy(path, kept, wait, step)
    copies = sorted(path.parent.glob(f"{path.name}.schema-*"), key=lambda copy: _number(copy.name))
    for old in copies[:-KEPT]:
        if _number(old.name) >= 0:
            old.unlink(missing_ok=True)
    return kept


def restore(data_dir: Path, source: Path, *, wait: float = 5.0, step: Step = lambda name: None) -> Path | None:
    """Make a copy the history again; gives the name under which the present one stays, None where there was none.

    `UsageError` where the copy cannot be used. Samples taken since it was made are in the history that stays.
    """
    if not source.is_file():
        raise UsageError(f"{source}: there is no such file")
    path = file.path_of(data_dir)
    with file.store_lock(data_dir, wait):
        _check(source, wait)
        new = path.with_name(path.name + ".new")
        file.remove(new)
        try:
            step("copy")
            _write(source, new)
            kept = _set_aside(path, wait, step)
            step("rename")
            new.rename(path)
            file.sync(path.parent)
        finally:
            file.remove(new)
    return kept


def _set_aside(path: Path, wait: float, step: Step) -> Path | None:
    if not path.exists():
        return None
    try:
        # Its log goes into it: a log that is left would be taken for that of the copy.
        with file.connection(path, wait) as db:
            db.execute("CHECKPOINT")
    except file.StoreDamaged:
        step("aside")
        return file.aside(path)
    kept = path.with_name(f"{path.name}.replaced-{file.stamp()}")
    step("link")
    # A second name and not a new one: at every moment there is a history of that name.
    os.link(path, kept)
    return kept


def _check(source: Path, wait: float) -> None:
    try:
        with file.connection(source, wait, read_only=True) as db:
            if not schema.check(db, source):
                raise StoreError(f"{source} holds no history")
    except StoreError as error:
        raise UsageError(str(error)) from None


def _copy(path: Path, target: Path, wait: float, step: Step) -> None:
    new = target.with_name(target.name + ".new")
    try:
        # Open as a writer: what the log holds goes into the file, and another program cannot write meanwhile.
        with file.connection(path, wait) as db:
            db.execute("CHECKPOINT")
            step("copy")
            _write(path, new)
        step("name")
        new.rename(target)
        file.sync(target.parent)
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def _write(source: Path, new: Path) -> None:
    if shutil.disk_usage(new.parent).free < source.stat().st_size:
        raise file.NoRoom(f"{new} needs {source.stat().st_size / 1e6:.0f} MB, and the disk has less")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as written, source.open("rb") as read:
        shutil.copyfileobj(read, written, 2**20)
        written.flush()
        os.fsync(written.fileno())


def _number(name: str) -> int:
    found = re.search(r"\.schema-(\d+)$", name)
    return int(found[1]) if found else -1
