"""Machines that do not exist, to see boards and alerts without one; they go through the real pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokwatt_exporter.clock import Clock
    from tokwatt_exporter.collectors.base import Collector

#: What `--demo` takes.
NAMES = ("mac-studio", "laptop", "linux-box")


def collectors(name: str, clock: Clock | None = None) -> Sequence[Collector]:
    """The collectors of the machine `name`, which say the same at the same time of the clock, run by run."""
    from tokwatt_exporter.clock import SystemClock
    from tokwatt_exporter.collectors.process import Process
    from tokwatt_exporter.demo import hardware, serving
    from tokwatt_exporter.demo.machines import MACHINES

    machine, time = MACHINES[name], clock or SystemClock()
    # The exporter itself is real.
    return [*(part(machine, time) for part in (*hardware.PARTS, *serving.PARTS)), Process()]
