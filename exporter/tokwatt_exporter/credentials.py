"""Which permissions a file with a secret in it may have."""

from __future__ import annotations

import os
from pathlib import Path


def is_private(path: Path, status: os.stat_result) -> bool:
    """Whether nobody but this process's user (and root) can read the file.

    A credential that systemd hands to a service belongs to root, and the right of the service's user, which is on an
    access list, shows as the group's. The folder it is in can be entered by that service only.
    """
    if _is_credential(path):
        return not status.st_mode & 0o007
    return not status.st_mode & 0o077


def is_own(path: Path, status: os.stat_result) -> bool:
    """Whether this process's user, or systemd for it, put the file there."""
    return status.st_uid == os.getuid() or _is_credential(path)


def _is_credential(path: Path) -> bool:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(folder) and path.resolve().parent == Path(str(folder)).resolve()
