"""Memory of a Mac: by kind as Activity Monitor counts it, the compressor, swap and pressure."""

from __future__ import annotations

from collections.abc import Iterator

from tokwatt_exporter.apple import mach, sysctl
from tokwatt_exporter.catalogue import (
    COLLECTOR_PROBLEM,
    MEMORY_AVAILABLE,
    MEMORY_CACHED,
    MEMORY_COMPRESSED,
    MEMORY_PRESSURE,
    MEMORY_SIZE,
    MEMORY_USED,
    SWAP_IN,
    SWAP_OUT,
    SWAP_SIZE,
    SWAP_USED,
)
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

#: kern.memorystatus_vm_pressure_level; the kernel knows no other levels.
_PRESSURE = {1: "normal", 2: "warn", 4: "critical"}


class AppleMemory(Collector):
    """Bytes of memory and swap now, and swap traffic since boot."""

    name = "memory"

    def read(self) -> Iterator[Reading]:
        """Bytes now. `NotAvailable` where the kernel says neither how much memory there is nor what it is used for."""
        size = sysctl.integer("hw.memsize")
        readings = list(self._pages())
        if size is None and not any(reading.family is MEMORY_AVAILABLE for reading in readings):
            raise NotAvailable("no hw.memsize and no host_statistics64")
        if size is not None:
            yield MEMORY_SIZE(size)
        yield from readings
        yield from self._pressure()
        swap = sysctl.swap()
        if swap is not None:
            # A total of 0 is true: there is no swap file until one is needed.
            yield SWAP_SIZE(swap.total)
            yield SWAP_USED(swap.used)

    def _pages(self) -> Iterator[Reading]:
        try:
            pages, size = mach.vm_statistics(), mach.page_size()
        except (NotAvailable, OSError):
            yield COLLECTOR_PROBLEM(
                collector=self.name, problem="not_available", reason="host_statistics64 gives nothing"
            )
            return
        yield MEMORY_USED((pages.internal - pages.purgeable) * size, kind="app")
        yield MEMORY_USED(pages.wire * size, kind="wired")
        yield MEMORY_USED(pages.compressor * size, kind="compressed")
        yield MEMORY_CACHED((pages.external + pages.purgeable) * size)
        yield MEMORY_COMPRESSED(pages.uncompressed_in_compressor * size)
        # What psutil calls available, too; speculative pages are among the free ones already.
        yield MEMORY_AVAILABLE((pages.free + pages.inactive) * size)
        yield SWAP_IN(pages.swapins * size)
        yield SWAP_OUT(pages.swapouts * size)

    def _pressure(self) -> Iterator[Reading]:
        level = sysctl.integer("kern.memorystatus_vm_pressure_level")
        state = _PRESSURE.get(level) if level is not None else None
        if state is None:
            reason = "no memory pressure level that is known"
            yield COLLECTOR_PROBLEM(collector=self.name, problem="not_available", reason=reason)
        else:
            yield from MEMORY_PRESSURE(state)
