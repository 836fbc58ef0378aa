"""Which of the chip's energy counters are whose: rails, each the sum of channels that do not contain each other."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tokwatt_exporter.apple.ioreport import SIMPLE, Channel

#: Joules of one count, by the channel's unit.
JOULES = {"mJ": 1e-3, "uJ": 1e-6, "nJ": 1e-9}

#: The rails that are devices of their own; what others draw is in the total of the package only.
DEVICES = ("cpu", "gpu0", "ane", "dram")

#: Chips of several dies have each name once a die. All that follows is matched as a whole: parts of these names are in
#: hundreds of others, such as a cluster's cache (`_SRAM`), its power manager (`CPM`) and its thresholds (`DTL`).
_NAME = re.compile(r"(DIE_?\d+[_ ]|PRIM )?(.+)")

_CPU_TOTAL = "CPU Energy"
_CLUSTER = re.compile(r"([EMP])(?:ACC\d*_CPU|CPU\d*)")
_CORE = re.compile(r"([EMP])(?:ACC\d*_CPU\d+|ACC\d*_\d+|CPU\d+_\d+)")

#: Names of a rail's channels, level by level: the same joules are told in whole, by unit, and by part of a unit.
_LEVELS = {
    "gpu0": ("GPU Energy", "GPU", r"GPU\d+", r"GPU\d+_\d+"),
    **{
        rail.lower(): (rail, rf"{rail}\d+", rf"{rail}\d+_\d+")
        for rail in ("ANE", "DRAM", "DCS", "AMCC", "AFR", "FAB", "ISP", "AVE", "MSR", "DISP", "DISPEXT")
    },
    "pcie": (r"(?:PCIe Port \d+|apciec\d+) Energy",),
}


class Rails(NamedTuple):
    """The channels of each rail, and those that would be some but for a unit nobody knows."""

    channels: Mapping[str, tuple[Channel, ...]]
    dropped: Mapping[str, tuple[Channel, ...]]

    def only(self, names: Collection[str]) -> Rails:
        """Those of these names."""
        return Rails(*({name: part[name] for name in part if name in names} for part in self))


def is_energy(channel: Channel) -> bool:
    """Whether it may be of a rail."""
    _, name = _split(channel)
    patterns = (pattern for levels in _LEVELS.values() for pattern in levels)
    return channel.format == SIMPLE and (
        name == _CPU_TOTAL
        or bool(_CLUSTER.fullmatch(name) or _CORE.fullmatch(name))
        or any(re.fullmatch(pattern, name) for pattern in patterns)
    )


def rails(channels: Iterable[Channel]) -> Rails:
    """What these channels tell; a rail of which they tell nothing complete is left out."""
    channels = [channel for channel in channels if channel.format == SIMPLE]
    found: dict[str, tuple[Channel, ...]] = {}
    dropped: dict[str, tuple[Channel, ...]] = {}
    for rail, levels in (("cpu", _cpu_levels(channels)), *_other_levels(channels)):
        for level in levels:
            unknown = [channel for channel in level if channel.unit not in JOULES]
            if unknown:
                dropped[rail] = (*dropped.get(rail, ()), *unknown)
            # A sum without one of its parts is not the rail's.
            if level and not unknown:
                found[rail] = tuple(level)
                break
    return Rails(found, dropped)


def _other_levels(channels: Sequence[Channel]) -> Iterator[tuple[str, Iterator[list[Channel]]]]:
    for rail, patterns in _LEVELS.items():
        yield rail, ([one for one in channels if re.fullmatch(pattern, _split(one)[1])] for pattern in patterns)


def _cpu_levels(channels: Sequence[Channel]) -> Iterator[list[Channel]]:
    """The whole CPU, by die, by cluster, by core: each only where it leaves no die and no kind of core out."""
    totals: dict[str, list[Channel]] = {}
    clusters: dict[tuple[str, str], list[Channel]] = {}
    cores: dict[tuple[str, str], list[Channel]] = {}
    names = {_split(channel) for channel in channels}
    for channel in channels:
        die, name = _split(channel)
        if name == _CPU_TOTAL:
            totals.setdefault(die, []).append(channel)
        elif found := _CORE.fullmatch(name) or (_CLUSTER.fullmatch(name) if _in_cluster(die, name, names) else None):
            cores.setdefault((die, found[1]), []).append(channel)
        elif found := _CLUSTER.fullmatch(name):
            clusters.setdefault((die, found[1]), []).append(channel)
    kinds = clusters.keys() | cores.keys()
    if "" in totals:
        yield totals[""]
    elif {die for die, _ in kinds} <= totals.keys():
        yield [channel for die in totals.values() for channel in die]
    for level in (clusters, cores):
        if level.keys() == kinds:
            yield [channel for kind in level.values() for channel in kind]


def _in_cluster(die: str, name: str, names: set[tuple[str, str]]) -> bool:
    """Whether `ECPU0` is a core of `ECPU`, not a cluster that is numbered (`MCPU0`, whose cores are `MCPU0_1`…)."""
    whole = name.rstrip("0123456789")
    return name != whole and (die, whole) in names


def _split(channel: Channel) -> tuple[str, str]:
    """The prefix of the die, and the name on it."""
    found = _NAME.fullmatch(channel.name)
    return (found[1] or "", found[2]) if found else ("", channel.name)
