"""Memory of any host psutil knows: size, what is available, what is wired, and swap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil

from tokwatt_exporter.catalogue import MEMORY_AVAILABLE, MEMORY_SIZE, MEMORY_USED, SWAP_SIZE, SWAP_USED
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.snapshot import Reading


class PsutilMemory(Collector):
    """Bytes of memory and swap.

    Swap traffic is left out: on a Mac psutil counts every page read from a file as swapped in. So are app and
    compressed memory, which psutil cannot tell apart.
    """

    name = "memory"

    def __init__(self, library: Any = psutil) -> None:
        self._psutil = library

    def read(self) -> Iterator[Reading]:
        """Bytes now."""
        memory = self._psutil.virtual_memory()
        yield MEMORY_SIZE(memory.total)
        yield MEMORY_AVAILABLE(memory.available)
        wired = getattr(memory, "wired", None)
        if wired is not None:
            yield MEMORY_USED(wired, kind="wired")
        swap = self._psutil.swap_memory()
        yield SWAP_SIZE(swap.total)
        yield SWAP_USED(swap.used)
