"""The clocks that a Mac's CPU clusters and GPU can run at, from the power manager's tables in the IORegistry."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence

from tokwatt_exporter.apple import iokit
from tokwatt_exporter.apple.iokit import Entry
from tokwatt_exporter.collectors.apple_states import Clocks

#: Kinds of cores as the chip calls them, slowest first. On M5 and later P is what the OS calls super.
KINDS = ("E", "M", "P")

#: The node of the tables; M6 keeps them one below.
_NODES = ("pmgr", "pmgr-child")
#: Which tables are whose where the chip does not say itself; a second cluster of a kind has the second one.
_CPU = {"E": (1,), "P": (5, 13), "M": (22, 23)}
_GPU = 9

_PAIR = struct.Struct("<II")
#: Up to M3 (and on A18) a clock is written in Hz, later in kHz.
_HERTZ_ABOVE = 100_000_000
#: The table without `-sram` is written as periods: this divided by one is whole megahertz, on all chips.
_PERIODS = 65_536_000
_PLAUSIBLE = (100e6, 10e9)


def cpu_clocks(kinds: Collection[str]) -> Mapping[str, tuple[Clocks, ...]]:
    """The clocks of the clusters of each of these kinds (letters of KINDS); a kind without tables is left out."""
    for entry in _nodes():
        indices = _from_chip(entry, kinds) or _CPU
        found = {kind: _tables(entry, indices[kind]) for kind in sorted(kinds) if kind in indices}
        if any(found.values()):
            return {kind: tuple(Clocks(f"CPU {kind}", table) for table in found[kind]) for kind in found if found[kind]}
    return {}


def gpu_clocks() -> Clocks | None:
    """The clocks of the GPU; None where there is no table."""
    for entry in _nodes():
        # The first step is the GPU switched off.
        hertz = [float(value) for value in _values(entry, f"voltage-states{_GPU}") if value]
        if hertz and _plausible(hertz):
            return Clocks("GPU", hertz)
    return None


def _nodes() -> Iterator[Entry]:
    for name in _NODES:
        yield from iokit.named(name)


def _from_chip(entry: Entry, kinds: Collection[str]) -> Mapping[str, Sequence[int]]:
    """Tables of the kinds as newer chips tell them: in entries of 8 bytes, the table and the rank of its cluster."""
    data = entry.property("acc-clusters")
    if not isinstance(data, bytes):
        return {}
    ranked: dict[int, list[int]] = {}
    for at in range(0, len(data) - 7, 8):
        ranked.setdefault(data[at + 1], []).append(data[at])
    # Ranks leave out kinds that a chip of the family lacks, so only their order counts.
    if len(ranked) != len(kinds):
        return {}
    return dict(zip(sorted(kinds, key=KINDS.index), (ranked[rank] for rank in sorted(ranked)), strict=True))


def _tables(entry: Entry, indices: Sequence[int]) -> list[list[float]]:
    return [table for index in indices if (table := _table(entry, index))]


def _table(entry: Entry, index: int) -> list[float]:
    """Hertz by state, in the order of the states; empty where there is no table that makes sense."""
    found = [_hertz(value) for value in _values(entry, f"voltage-states{index}-sram") if value]
    check = [round(_PERIODS / value) * 1e6 for value in _values(entry, f"voltage-states{index}") if value]
    if not _plausible(check):
        return found if _plausible(found) else []
    # A unit that is not known would be off by far more than the rounding of the periods.
    return found if found and 0.5 < max(found) / max(check) < 2 else check


def _values(entry: Entry, name: str) -> list[int]:
    """The first number of each pair; the second is a voltage."""
    data = entry.property(name)
    if not isinstance(data, bytes):
        return []
    return [pair[0] for pair in _PAIR.iter_unpack(data[: len(data) - len(data) % _PAIR.size])]


def _hertz(value: int) -> float:
    return float(value if value > _HERTZ_ABOVE else value * 1000)


def _plausible(hertz: Sequence[float]) -> bool:
    return bool(hertz) and all(_PLAUSIBLE[0] <= value <= _PLAUSIBLE[1] for value in hertz)
