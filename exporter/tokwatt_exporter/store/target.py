"""Where an export goes: a folder, or a storage that fsspec knows. A file gets its name there when it is whole."""

from __future__ import annotations

import hashlib
import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tokwatt_exporter.errors import StoreError, UsageError
from tokwatt_exporter.store import file
from tokwatt_exporter.store.parquet import Facts, facts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Target(Protocol):
    """Holds files by their place in it."""

    def path(self, place: str) -> str:
        """How DuckDB names a file there."""
        ...

    def facts(self, db: DuckDBPyConnection, place: str) -> Facts | None:
        """What the file there says of itself; None where there is none."""
        ...

    def put(self, source: Path, place: str) -> None:
        """Put a copy of a file there, in one step; `StoreError` where that fails."""
        ...


def target(text: str, data_dir: Path) -> Target:
    """The target of a folder or URL; `UsageError` where this machine cannot write to such a one."""
    # The same for each try, so that the next one replaces what one that died has left; another one for other exporters.
    suffix = hashlib.sha256(f"{os.uname().nodename}:{data_dir.resolve()}".encode()).hexdigest()[:8]
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return _Storage(text, suffix) if "://" in text else _Folder(Path(text), suffix)


class _Folder:
    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder = folder
        self._suffix = suffix

    def path(self, place: str) -> str:
        return str(self._folder / place)

    def facts(self, db: DuckDBPyConnection, place: str) -> Facts | None:
        path = self._folder / place
        return facts(db, str(path)) if path.exists() else None

    def put(self, source: Path, place: str) -> None:
        path = self._folder / place
        new = path.with_name(f".{path.name}.{self._suffix}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as read, new.open("wb") as written:
                shutil.copyfileobj(read, written, 2**20)
                written.flush()
                os.fsync(written.fileno())
            new.rename(path)
            file.sync(path.parent)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror or error}") from None


class _Storage:
    def __init__(self, url: str, suffix: str) -> None:
        self._url = url
        self._suffix = suffix
        self._fs = _filesystem(url)
        self._known = False

    def path(self, place: str) -> str:
        return f"{self._url}/{place}"

    def facts(self, db: DuckDBPyConnection, place: str) -> Facts | None:
        url = self.path(place)
        if not self._known:
            # DuckDB reads the end of each file and not all of it.
            db.register_filesystem(self._fs)
            self._known = True
        try:
            return facts(db, url) if self._fs.exists(url) else None
        except Exception as error:
            raise StoreError(f"{url} cannot be read: {error}") from error

    def put(self, source: Path, place: str) -> None:
        url = self.path(place)
        folder, _, name = url.rpartition("/")
        new = f"{folder}/.{name}.{self._suffix}.new"
        try:
            self._fs.makedirs(folder, exist_ok=True)
            self._fs.put_file(str(source), new)
            self._fs.mv(new, url)
        except Exception as error:
            # Each storage has errors of its own.
            raise StoreError(f"{url} cannot be written: {type(error).__name__}: {error}") from error


def _filesystem(url: str) -> Any:
    try:
        fsspec: Any = import_module("fsspec")
    except ImportError:
        raise UsageError(f"{url} needs fsspec, which is not here: pip install fsspec") from None
    try:
        return fsspec.core.url_to_fs(url)[0]
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url}: {error}") from None
