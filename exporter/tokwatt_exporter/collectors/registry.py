"""Which collectors exist, where they run, and whether they run unless told otherwise.

The only place that knows about platforms. Modules are imported when a collector is built, never before: the command
line needs the names only.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokwatt_exporter.collectors.base import Collector

_PACKAGE = "tokwatt_exporter."


class Entry(NamedTuple):
    """A collector's name, what it reads in a few words, the class per platform, and its default."""

    name: str
    summary: str
    classes: Mapping[str, str]
    enabled: bool = True


def _everywhere(path: str) -> dict[str, str]:
    return {"linux": path, "darwin": path}


REGISTRY: tuple[Entry, ...] = (
    Entry("host", "identity of the machine and of this build", _everywhere("collectors.host:Host")),
    Entry("cpu", "busy seconds, cores and clock",
          {"linux": "collectors.linux_cpu:LinuxCpu", "darwin": "collectors.psutil_cpu:PsutilCpu"}),
    Entry("memory", "memory by kind, swap and pressure",
          {"linux": "collectors.linux_memory:LinuxMemory", "darwin": "collectors.psutil_memory:PsutilMemory"}),
    Entry("temperature", "temperatures and their limits", {"linux": "collectors.linux_temperature:LinuxTemperature"}),
    Entry("fan", "fan speeds", {"linux": "collectors.linux_fan:LinuxFan"}),
    Entry("battery", "battery charge and power source", _everywhere("collectors.battery:Battery")),
    Entry("power_mode", "power mode of the OS", {"linux": "collectors.linux_power_mode:LinuxPowerMode"}),
    Entry("rapl", "energy of the CPU package and memory (RAPL)", {"linux": "collectors.linux_rapl:LinuxRapl"}),
    Entry("nvidia", "NVIDIA GPUs through NVML", {"linux": "collectors.nvidia:Nvidia"}),
    Entry("amdgpu", "AMD GPUs through sysfs", {"linux": "collectors.linux_amdgpu:LinuxAmdgpu"}),
    Entry("process", "the exporter process itself", _everywhere("collectors.process:Process")),
    Entry("engines", "LLM engines and their models",
          {"linux": "engines.monitor:EngineMonitor", "darwin": "collectors.apple_engines:AppleEngines"}),
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
    return [_make(_load(e.classes[platform]), paths or {}, given.get(e.name, {})) for e in wanted]


def _make(collector: type[Collector], paths: Mapping[str, Path], given: Mapping[str, Any]) -> Collector:
    takes = inspect.signature(collector).parameters
    return collector(**{name: path for name, path in paths.items() if name in takes}, **given)


def _load(path: str) -> type[Collector]:
    module, _, name = path.partition(":")
    loaded: type[Collector] = getattr(importlib.import_module(_PACKAGE + module), name)
    return loaded
