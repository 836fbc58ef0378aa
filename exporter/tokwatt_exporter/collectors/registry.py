"""Which collectors exist, where they run, and whether they run unless told otherwise.

The only place that knows about platforms. Modules are imported when a collector is built, never before: the command
line needs the names only.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tokwatt_exporter.collectors.base import Collector

_HERE = "tokwatt_exporter.collectors."


class Entry(NamedTuple):
    """A collector's name, what it reads in a few words, the class per platform, and its default."""

    name: str
    summary: str
    classes: Mapping[str, str]
    enabled: bool = True


def _everywhere(path: str) -> dict[str, str]:
    return {"linux": path, "darwin": path}


REGISTRY: tuple[Entry, ...] = (
    Entry("host", "identity of the machine and of this build", _everywhere("host:Host")),
    Entry("cpu", "busy seconds, cores and clock", {"linux": "linux_cpu:LinuxCpu", "darwin": "psutil_cpu:PsutilCpu"}),
    Entry("memory", "memory by kind, swap and pressure",
          {"linux": "linux_memory:LinuxMemory", "darwin": "psutil_memory:PsutilMemory"}),
    Entry("temperature", "temperatures and their limits", {"linux": "linux_temperature:LinuxTemperature"}),
    Entry("fan", "fan speeds", {"linux": "linux_fan:LinuxFan"}),
    Entry("battery", "battery charge and power source", _everywhere("battery:Battery")),
    Entry("power_mode", "power mode of the OS", {"linux": "linux_power_mode:LinuxPowerMode"}),
    Entry("rapl", "energy of the CPU package and memory (RAPL)", {"linux": "linux_rapl:LinuxRapl"}),
    Entry("nvidia", "NVIDIA GPUs through NVML", {"linux": "nvidia:Nvidia"}),
    Entry("amdgpu", "AMD GPUs through sysfs", {"linux": "linux_amdgpu:LinuxAmdgpu"}),
    Entry("process", "the exporter process itself", _everywhere("process:Process")),
)  # fmt: skip

#: Names of every collector on any platform; `engines` and `benchmark` are built by the daemon, which they depend on.
NAMES: tuple[str, ...] = (*(entry.name for entry in REGISTRY), "engines", "benchmark")


def build(enabled: Callable[[str, bool], bool], platform: str = sys.platform, **given: Any) -> list[Collector]:
    """The collectors of this platform that `enabled(name, default)` wants, each built with real defaults.

    `given` are constructor arguments by collector name, for what only the daemon has (`nvidia={"owner": …}`).
    """
    return [
        _load(entry.classes[platform])(**given.get(entry.name, {}))
        for entry in REGISTRY
        if platform in entry.classes and enabled(entry.name, entry.enabled)
    ]


def _load(path: str) -> type[Collector]:
    module, _, name = path.partition(":")
    loaded: type[Collector] = getattr(importlib.import_module(_HERE + module), name)
    return loaded
