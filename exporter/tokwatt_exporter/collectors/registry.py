"""Which collectors exist, where they run, and whether they run unless told otherwise.

The only place that knows about platforms. Modules are imported when a collector is built, never before: the command
line needs the names only.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokwatt_exporter.collectors.base import Collector

log = logging.getLogger(__name__)

_PACKAGE = "tokwatt_exporter."


class Entry(NamedTuple):
    """A collector's name, what it reads in a few words, the class per platform, and its default.

    `replaces` names those that give the same series from another source: they do not run where this one does.
    """

    name: str
    summary: str
    classes: Mapping[str, str]
    enabled: bool = True
    replaces: tuple[str, ...] = ()


def _everywhere(path: str) -> dict[str, str]:
    return {"linux": path, "darwin": path}


def _on(linux: str, darwin: str) -> dict[str, str]:
    return {"linux": f"collectors.{linux}", "darwin": f"collectors.{darwin}"}


def _mac(path: str) -> dict[str, str]:
    return {"darwin": f"collectors.{path}"}


REGISTRY: tuple[Entry, ...] = (
    Entry("host", "identity of the machine and of this build", _on("host:Host", "apple_host:AppleHost")),
    Entry("cpu", "busy seconds, cores and clock", _on("linux_cpu:LinuxCpu", "apple_cpu:AppleCpu")),
    Entry("memory", "memory by kind, swap and pressure", _on("linux_memory:LinuxMemory", "apple_memory:AppleMemory")),
    Entry("temperature", "temperatures and their limits",
          _on("linux_temperature:LinuxTemperature", "apple_temperature:AppleTemperature")),
    Entry("fan", "fan speeds", _on("linux_fan:LinuxFan", "apple_fan:AppleFan")),
    Entry("thermal", "thermal pressure, and time spent throttled by it", _mac("apple_thermal:AppleThermal")),
    Entry("battery", "battery, adapter and power source", _on("battery:Battery", "apple_battery:AppleBattery")),
    Entry("power_mode", "power mode of the OS",
          _on("linux_power_mode:LinuxPowerMode", "apple_power_mode:ApplePowerMode")),
    Entry("rapl", "energy of the CPU package and memory (RAPL)", {"linux": "collectors.linux_rapl:LinuxRapl"}),
    Entry("energy", "energy of the parts of an Apple chip", _mac("apple_energy:AppleEnergy")),
    Entry("powermetrics", "energy of an Apple chip through powermetrics, as root",
          _mac("apple_powermetrics:ApplePowermetrics"), enabled=False, replaces=("energy", "clpc")),
    Entry("clpc", "energy of an Apple chip from undocumented reports", _mac("apple_clpc:AppleClpc"),
          enabled=False, replaces=("energy",)),
    Entry("system_power", "power of the whole Mac", _mac("apple_system_power:AppleSystemPower")),
    Entry("gpu", "the GPU of an Apple chip", _mac("apple_gpu:AppleGpu")),
    Entry("nvidia", "NVIDIA GPUs through NVML", {"linux": "collectors.nvidia:Nvidia"}),
    Entry("amdgpu", "AMD GPUs through sysfs", {"linux": "collectors.linux_amdgpu:LinuxAmdgpu"}),
    Entry("memory_bandwidth", "memory traffic of an Apple chip", _mac("apple_memory_bandwidth:AppleMemoryBandwidth")),
    Entry("disk", "traffic of the disks", _mac("apple_disk:AppleDisk")),
    Entry("network", "traffic of the network interfaces", _mac("apple_network:AppleNetwork")),
    Entry("process", "the exporter process itself", _everywhere("collectors.process:Process")),
    Entry("engines", "LLM engines and their models",
          {"linux": "engines.monitor:EngineMonitor", "darwin": "collectors.apple_engines:AppleEngines"}),
    Entry("proxy", "requests that pass `tokwatt proxy`", _everywhere("collectors.proxy:Proxy")),
    Entry("benchmark", "latest benchmark results", _everywhere("collectors.benchmark:Benchmark")),
)  # fmt: skip

#: Names of every collector on any platform.
NAMES: tuple[str, ...] = tuple(entry.name for entry in REGISTRY)


def build(
    enabled: Callable[[str, bool], bool],
    platform: str = sys.platform,
    paths: Mapping[str, Path] | None = None,
    **given: Any,
) -> list[Collector]:
    """The collectors of this platform that `enabled(name, default)` wants, each built with real defaults.

    `paths` are where `proc` and `sys` are mounted, for those who read them; `given` are constructor arguments by
    collector name, for what only the daemon has (`nvidia={"owner": …}`).
    """
    wanted = [e for e in REGISTRY if platform in e.classes and enabled(e.name, e.enabled)]
    for entry in list(wanted):
        for other in [e for e in wanted if e.name in entry.replaces]:
            log.info("collector %s runs in place of %s", entry.name, other.name)
            wanted.remove(other)
    return [_make(_load(e.classes[platform]), paths or {}, given.get(e.name, {})) for e in wanted]


def _make(collector: type[Collector], paths: Mapping[str, Path], given: Mapping[str, Any]) -> Collector:
    takes = inspect.signature(collector).parameters
    return collector(**{name: path for name, path in paths.items() if name in takes}, **given)


def _load(path: str) -> type[Collector]:
    module, _, name = path.partition(":")
    loaded: type[Collector] = getattr(importlib.import_module(_PACKAGE + module), name)
    return loaded
