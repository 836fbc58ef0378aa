"""Memory of a Linux host, from /proc/meminfo, /proc/vmstat and pressure stall information."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tokwatt_exporter.catalogue import (
    MEMORY_AVAILABLE,
    MEMORY_PRESSURE,
    MEMORY_SIZE,
    MEMORY_STALLED,
    MEMORY_USED,
    SWAP_IN,
    SWAP_OUT,
    SWAP_SIZE,
    SWAP_USED,
)
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.linux_files import text
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

#: Disjoint kinds, none of which the kernel can drop when memory gets short. Page cache and reclaimable slab are left
#: out: they are free memory put to use, and memory-mapped model weights live there.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "anon": ("AnonPages",),
    "kernel": ("SUnreclaim", "KernelStack", "PageTables", "SecPageTables", "Percpu"),
    "shmem": ("Shmem",),
    "hugepages": ("Hugetlb",),
    "compressed": ("Zswap",),
}

#: The pressure state, from the share of the last 10 seconds (in percent, as the kernel gives it) in which some task
#: stood still for memory, and in which all of them did.
WARN_SOME_AVG10 = 10.0
CRITICAL_FULL_AVG10 = 10.0


class LinuxMemory(Collector):
    """Bytes by kind, swap and its traffic, and pressure where the kernel keeps account of stalls."""

    name = "memory"

    def __init__(self, proc: Path = Path("/proc"), page_size: int | None = None) -> None:
        self._proc = proc
        self._page_size = page_size or os.sysconf("SC_PAGE_SIZE")

    def read(self) -> Iterator[Reading]:
        """Bytes now, swap traffic and stalls since boot. `NotAvailable` where there is no /proc/meminfo."""
        info = meminfo(self._proc / "meminfo")
        if "MemTotal" not in info:
            raise NotAvailable("no /proc/meminfo: is /proc mounted?")
        yield MEMORY_SIZE(info["MemTotal"])
        if "MemAvailable" in info:
            yield MEMORY_AVAILABLE(info["MemAvailable"])
        for kind, fields in _KINDS.items():
            if fields[0] in info:
                yield MEMORY_USED(sum(info.get(field, 0) for field in fields), kind=kind)
        yield from self._swap(info)
        yield from _pressure(text(self._proc / "pressure/memory"))

    def _swap(self, info: Mapping[str, int]) -> Iterator[Reading]:
        if "SwapTotal" in info:
            yield SWAP_SIZE(info["SwapTotal"])
            yield SWAP_USED(info["SwapTotal"] - info["SwapFree"])
        traffic = text(self._proc / "vmstat") or ""
        for family, field in ((SWAP_IN, "pswpin"), (SWAP_OUT, "pswpout")):
            if pages := re.search(rf"^{field} (\d+)$", traffic, re.MULTILINE):
                yield family(int(pages[1]) * self._page_size)


def meminfo(path: Path) -> dict[str, int]:
    """The fields of /proc/meminfo that have a unit, in bytes; empty where there is no such file."""
    fields = {}
    for line in (text(path) or "").splitlines():
        name, _, rest = line.partition(":")
        value, _, unit = rest.strip().partition(" ")
        # The kernel writes kB and means KiB.
        if unit == "kB":
            fields[name] = int(value) * 1024
    return fields


def _pressure(content: str | None) -> Iterator[Reading]:
    """Kernels without PSI have no such file, those that were booted without it refuse to read it: both are absence."""
    scopes = {}
    for line in (content or "").splitlines():
        scope, _, rest = line.partition(" ")
        scopes[scope] = dict(pair.split("=", 1) for pair in rest.split())
    for scope, values in scopes.items():
        yield MEMORY_STALLED(int(values["total"]) / 1e6, scope=scope)
    if scopes.keys() >= {"some", "full"}:
        yield from MEMORY_PRESSURE(_state(float(scopes["some"]["avg10"]), float(scopes["full"]["avg10"])))


def _state(some: float, full: float) -> str:
    if full >= CRITICAL_FULL_AVG10:
        return "critical"
    return "warn" if some >= WARN_SOME_AVG10 else "normal"
