"""The collectors of a made-up machine's hardware, under the names of the real ones."""

from __future__ import annotations

import platform
from abc import abstractmethod
from collections.abc import Iterator

from tokwatt_exporter import __version__
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.clock import Clock
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.host import installed_revision
from tokwatt_exporter.demo.load import BEGAN
from tokwatt_exporter.demo.machines import Machine
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

#: Heat comes that many seconds after the load.
LATER = 60


class Part(Collector):
    """What all of them know: the machine, and what time it is."""

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self.machine = machine
        self._clock = clock

    def read(self) -> Iterator[Reading]:
        """The readings now; `NotAvailable` where the machine would have no such source."""
        return self.readings(self._clock.wall())

    @abstractmethod
    def readings(self, now: float) -> Iterator[Reading]:
        """The readings at a time, Unix time."""


class Host(Part):
    """Who it is, and that it is nobody."""

    name = "host"

    def readings(self, now: float) -> Iterator[Reading]:
        """Identity: the build is real, the machine says of itself that it is not."""
        m = self.machine
        yield c.BUILD_INFO(
            version=__version__, revision=installed_revision(), python_version=platform.python_version()
        )  # fmt: skip
        yield c.DEMO_INFO(machine=m.name)
        yield c.HOST_INFO(
            os=m.os, os_version=m.os_version, arch=m.arch, chip=f"{m.chip} (demo)", machine_model=f"{m.model} (demo)"
        )


class Cpu(Part):
    """Clusters."""

    name = "cpu"

    def readings(self, now: float) -> Iterator[Reading]:
        """Core-seconds, cores and hertz; engines that wait for their GPU keep few cores busy."""
        m = self.machine
        for cluster, (cores, clock) in m.clusters.items():
            yield c.CPU_BUSY(cores * (0.03 * (now - BEGAN) + 0.3 * m.load.done(now)), cluster=cluster)
            yield c.CPU_CORES(cores, cluster=cluster)
            yield c.CPU_FREQUENCY(clock.at(m.load, now), cluster=cluster)
            yield c.CPU_FREQUENCY_MAX(clock.high, cluster=cluster)
        cores = sum(number for number, _ in m.clusters.values())
        yield c.DEVICE_INFO(device="cpu", kind="cpu", model=f"{m.chip} (demo)", cores=str(cores))


class Memory(Part):
    """Memory, swap and pressure."""

    name = "memory"

    def readings(self, now: float) -> Iterator[Reading]:
        """Bytes by kind, and what is swapped when models do not fit."""
        m = self.machine
        kinds = {kind: size.at(m.load, now) for kind, size in m.memory_kinds.items()}
        cached = 0.12 * m.memory
        yield c.MEMORY_SIZE(m.memory)
        yield c.MEMORY_AVAILABLE(m.memory - sum(kinds.values()))
        yield c.MEMORY_CACHED(cached)
        for kind, used in kinds.items():
            yield c.MEMORY_USED(used, kind=kind)
        if m.apple:
            yield c.MEMORY_COMPRESSED(2.6 * kinds["compressed"])
            yield from c.MEMORY_PRESSURE("warn" if m.load.at(now) > m.hot else "normal")
        else:
            yield c.MEMORY_STALLED(0.001 * m.load.done(now), scope="some")
        yield c.SWAP_SIZE(8 * 2**30)
        yield c.SWAP_USED((0.1 + 0.2 * m.load.at(now)) * 2**30)
        yield c.SWAP_IN(0.2e6 * m.load.done(now))
        yield c.SWAP_OUT(0.5e6 * m.load.done(now))


class Temperature(Part):
    """Heat of each device."""

    name = "temperature"

    def readings(self, now: float) -> Iterator[Reading]:
        """Degrees Celsius, a little after the load."""
        m = self.machine
        sensor = "hottest" if m.apple else "Tctl"
        for device, degrees in m.temperatures.items():
            value = degrees.at(m.load, now - LATER)
            yield c.TEMPERATURE(value, device=device, sensor=sensor)
            if m.apple:
                yield c.TEMPERATURE(value - 6, device=device, sensor="mean")
                yield c.TEMPERATURE_SENSORS(12, device=device)
            else:
                yield c.TEMPERATURE_LIMIT(95 if device == "cpu" else 90, device=device, sensor=sensor)


class Fan(Part):
    """Fans."""

    name = "fan"

    def readings(self, now: float) -> Iterator[Reading]:
        """Speed and the highest there is, in revolutions per minute."""
        for fan, (speed, highest) in self.machine.fans.items():
            yield c.FAN_SPEED(speed.at(self.machine.load, now - LATER), fan=fan)
            yield c.FAN_SPEED_MAX(highest, fan=fan)


