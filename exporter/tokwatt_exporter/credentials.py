"""Secrets: one line each, and in files for this user's eyes only."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tokwatt_exporter.errors import UsageError

MAX_BYTES = 4096


def read_secret(path: Path, where: str, thing: str) -> bytes:
    """The secret in a file; `UsageError` that begins with `where` and says what to mend, never what is in it."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{where}: is not a file")
            if not _is_own(path, status):
                raise UsageError(f"{where}: belongs to another user")
            if not _is_private(path, status):
                raise UsageError(f"{where}: others can read it; chmod 600 {path}")
            return checked(file.read(MAX_BYTES + 1), where, thing)
    except OSError as error:
        raise UsageError(f"{where}: cannot be read: {error.strerror}") from None


def checked(text: bytes, where: str, thing: str) -> bytes:
    """The secret without the white space around it; `UsageError` where it is none."""
    secret = text.strip()
    if not secret or len(secret) > MAX_BYTES or not all(33 <= byte <= 126 for byte in secret):
        raise UsageError(f"{where}: must hold one {thing}, a single line of visible ASCII")
    return secret


def _is_private(path: Path, status: os.stat_result) -> bool:
    """Whether nobody but this process's user (and root) can read the file.

    A credential that systemd hands to a service belongs to root, and the right of the service's user, which is on an
    access list, shows as the group's. The folder it is in can be entered by that service only.
    """
    if _is_credential(path):
        return not status.st_mode & 0o007
    return not status.st_mode & 0o077


def _is_own(path: Path, status: os.stat_result) -> bool:
    """Whether this process's user, or systemd for it, put the file there."""
    return status.st_uid == os.getuid() or _is_credential(path)


def _is_credential(path: Path) -> bool:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(folder) and path.resolve().parent == Path(str(folder)).resolve()
