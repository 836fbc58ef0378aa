"""The small files of /proc and /sys, where a file that cannot be read now is a value that is not known."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path


def text(path: str | Path) -> str | None:
    """The content without the blanks and NULs around it; None where it is missing, empty or the kernel refuses.

    A driver refuses for many reasons (ENODATA, EIO, EOPNOTSUPP, EPERM while its device sleeps): none is a value.
    """
    try:
        # Half the cost of open(): these reads are most of what a sample costs.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = b""
            # One read gives at most a page of a /proc file that is made record by record.
            while part := os.read(descriptor, 65536):
                raw += part
        finally:
            os.close(descriptor)
    except OSError:
        return None
    return raw.decode("utf-8", "replace").strip("\0 \t\r\n") or None


def number(path: str | Path) -> int | None:
    """The content as a whole number, or None."""
    content = text(path)
    try:
        return int(content) if content is not None else None
    except ValueError:
        return None


def entries(path: str | Path) -> list[str]:
    """Names in a folder, natural order (`card10` after `card2`); empty where there is no such folder."""
    try:
        with os.scandir(path) as found:
            return sorted((entry.name for entry in found), key=natural)
    except OSError:
        return []


def links(folder: str | Path) -> dict[str, str]:
    """Where the links of a folder of /sys/class point, by name: another answer means that devices came or went."""
    found = {}
    for name in entries(folder):
        with contextlib.suppress(OSError):
            found[name] = os.readlink(os.path.join(folder, name))  # noqa: PTH115, PTH118 - a tenth of a Path's cost
    return found


def natural(name: str) -> list[str | int]:
    """A sorting key that takes digits as numbers."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name)]


def cpu_list(content: str | None) -> Iterator[int]:
    """The CPUs of a kernel list such as `0-3,8,10-11` or `0 1 2 3`."""
    for part in (content or "").replace(",", " ").split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