class Thermal(Part):
    """Thermal pressure, which only Macs tell."""

    name = "thermal"

    def readings(self, now: float) -> Iterator[Reading]:
        """The state, and seconds throttled."""
        m = self.machine
        if not m.apple:
            raise NotAvailable("no thermal pressure on Linux")
        heat = m.load.at(now - LATER)
        yield from c.THERMAL_STATE("serious" if heat > m.hot + 0.12 else "fair" if heat > m.hot else "nominal")
        yield c.THROTTLED(0.05 * m.load.done(now - LATER) if m.hot < 1 else 0, device="soc", reason="thermal")


class Battery(Part):
    """Battery and mains."""

    name = "battery"

    def readings(self, now: float) -> Iterator[Reading]:
        """Charge, health, cycles and where the power comes from."""
        m = self.machine
        if not m.battery:
            raise NotAvailable("no battery")
        unplugged = (now - BEGAN) % 3600 > 2700
        yield c.BATTERY_CHARGE(0.9 - 0.2 * max((now - BEGAN) % 3600 - 2700, 0) / 900)
        yield c.BATTERY_HEALTH(0.94)
        yield c.BATTERY_CYCLES(143)
        if m.system and unplugged:
            yield c.BATTERY_POWER(-m.system.at(m.load, now))
        else:
            yield c.ADAPTER_POWER(140)
        yield from c.POWER_SOURCE("battery" if unplugged else "ac")


class PowerMode(Part):
    """Power mode of the OS."""

    name = "power_mode"

    def readings(self, now: float) -> Iterator[Reading]:
        """One of three."""
        yield from c.POWER_MODE("automatic" if self.machine.battery else "high")


class Energy(Part):
    """Joules and watts of the devices, the package and the whole machine."""

    name = "energy"

    def readings(self, now: float) -> Iterator[Reading]:
        """Counters whose rate is what the gauges say."""
        m = self.machine
        for device, watts in m.power.items():
            yield c.ENERGY(watts.done(m.load, now), device=device)
            yield c.POWER(watts.at(m.load, now), device=device)
        yield c.PACKAGE_ENERGY(m.package.done(m.load, now))
        if not m.apple:
            yield c.POWER_LIMIT(m.power["gpu0"].high + 15, device="gpu0")


class SystemPower(Part):
    """The whole machine."""

    name = "system_power"

    def readings(self, now: float) -> Iterator[Reading]:
        """Watts and joules."""
        m = self.machine
        if not m.system:
            raise NotAvailable("no sensor of the whole machine's power")
        yield c.SYSTEM_POWER(m.system.at(m.load, now))
        yield c.SYSTEM_ENERGY(m.system.done(m.load, now))


class Gpu(Part):
    """The GPU."""

    name = "gpu"

    def readings(self, now: float) -> Iterator[Reading]:
        """Busy time, clock and memory."""
        m, gpu = self.machine, {"device": "gpu0"}
        models = sum(engine.memory for engine in m.engines)
        yield c.DEVICE_INFO(**gpu, kind="gpu", model=f"{m.gpu} (demo)")
        yield c.GPU_BUSY(0.01 * (now - BEGAN) + 0.97 * m.load.done(now), **gpu)
        yield c.GPU_UTILIZATION(0.01 + 0.97 * m.load.at(now), **gpu)
        yield c.GPU_FREQUENCY(m.gpu_clock.at(m.load, now), **gpu)
        yield c.GPU_FREQUENCY_MAX(m.gpu_clock.high, **gpu)
        yield c.GPU_MEMORY_SIZE(m.gpu_memory, **gpu)
        yield c.GPU_MEMORY_USED(min(models * (1 + 0.1 * m.load.at(now)), m.gpu_memory), **gpu)
        if not m.apple:
            yield c.THROTTLED(0.12 * m.load.done(now), **gpu, reason="power")


class Traffic(Part):
    """Memory bandwidth, which some Apple chips count."""

    name = "memory_bandwidth"

    def readings(self, now: float) -> Iterator[Reading]:
        """Bytes read and written; decoding reads the weights for every token."""
        m = self.machine
        if m.bandwidth is None:
            raise NotAvailable("no counters of memory traffic")
        yield c.DRAM_READ(m.bandwidth * m.load.done(now))
        yield c.DRAM_WRITTEN(0.06 * m.bandwidth * m.load.done(now))


PARTS = (Host, Cpu, Memory, Temperature, Fan, Thermal, Battery, PowerMode, Energy, SystemPower, Gpu, Traffic)
