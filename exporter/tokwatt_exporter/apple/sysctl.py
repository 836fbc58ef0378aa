"""sysctl: facts and counters of the kernel, in their binary form."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Callable, Iterator
from ctypes import c_char_p, c_int, c_size_t, c_uint
from typing import NamedTuple

from tokwatt_exporter.apple.libraries import POINTER, Functions

SYSCTL = Functions(
    "system",
    {
        "sysctlbyname": (c_int, [c_char_p, POINTER, POINTER, POINTER, c_size_t]),
        "sysctl": (c_int, [POINTER, c_uint, POINTER, POINTER, POINTER, c_size_t]),
    },
)

#: CTL_NET, PF_LINK, NETLINK_GENERIC; then how many rows, or one row: IFMIB_IFDATA, its number, IFDATA_GENERAL.
_IFMIB = (4, 18, 0)
_IFMIB_COUNT = (*_IFMIB, 1, 1)
_SWAP = struct.Struct("<3Q")
#: The name, then in if_data64: packets and errors received, packets and errors sent, collisions, bytes both ways.
_NAME_SIZE, _COUNTERS, _COUNTERS_AT = 16, struct.Struct("<7Q"), 76

#: A value can grow between the question for its size and the one for itself.
_TRIES = 4


class Swap(NamedTuple):
    """Bytes of the swap files, which macOS makes and removes as it needs them."""

    total: int
    available: int
    used: int


class Interface(NamedTuple):
    """A network interface; bytes, packets and errors since it appeared, in 64 bits."""

    name: str
    received: int
    sent: int
    packets_received: int
    packets_sent: int
    errors_received: int
    errors_sent: int


def raw(name: str) -> bytes | None:
    """The value as the kernel keeps it; None where there is none of that name, or it is not ours to read."""
    path = name.encode()
    return _read(lambda buffer, size: int(SYSCTL.sysctlbyname(path, buffer, size, None, 0)))


def integer(name: str) -> int | None:
    """A signed integer of 4 or 8 bytes; None where it is absent or something else."""
    value = raw(name)
    return int.from_bytes(value, "little", signed=True) if value is not None and len(value) in (4, 8) else None


def string(name: str) -> str | None:
    """A text; None where it is absent or empty."""
    value = raw(name)
    return value.partition(b"\0")[0].decode(errors="replace") or None if value is not None else None


def swap() -> Swap | None:
    """The swap files; None where the kernel does not say. All 0 means that there is no swap file now."""
    value = raw("vm.swapusage")
    return Swap._make(_SWAP.unpack_from(value)) if value is not None and len(value) >= _SWAP.size else None


def interfaces() -> list[Interface]:
    """The counters of all network interfaces; other ways to ask for them cut bytes to 32 bits."""
    count = _by_number(_IFMIB_COUNT)
    if count is None or len(count) != 4:
        return []
    return list(_interfaces(int.from_bytes(count, "little")))


def _interfaces(count: int) -> Iterator[Interface]:
    for index in range(1, count + 1):
        row = _by_number((*_IFMIB, 2, index, 1))
        # Numbers of interfaces that are gone stay unused.
        if row is None or len(row) < _COUNTERS_AT + _COUNTERS.size:
            continue
        packets_in, errors_in, packets_out, errors_out, _, received, sent = _COUNTERS.unpack_from(row, _COUNTERS_AT)
        name = row[:_NAME_SIZE].partition(b"\0")[0].decode(errors="replace")
        yield Interface(name, received, sent, packets_in, packets_out, errors_in, errors_out)


def _by_number(numbers: tuple[int, ...]) -> bytes | None:
    path = (c_int * len(numbers))(*numbers)
    return _read(lambda buffer, size: int(SYSCTL.sysctl(path, len(path), buffer, size, None, 0)))


def _read(call: Callable[[object, object], int]) -> bytes | None:
    """The value that `call(buffer, size)` gives; the same name has had different sizes, so it is asked for its size."""
    size = c_size_t()
    for _ in range(_TRIES):
        if call(None, ctypes.byref(size)):
            return None
        buffer = ctypes.create_string_buffer(max(size.value, 1))
        if not call(buffer, ctypes.byref(size)):
            return buffer.raw[: size.value]
        if ctypes.get_errno() != errno.ENOMEM:
            return None
    return None
