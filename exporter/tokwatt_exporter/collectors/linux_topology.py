"""Which cores of a Linux machine are of one kind: performance and efficiency clusters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tokwatt_exporter.collectors.linux_files import cpu_list, entries, number, text

#: The cluster of a machine whose cores are all alike.
UNIFORM = "cpu"

#: Intel's hybrid chips have a performance-counter device per kind of core.
_INTEL = {"cpu_core": "performance", "cpu_atom": "efficiency", "cpu_lowpower": "low_power"}

#: Cores within this share of the strongest of their kind are of its kind: favoured cores clock a little higher.
_ALIKE = 0.9
_RANKS = {1: (UNIFORM,), 2: ("performance", "efficiency"), 3: ("prime", "performance", "efficiency")}


def clusters(sys: Path) -> Mapping[int, str]:
    """The cluster of each CPU, by its number; CPUs that are not in it belong to `UNIFORM`."""
    return _hybrid(sys / "devices") or _by_capacity(sys / "devices/system/cpu")


def _hybrid(devices: Path) -> dict[int, str]:
    kinds = {kind: list(cpu_list(text(devices / pmu / "cpus"))) for pmu, kind in _INTEL.items()}
    return {cpu: kind for kind, cpus in kinds.items() for cpu in cpus}


def _by_capacity(folder: Path) -> dict[int, str]:
    found = {name: number(folder / name / "cpu_capacity") for name in entries(folder)}
    capacity = {int(name.removeprefix("cpu")): value for name, value in found.items() if value}
    kinds: list[int] = []
    for value in sorted(set(capacity.values()), reverse=True):
        if not kinds or value < _ALIKE * kinds[-1]:
            kinds.append(value)
    names = _RANKS.get(len(kinds)) or tuple(f"cluster{rank}" for rank in range(len(kinds)))
    rank = {cpu: sum(value < _ALIKE * kind for kind in kinds) for cpu, value in capacity.items()}
    return {cpu: names[rank[cpu]] for cpu in capacity}
