"""CPU of any host psutil knows: busy time and cores, without clusters or clocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil

from tokwatt_exporter.catalogue import CPU_BUSY, CPU_CORES, DEVICE_INFO
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.delta import Monotone
from tokwatt_exporter.collectors.linux_topology import UNIFORM
from tokwatt_exporter.snapshot import Reading

#: What some platforms have and others lack; guest time is inside user and nice already.
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")


class PsutilCpu(Collector):
    """Core-seconds since boot and online cores of the whole machine.

    The clock is left out: what psutil gives on a Mac is the nominal one, which would look like a measurement.
    """

    name = "cpu"

    def __init__(self, library: Any = psutil) -> None:
        self._psutil = library
        self._busy = Monotone()

    def read(self) -> Iterator[Reading]:
        """Seconds since boot and cores now."""
        times = self._psutil.cpu_times()
        busy = sum(getattr(times, kind, 0.0) for kind in _BUSY)
        yield CPU_BUSY(self._busy.add(UNIFORM, busy), cluster=UNIFORM)
        if logical := self._psutil.cpu_count():
            yield CPU_CORES(logical, cluster=UNIFORM)
        physical = self._psutil.cpu_count(logical=False)
        yield DEVICE_INFO(device="cpu", kind="cpu", cores=str(physical) if physical else None)
