"""CPU of a Mac: busy time from the kernel, clocks from the time its cores spent in each performance state."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tokwatt_exporter.apple import mach, sysctl
from tokwatt_exporter.apple.ioreport import STATE, Channel, States, Subscription
from tokwatt_exporter.catalogue import (
    COLLECTOR_PROBLEM,
    CPU_BUSY,
    CPU_CORES,
    CPU_FREQUENCY,
    CPU_FREQUENCY_MAX,
    DEVICE_INFO,
)
from tokwatt_exporter.collectors.apple_clusters import Clusters, clusters
from tokwatt_exporter.collectors.apple_dvfs import cpu_clocks
from tokwatt_exporter.collectors.apple_states import Spans
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.delta import Monotone
from tokwatt_exporter.snapshot import Reading

_GROUP, _SUBGROUP = "CPU Stats", "CPU Core Performance States"
#: `PCPU120` is core 2 in cluster 1; where there are dies, `DIE_0_PCPU1_CPU2` is. `ECPM` and the like are no cores.
_CORE = re.compile(r"(?:DIE_?\d+[_ ]|PRIM )?([EMP])CPU(?:(\d)\d\d|(\d?)_(?:CPU)?\d+|\d{1,2})")

_TICKS_PER_SECOND = 100
_WRAP = 2**32


class AppleCpu(Collector):
    """Core-seconds since boot, online cores and clocks by cluster."""

    name = "cpu"

    def __init__(self) -> None:
        self._ticks: dict[tuple[int, int], int] = {}
        self._busy = Monotone()
        self._clusters = Clusters({}, {}, {})
        self._clocks: _CoreClocks | None = None

    def read(self) -> Iterator[Reading]:
        """Seconds, cores, and hertz over the last interval; OSError where the kernel does not answer."""
        ticks = mach.processor_ticks()
        if self._clusters.of_cpu.keys() != set(range(len(ticks))):
            self._clusters = clusters(len(ticks))
        seconds: dict[str, float] = defaultdict(float)
        for cpu, now in enumerate(ticks):
            seconds[self._clusters.of_cpu[cpu]] += self._busy_ticks(cpu, now) / _TICKS_PER_SECOND
        for cluster, busy in seconds.items():
            yield CPU_BUSY(busy, cluster=cluster)
            yield CPU_CORES(self._clusters.cores[cluster], cluster=cluster)
        self._clocks = self._clocks or _CoreClocks.open()
        yield from self._clocks.read(self._clusters.of_kind)
        yield _identity()

    def rebase(self) -> None:
        """What cores did before the sleep is no part of the next interval."""
        if self._clocks:
            self._clocks.spans.forget()

    def close(self) -> None:
        """Give the subscription back."""
        if self._clocks and self._clocks.subscription:
            self._clocks.subscription.close()

    def _busy_ticks(self, cpu: int, now: mach.CpuTicks) -> float:
        busy = 0
        for state, raw in enumerate((now.user, now.system, now.nice)):
            before = self._ticks.get((cpu, state), 0)
            turns, last = divmod(before, _WRAP)
            # A small step back is the kernel's inaccuracy, not a counter that has come round.
            turns += last - raw > _WRAP // 2
            self._ticks[cpu, state] = turns * _WRAP + raw
            busy += turns * _WRAP + raw
        return self._busy.add(cpu, busy)


class _Core(NamedTuple):
    kind: str
    cluster: int


class _CoreClocks:
    """The mean clock of the cores of each kind while they were active, and the highest."""

    def __init__(self, subscription: Subscription | None) -> None:
        self.subscription = subscription
        self.spans = Spans()
        channels = subscription.channels if subscription else ()
        self._cores = {channel: core for channel in channels if (core := _core(channel))}
        self._clocks = cpu_clocks({core.kind for core in self._cores.values()}) if self._cores else {}

    @classmethod
    def open(cls) -> _CoreClocks:
        return cls(Subscription.open(_GROUP, _SUBGROUP, lambda channel: _core(channel) is not None))

    def read(self, of_kind: Mapping[str, str]) -> Iterator[Reading]:
        if self.subscription is None:
            yield _problem("macOS does not report the performance states of the cores")
            return
        if not self._clocks:
            yield _problem("no table of the clocks of the cores")
            return
        highest: dict[str, float] = {}
        for kind, clocks in self._clocks.items():
            if cluster := of_kind.get(kind):
                highest[cluster] = max(highest.get(cluster, 0.0), *(each.highest for each in clocks))
        for cluster, hertz in highest.items():
            yield CPU_FREQUENCY_MAX(hertz, cluster=cluster)
        yield from self._means(self.subscription, of_kind)

    def _means(self, subscription: Subscription, of_kind: Mapping[str, str]) -> Iterator[Reading]:
        cycles: dict[str, float] = defaultdict(float)
        active: dict[str, int] = defaultdict(int)
        for states in subscription.sample():
            core = self._cores[states.channel]
            cluster, clocks = of_kind.get(core.kind), self._clocks.get(core.kind)
            span = self.spans.since(states) if isinstance(states, States) else None
            if cluster and clocks and span:
                # Clusters of a kind share a table where there are fewer tables.
                cycles[cluster] += clocks[min(core.cluster, len(clocks) - 1)].cycles(span.active)
                active[cluster] += sum(span.active)
        for cluster, ticks in active.items():
            if ticks:
                yield CPU_FREQUENCY(cycles[cluster] / ticks, cluster=cluster)


def _core(channel: Channel) -> _Core | None:
    """Which core it is of; None for what is not of one core."""
    found = _CORE.fullmatch(channel.name) if channel.format == STATE else None
    return _Core(found[1], int(found[2] or found[3] or 0)) if found else None


def _identity() -> Reading:
    cores = sysctl.integer("hw.physicalcpu")
    return DEVICE_INFO(
        device="cpu",
        kind="cpu",
        vendor="Apple",
        model=sysctl.string("machdep.cpu.brand_string"),
        cores=str(cores) if cores else None,
    )


def _problem(reason: str) -> Reading:
    return COLLECTOR_PROBLEM(collector=AppleCpu.name, problem="not_available", reason=reason)
