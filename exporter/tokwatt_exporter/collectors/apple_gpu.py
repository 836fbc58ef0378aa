"""GPU of a Mac: busy time and clock from IOReport, load and memory from its driver's node in the IORegistry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.apple import iokit, sysctl
from tokwatt_exporter.apple.ioreport import STATE, States, Subscription
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.apple_dvfs import gpu_clocks
from tokwatt_exporter.collectors.apple_gpu_clients import ACCELERATOR
from tokwatt_exporter.collectors.apple_states import Clocks, Spans, active_ticks
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.delta import Accumulator, Monotone
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

_DEVICE = "gpu0"
_GROUP, _SUBGROUP, _CHANNEL = "GPU Stats", "GPU Performance States", "GPUPH"
_TICKS, _TICKS_PER_SECOND = "24Mticks", 24e6

#: Of the driver's statistics; each has neighbours of a similar name, so none is matched by a part of it.
_LOADS = {"Device Utilization %": "device", "Renderer Utilization %": "renderer", "Tiler Utilization %": "tiler"}
_MEMORY = {"In use system memory": c.GPU_MEMORY_USED, "Alloc system memory": c.GPU_MEMORY_ALLOCATED}

#: What the user set as the limit, and how many bytes make 1 of it; the second name is that of macOS 13.
_LIMITS = {"iogpu.wired_limit_mb": 2**20, "debug.iogpu.wired_limit": 1}


class AppleGpu(Collector):
    """Busy seconds, clock, the driver's view of the load, and memory of the one GPU a Mac has."""

    name = "gpu"

    def __init__(self, clock: Clock | None = None) -> None:
        self._busy = Accumulator(clock or SystemClock())
        self._recoveries = Monotone()
        self._spans = Spans()
        self._looked = False
        self._subscription: Subscription | None = None
        self._clocks: Clocks | None = None

    def read(self) -> Iterator[Reading]:
        """Values now and over the last interval. `NotAvailable` where macOS shows no GPU, as in virtual machines."""
        if not self._looked:
            self._subscription = Subscription.open(
                _GROUP, _SUBGROUP, lambda channel: channel.format == STATE and channel.name == _CHANNEL
            )
            self._clocks = gpu_clocks()
            self._looked = True
        driver = list(self._driver())
        if self._subscription is None and not driver:
            self._looked = False
            raise NotAvailable("macOS shows no GPU")
        yield from driver or [_problem("no node of the GPU's driver in the IORegistry")]
        yield from self._load()
        yield from _limit()

    def rebase(self) -> None:
        """What the GPU did before the sleep is no part of the next interval."""
        self._busy.rebase()
        self._spans.forget()

    def close(self) -> None:
        """Give the subscription back."""
        if self._subscription:
            self._subscription.close()

    def _load(self) -> Iterator[Reading]:
        if self._subscription is None:
            yield _problem("macOS does not report the performance states of the GPU")
            return
        states = next((one for one in self._subscription.sample() if isinstance(one, States)), None)
        if states is None:
            return
        if states.channel.unit == _TICKS:
            seconds = sum(active_ticks(states)) / _TICKS_PER_SECOND
            yield c.GPU_BUSY(self._busy.add(_CHANNEL, seconds).total, device=_DEVICE)
        span = self._spans.since(states)
        if span is not None and span.total:
            yield c.GPU_UTILIZATION(sum(span.active) / span.total, device=_DEVICE)
        if self._clocks is None:
            yield _problem("no table of the clocks of the GPU")
            return
        if span is not None and any(span.active):
            yield c.GPU_FREQUENCY(self._clocks.cycles(span.active) / sum(span.active), device=_DEVICE)
        yield c.GPU_FREQUENCY_MAX(self._clocks.highest, device=_DEVICE)

    def _driver(self) -> Iterator[Reading]:
        for entry in iokit.services(ACCELERATOR):
            statistics = entry.property("PerformanceStatistics")
            if not isinstance(statistics, dict):
                continue
            cores = _count(entry.property("gpu-core-count"))
            yield c.DEVICE_INFO(
                device=_DEVICE,
                kind="gpu",
                vendor="Apple",
                model=_text(entry.property("model")),
                cores=str(cores) if cores else None,
            )
            yield from self._statistics(statistics)
            return

    def _statistics(self, statistics: dict[str, Any]) -> Iterator[Reading]:
        for key, kind in _LOADS.items():
            percent = _count(statistics.get(key))
            if percent is not None and percent <= 100:
                yield c.GPU_DRIVER_UTILIZATION(percent / 100, device=_DEVICE, kind=kind)
        for key, family in _MEMORY.items():
            size = _count(statistics.get(key))
            if size is not None:
                yield family(size, device=_DEVICE)
        recoveries = _count(statistics.get("recoveryCount"))
        if recoveries is not None:
            yield c.GPU_RECOVERIES(self._recoveries.add(_DEVICE, recoveries), device=_DEVICE)


def _limit() -> Iterator[Reading]:
    """What the GPU may use, where somebody set it: 0 is macOS's own choice, which it does not tell here."""
    for name, unit in _LIMITS.items():
        limit = sysctl.integer(name)
        if limit is not None and limit > 0:
            yield c.GPU_MEMORY_SIZE(limit * unit, device=_DEVICE)
            return


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.rstrip(b"\0").decode(errors="replace")
    return value if isinstance(value, str) else None


def _problem(reason: str) -> Reading:
    return c.COLLECTOR_PROBLEM(collector=AppleGpu.name, problem="not_available", reason=reason)
