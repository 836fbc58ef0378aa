"""The Mach kernel: its time base, virtual memory and processor ticks."""

from __future__ import annotations

import ctypes
import struct
from ctypes import c_int, c_uint32, c_uint64
from functools import cache
from typing import NamedTuple

from tokwatt_exporter.apple.libraries import CODE, PATHS, POINTER, PORT, Functions, load
from tokwatt_exporter.errors import NotAvailable

_VM_INFO64, _CPU_LOAD_INFO = 4, 2
_ARRAY_TOO_LARGE = -307 & 0xFFFFFFFF
#: Integers of 32 bits in the structure: what macOS 11 to 15 have, and what our buffer holds.
_VM_COUNT, _VM_SPACE = 38, 256
_VM_LAYOUT = struct.Struct("<4I9Q2I4Q4IQ")
_TICKS_SIZE = 16

MACH = Functions(
    "system",
    {
        "mach_timebase_info": (CODE, [POINTER]),
        "mach_absolute_time": (c_uint64, []),
        "mach_host_self": (PORT, []),
        "host_page_size": (CODE, [PORT, POINTER]),
        "host_statistics64": (CODE, [PORT, c_int, POINTER, POINTER]),
        "host_processor_info": (CODE, [PORT, c_int, POINTER, POINTER, POINTER]),
        "vm_deallocate": (CODE, [PORT, c_uint64, c_uint64]),
    },
)


class VmStatistics(NamedTuple):
    """Pages; zero_fill to purges and decompressions to swapouts are pages or events since the machine started.

    `free` includes `speculative`; the compressor takes `compressor` and holds `uncompressed_in_compressor`.
    """

    free: int
    active: int
    inactive: int
    wire: int
    zero_fill: int
    reactivations: int
    pageins: int
    pageouts: int
    faults: int
    cow_faults: int
    lookups: int
    hits: int
    purges: int
    purgeable: int
    speculative: int
    decompressions: int
    compressions: int
    swapins: int
    swapouts: int
    compressor: int
    throttled: int
    external: int
    internal: int
    uncompressed_in_compressor: int


class CpuTicks(NamedTuple):
    """Hundredths of a second that one logical CPU spent since the machine started; 32 bits, they wrap."""

    user: int
    system: int
    idle: int
    nice: int


def tick_seconds() -> float:
    """The length of a tick of `absolute_ticks`, and of all that counts in them."""
    base = (c_uint32 * 2)()
    check(MACH.mach_timebase_info(base))
    return float(base[0] / base[1] / 1e9)


def absolute_ticks() -> int:
    """Ticks since the machine started, without those in which it slept."""
    return int(MACH.mach_absolute_time())


def page_size() -> int:
    """Bytes of a page: 16384, but 4096 under Rosetta."""
    size = c_uint64()
    check(MACH.host_page_size(_host(PATHS["system"]), ctypes.byref(size)))
    return size.value


def task() -> int:
    """The port of this process."""
    return PORT.in_dll(load("system"), "mach_task_self_").value


def vm_statistics() -> VmStatistics:
    """The state of the virtual memory now; OSError where the kernel does not say."""
    buffer = (c_uint32 * _VM_SPACE)()
    host = _host(PATHS["system"])
    asked = _vm_counts.get(PATHS["system"], _VM_COUNT)
    count = c_uint32(asked)
    code = MACH.host_statistics64(host, _VM_INFO64, buffer, ctypes.byref(count))
    if code == _ARRAY_TOO_LARGE and asked < count.value <= _VM_SPACE:
        # The kernel keeps an answer for callers that ask often, and it does not cut it for those with less room.
        code = MACH.host_statistics64(host, _VM_INFO64, buffer, ctypes.byref(count))
        if not code:
            _vm_counts[PATHS["system"]] = count.value
    check(code)
    if count.value < _VM_COUNT:
        raise OSError("host_statistics64 says less than it should")
    return VmStatistics._make(_VM_LAYOUT.unpack_from(buffer))


def processor_ticks() -> list[CpuTicks]:
    """How each logical CPU spent its time."""
    cpus, size, array = c_uint32(), c_uint32(), POINTER()
    check(
        MACH.host_processor_info(
            _host(PATHS["system"]), _CPU_LOAD_INFO, ctypes.byref(cpus), ctypes.byref(array), ctypes.byref(size)
        )
    )
    if not array.value:
        raise OSError("host_processor_info gives no ticks")
    try:
        data = ctypes.string_at(array.value, min(cpus.value * _TICKS_SIZE, size.value * 4))
    finally:
        MACH.vm_deallocate(task(), array.value, size.value * 4)
    return [CpuTicks._make(values) for values in struct.iter_unpack("<4I", data)]


def check(code: int) -> None:
    """OSError for a kern_return_t that is not success."""
    if code:
        raise OSError(f"the kernel answers {ctypes.c_int32(code).value}")


#: By library: how many integers the kernel wants room for, where that is more than we ask for at first.
_vm_counts: dict[str, int] = {}


@cache
def _host(_path: str) -> int:
    # Once: each call takes a reference to the port that nothing gives back.
    host = int(MACH.mach_host_self())
    if not host:
        raise NotAvailable("no host port on this system")
    return host
