"""Files that managers of services read: whole or not at all, with the owner and the mode they insist on."""

from __future__ import annotations

import os
import pwd
import secrets
import stat
from pathlib import Path

from tokwatt_exporter.errors import ServiceError


def write(path: Path, text: str, *, mode: int) -> None:
    """Put a file in place of what is there; `ServiceError` where that is another user's or cannot be done."""
    _check_owner(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), mode)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ServiceError(f"{path} cannot be written: {error.strerror}") from None


def is_same(path: Path, text: str, *, mode: int) -> bool:
    """Whether the file is what `write` would make it."""
    try:
        status = path.lstat()
        return (
            stat.S_ISREG(status.st_mode)
            and stat.S_IMODE(status.st_mode) == mode
            and status.st_uid == os.geteuid()
            and path.read_bytes() == text.encode()
        )
    except OSError:
        return False


def remove(path: Path) -> bool:
    """Take a file away; whether there was one."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ServiceError(f"{path} cannot be removed: {error.strerror}") from None
    return True


def own_folder(path: Path, uid: int, gid: int) -> None:
    """A folder for this user only; `ServiceError` where it is somebody else's."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir(mode=0o700)
            os.chown(path, uid, gid, follow_symlinks=False)
        except FileExistsError:
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid:
                raise ServiceError(
                    f"{path} is not a folder of user {_name(uid)}, who could not write the log there: move it away"
                ) from None
    except OSError as error:
        raise ServiceError(f"{path} cannot be made: {error.strerror}") from None


def _check_owner(path: Path) -> None:
    try:
        owner = path.lstat().st_uid
    except OSError:
        return
    if owner != os.geteuid():
        raise ServiceError(f"{path} belongs to {_name(owner)}: `sudo rm {path}`, then again")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
