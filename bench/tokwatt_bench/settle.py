"""Time for memory between two models: an engine that dropped one gives its memory back when it pleases."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tokwatt_bench.hardware import read
from tokwatt_exporter.catalogue import MEMORY_USED
from tokwatt_exporter.collectors import registry

#: It has settled when it moved by no more than this for so long; nobody waits longer than the last one.
STILL_BYTES, STILL_SECONDS, MOST_SECONDS = 128 * 2**20, 2.0, 60.0
_PERIOD_SECONDS = 0.25


class Settled(NamedTuple):
    """How long it took until used memory stood still, whether it did at all, and how much was given back."""

    seconds: float
    still: bool
    freed_bytes: float

    def __str__(self) -> str:
        size = f"{self.freed_bytes / 2**30:.2f} GiB of memory came back"
        return f"{size} within {self.seconds:.1f} s" + ("" if self.still else ", and it still moves")


def settle(
    used: Callable[[], float | None], *, most: float = MOST_SECONDS, clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Settled | None:  # fmt: skip
    """Wait until the used memory stands still, `most` seconds at most; None where nobody says how much is used."""
    begun, first = clock(), used()
    if first is None:
        return None
    seen: deque[tuple[float, float]] = deque([(begun, first)])
    while (now := clock()) - begun < most:
        sleep(_PERIOD_SECONDS)
        value = used()
        if value is None:
            return None
        seen.append((clock(), value))
        while seen[-1][0] - seen[1][0] >= STILL_SECONDS:
            seen.popleft()
        values = [one for _, one in seen]
        if seen[-1][0] - seen[0][0] >= STILL_SECONDS and max(values) - min(values) <= STILL_BYTES:
            return Settled(clock() - begun, True, max(first - value, 0.0))
    return Settled(now - begun, False, max(first - seen[-1][1], 0.0))


def used_memory(procfs: Path, sysfs: Path) -> Callable[[], float | None]:
    """What reads the bytes of memory in use on this machine, files that can be dropped not counted."""
    built = registry.build(lambda name, default: name == "memory", paths={"proc": procfs, "sys": sysfs})

    def used() -> float | None:
        values = [value for one in built for family, _, value in read(one) if family == MEMORY_USED]
        return sum(values) if values else None

    return used
