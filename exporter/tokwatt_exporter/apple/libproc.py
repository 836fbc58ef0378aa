"""What the kernel accounts to a process of our own user."""

from __future__ import annotations

import ctypes
import errno
import struct
from ctypes import c_int
from typing import NamedTuple

from tokwatt_exporter.apple import mach
from tokwatt_exporter.apple.libraries import POINTER, Functions

#: Structures, newest first, and how many integers of 64 bits follow the 16 bytes of their identifier.
_FLAVORS = {6: 46, 4: 35}
_IDENTIFIER_SIZE = 16
#: Larger than any, as the kernel writes without asking how much room there is.
_SPACE = 1024

LIBPROC = Functions("system", {"proc_pid_rusage": (c_int, [c_int, c_int, POINTER])})


class Usage(NamedTuple):
    """Bytes; `energy_joules` is what the CPU cores took; `started` is in mach ticks and tells apart reused pids."""

    footprint: int
    resident: int
    cpu_seconds: float
    energy_joules: float | None
    neural_footprint: int | None
    started: int


def usage(pid: int) -> Usage | None:
    """What the process used; None where it is gone or runs as another user."""
    buffer = ctypes.create_string_buffer(_SPACE)
    for flavor, count in _FLAVORS.items():
        if not LIBPROC.proc_pid_rusage(pid, flavor, buffer):
            return _usage(struct.unpack_from(f"<{count}Q", buffer, _IDENTIFIER_SIZE))
        # Before macOS 13 the kernel does not know the newest structure.
        if ctypes.get_errno() != errno.EINVAL:
            return None
    return None


def _usage(fields: tuple[int, ...]) -> Usage:
    newest = len(fields) > 44
    return Usage(
        footprint=fields[7],
        resident=fields[6],
        cpu_seconds=(fields[0] + fields[1]) * mach.tick_seconds(),
        energy_joules=fields[40] / 1e9 if newest else None,
        neural_footprint=fields[44] if newest else None,
        started=fields[8],
    )
