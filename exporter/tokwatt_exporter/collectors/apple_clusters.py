"""Which cores of a Mac are of one kind, under the name that macOS gives the kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tokwatt_exporter.apple import iokit, sysctl
from tokwatt_exporter.collectors.apple_dvfs import KINDS
from tokwatt_exporter.collectors.linux_topology import UNIFORM

#: What macOS 13 and later call the levels of all machines that earlier ones run on.
_UNNAMED = ("performance", "efficiency")


class Clusters(NamedTuple):
    """Clusters by CPU number and by letter of KINDS, and how many logical CPUs each has."""

    of_cpu: Mapping[int, str]
    of_kind: Mapping[str, str]
    cores: Mapping[str, int]


def clusters(cpus: int) -> Clusters:
    """Of a machine with that many logical CPUs; all in `UNIFORM` where macOS does not say which is of which level."""
    levels, kinds = list(_levels()), _kinds()
    # Levels are numbered from the fastest, CPUs are not: on most chips the efficient ones come first.
    there = sorted(set(kinds.values()), key=KINDS.index, reverse=True)
    if len(levels) < 2 or len(levels) != len(there) or kinds.keys() != set(range(cpus)):
        return Clusters(dict.fromkeys(range(cpus), UNIFORM), dict.fromkeys(KINDS, UNIFORM), {UNIFORM: cpus})
    of_kind = {kind: name for kind, (name, _) in zip(there, levels, strict=True)}
    counted = list(kinds.values())
    cores = {of_kind[kind]: cores or counted.count(kind) for kind, (_, cores) in zip(there, levels, strict=True)}
    return Clusters({cpu: of_kind[kind] for cpu, kind in kinds.items()}, of_kind, cores)


def _levels() -> Iterator[tuple[str, int | None]]:
    """Name and logical CPUs of each performance level, fastest first."""
    count = sysctl.integer("hw.nperflevels") or 1
    for level in range(count):
        name = sysctl.string(f"hw.perflevel{level}.name")
        if name is None:
            name = _UNNAMED[level] if count == len(_UNNAMED) else f"level{level}"
        yield name.lower(), sysctl.integer(f"hw.perflevel{level}.logicalcpu")


def _kinds() -> dict[int, str]:
    """The letter of each CPU in the device tree, by its number; empty where one of them is not known."""
    cpus = iokit.at("IODeviceTree:/cpus")
    if cpus is None:
        return {}
    found: dict[int, str] = {}
    with cpus:
        for entry in cpus.children("IODeviceTree"):
            with entry:
                cpu = _number(entry.property("logical-cpu-id"))
                kind = _letter(entry.property("cluster-type"))
            if cpu is not None and kind not in KINDS:
                return {}
            if cpu is not None:
                found[cpu] = kind
    return found


def _number(value: Any) -> int | None:
    if isinstance(value, bytes) and len(value) >= 4:
        return int.from_bytes(value[:4], "little")
    return value if isinstance(value, int) else None


def _letter(value: Any) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.rstrip("\0") or "?"
