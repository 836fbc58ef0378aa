"""Which `tokwatt` a service runs: the one that was called, by a path that should still be there next year."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tokwatt_exporter.errors import ServiceError, UsageError

#: Emptied by the system. On macOS `$TMPDIR` is below /var/folders, which is a link to /private/var/folders.
_TEMPORARY = ("/tmp", "/var/tmp", "/private/tmp", "/private/var/tmp", "/var/folders", "/private/var/folders")
#: Where `uvx` and `pipx run` keep what they ran, for a while.
_CACHES = ({".cache", "uv"}, {"Caches", "uv"}, {".cache", "pipx"}, {".local", "pipx", ".cache"})


def installed() -> str:
    """The absolute path of the `tokwatt` that runs now; links are kept, since what they lead to moves with upgrades."""
    called = Path(sys.argv[0])
    beside = Path(sys.executable).parent / "tokwatt"
    for path in (called, beside):
        if path.name == "tokwatt" and os.sep in str(path) and os.access(path, os.X_OK) and path.is_file():
            return os.path.abspath(path)  # noqa: PTH100 - Path.absolute() keeps `..`
    if found := shutil.which("tokwatt"):
        return os.path.abspath(found)  # noqa: PTH100
    raise ServiceError("there is no tokwatt program on PATH: install tokwatt into a virtual environment that stays")


def warnings(program: str) -> list[str]:
    """What is likely to break the path one day."""
    path = Path(program)
    places = (path, Path(os.path.realpath(path.parent)))
    if any(_is_temporary(place) for place in places):
        return [f"{program} is in a place for temporary files, and the service ends with it: install tokwatt elsewhere"]
    if "Cellar" in path.parts:
        stable = Path(*path.parts[: path.parts.index("Cellar")], "opt/tokwatt/bin/tokwatt")
        return [f"{program} goes away with the next upgrade of Homebrew; call {stable} instead"]
    return []


def check_reachable(program: str, hidden: Iterable[str]) -> None:
    """`UsageError` where the program, or the Python it needs, is in a folder that the service cannot see."""
    for path in (program, os.path.realpath(program), sys.base_prefix):
        for folder in hidden:
            if Path(path).is_relative_to(folder):
                raise UsageError(
                    f"--system: a system service cannot see {path}; install tokwatt outside of {folder}, as in "
                    "/opt/tokwatt, with a Python that every user can run"
                )


def check_owner(program: str) -> None:
    """`UsageError` where somebody else than root could change what root runs."""
    # Up from both ends of each link: to replace a folder is to replace what is in it.
    for end in (Path(program), Path(os.path.realpath(program)), Path(sys.executable), Path(sys.prefix)):
        for path in (end, *end.parents):
            status = path.stat()
            sticky = status.st_mode & 0o1000
            if status.st_uid != 0 or (status.st_mode & 0o022 and not sticky):
                raise UsageError(f"--user root: others than root can change {path}; take a user without privileges")


def _is_temporary(path: Path) -> bool:
    folders = (*_TEMPORARY, tempfile.gettempdir())
    return any(path.is_relative_to(folder) for folder in folders) or any(parts <= {*path.parts} for parts in _CACHES)
