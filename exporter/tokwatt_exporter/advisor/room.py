"""How much memory a model may have on this machine, and how much of it is free now."""

from __future__ import annotations

from typing import NamedTuple

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.catalogue import Family
from tokwatt_exporter.snapshot import Snapshot

#: macOS chooses the GPU's share and does not tell it here. The smallest that was seen is that of a Mac with 16 GB.
SMALLEST_SHARE = 2 / 3


class Room(NamedTuple):
    """Bytes: what a model has at most, what it has for sure, and what is free now; None is not known."""

    most_bytes: float | None
    sure_bytes: float | None
    free_bytes: float | None
    why: str

    def fits(self, needed: float | None) -> bool | None:
        """Whether it fits when nothing else runs; None where that is not known."""
        if needed is None or self.most_bytes is None:
            return None
        if needed > self.most_bytes:
            return False
        return True if self.sure_bytes is not None and needed <= self.sure_bytes else None

    def fits_now(self, needed: float | None) -> bool | None:
        """Whether it fits beside what runs now."""
        if needed is None or self.free_bytes is None:
            return None
        return False if needed > self.free_bytes else self.fits(needed)


def room(now: Snapshot) -> Room:
    """By the newest readings of the machine."""
    memory, available = _one(now, c.MEMORY_SIZE), _one(now, c.MEMORY_AVAILABLE)
    if any(dict(labels).get("vendor") == "Apple" for labels in now.values.get(c.DEVICE_INFO, {})):
        return _unified(now, memory, available)
    sizes = _by_device(now, c.GPU_MEMORY_SIZE)
    if sizes:
        device = max(sizes, key=lambda name: sizes[name])
        used = _by_device(now, c.GPU_MEMORY_USED).get(device)
        free = None if used is None else sizes[device] - used
        more = f"; {len(sizes) - 1} more GPUs are not counted" if len(sizes) > 1 else ""
        return Room(sizes[device], sizes[device], free, f"the memory of {device}{more}")
    return Room(memory, memory, available, "the memory of the machine, as no GPU with memory of its own is seen")


def _unified(now: Snapshot, memory: float | None, available: float | None) -> Room:
    limits = _by_device(now, c.GPU_MEMORY_SIZE)
    used = sum(_by_device(now, c.GPU_MEMORY_USED).values())
    limit = max(limits.values(), default=None)
    if limit is not None:
        free = limit - used if available is None else min(limit - used, available)
        return Room(limit, limit, max(free, 0.0), "the limit of the GPU's memory (iogpu.wired_limit_mb)")
    if memory is None:
        return Room(None, None, available, "neither the memory nor the GPU's share of it is known")
    sure = memory * SMALLEST_SHARE
    free = max(sure - used, 0.0) if available is None else min(max(sure - used, 0.0), available)
    return Room(memory, sure, free, "macOS chooses the GPU's share and does not tell it: two thirds are sure")


def _one(now: Snapshot, family: Family) -> float | None:
    return now.values.get(family, {}).get(())


def _by_device(now: Snapshot, family: Family) -> dict[str, float]:
    return {dict(labels).get("device", ""): value for labels, value in now.values.get(family, {}).items()}
