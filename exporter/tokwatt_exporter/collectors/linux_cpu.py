"""CPU of a Linux host: busy time from /proc/stat, clocks from cpufreq."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tokwatt_exporter.catalogue import CPU_BUSY, CPU_CORES, CPU_FREQUENCY, CPU_FREQUENCY_MAX, DEVICE_INFO
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.delta import Monotone
from tokwatt_exporter.collectors.linux_cpuinfo import cpu_identity
from tokwatt_exporter.collectors.linux_files import cpu_list, entries, number, text
from tokwatt_exporter.collectors.linux_topology import UNIFORM, clusters
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

#: user, nice, system, irq, softirq and steal. idle and iowait are idle; guest is in user, guest_nice in nice already.
_BUSY = (1, 2, 3, 6, 7, 8)


class _Policy(NamedTuple):
    """Cores that share one clock."""

    cpus: frozenset[int]
    now: str
    highest: str


class LinuxCpu(Collector):
    """Core-seconds since boot, online cores and clocks by cluster."""

    name = "cpu"

    def __init__(self, proc: Path = Path("/proc"), sys: Path = Path("/sys"), ticks: int | None = None) -> None:
        self._proc, self._sys = proc, sys
        self._ticks = ticks or os.sysconf("SC_CLK_TCK")
        self._busy = Monotone()
        self._cluster: dict[int, str] = {}
        self._policies: list[_Policy] = []
        self._device: Reading | None = None

    def read(self) -> Iterator[Reading]:
        """Seconds, cores and hertz now. `NotAvailable` where /proc is not mounted."""
        online = self._stat()
        self._look_again(online)
        for cpu, ticks in online.items():
            self._busy.add(cpu, ticks)
        seconds: dict[str, float] = defaultdict(float)
        cores: dict[str, int] = defaultdict(int)
        # A core that went offline keeps what it has counted: the sum must not fall.
        for cpu, cluster in self._cluster.items():
            seconds[cluster] += self._busy.total(cpu) / self._ticks
            cores[cluster] += cpu in online
        for cluster in seconds:
            yield CPU_BUSY(seconds[cluster], cluster=cluster)
            yield CPU_CORES(cores[cluster], cluster=cluster)
        yield from self._frequencies(online)
        assert self._device is not None
        yield self._device

    def _stat(self) -> dict[int, int]:
        """Busy ticks by online CPU."""
        online: dict[int, int] = {}
        try:
            with (self._proc / "stat").open(encoding="ascii", errors="replace") as lines:
                for line in lines:
                    # What follows counts interrupts, and is long on a large machine.
                    if not line.startswith("cpu"):
                        break
                    if line[3].isdigit():
                        fields = line.split()
                        online[int(fields[0][3:])] = sum(int(fields[i]) for i in _BUSY if i < len(fields))
        except FileNotFoundError:
            raise NotAvailable("no /proc/stat: is /proc mounted?") from None
        return online

    def _look_again(self, online: dict[int, int]) -> None:
        if online.keys() <= self._cluster.keys():
            return
        # The kernel lists only online cores, so what was known of one that is offline now is kept.
        found = clusters(self._sys)
        self._cluster |= {cpu: found.get(cpu, UNIFORM) for cpu in online if cpu not in self._cluster}
        self._policies = list(_policies(self._sys / "devices/system/cpu/cpufreq"))
        cpu = cpu_identity(self._proc)
        self._device = DEVICE_INFO(
            device="cpu", kind="cpu", vendor=cpu.vendor, model=cpu.model, cores=str(cpu.cores) if cpu.cores else None
        )

    def _frequencies(self, online: dict[int, int]) -> Iterator[Reading]:
        clocks: dict[str, list[int]] = defaultdict(list)
        highest: dict[str, int] = {}
        for policy in self._policies:
            cpus = [cpu for cpu in policy.cpus if cpu in online]
            if not cpus:
                continue
            cluster = self._cluster[cpus[0]]
            if now := number(policy.now):
                clocks[cluster] += [now] * len(cpus)
            if limit := number(policy.highest):
                highest[cluster] = max(highest.get(cluster, 0), limit)
        # cpufreq counts in kHz.
        for cluster, values in clocks.items():
            yield CPU_FREQUENCY(1000 * sum(values) / len(values), cluster=cluster)
        for cluster, value in highest.items():
            yield CPU_FREQUENCY_MAX(1000 * value, cluster=cluster)


def _policies(folder: Path) -> Iterator[_Policy]:
    for name in entries(folder):
        path = folder / name
        cpus = frozenset(cpu_list(text(path / "related_cpus")))
        yield _Policy(cpus, str(path / "scaling_cur_freq"), str(path / "cpuinfo_max_freq"))
