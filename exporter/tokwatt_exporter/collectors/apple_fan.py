"""Fans of a Mac, from its system management controller."""

from __future__ import annotations

from collections.abc import Iterator

from tokwatt_exporter.apple.smc import Smc
from tokwatt_exporter.catalogue import FAN_SPEED, FAN_SPEED_MAX
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading


class AppleFan(Collector):
    """Turns a minute of every fan; 0 is a fan at rest."""

    name = "fan"

    def __init__(self) -> None:
        self._smc: Smc | None = None
        self._fans = 0

    def read(self) -> Iterator[Reading]:
        """rpm now. `NotAvailable` on a Mac without fans."""
        self._smc = self._smc or Smc.open()
        self._fans = self._fans or int(self._smc.read("FNum") or 0)
        if not self._fans:
            raise NotAvailable("no fan")
        speeds = {number: self._smc.read(f"F{number}Ac") for number in range(self._fans)}
        turning = {number: speed for number, speed in speeds.items() if speed is not None and speed >= 0}
        if not turning:
            raise NotAvailable("no fan whose speed can be read")
        for number, speed in turning.items():
            yield FAN_SPEED(speed, fan=f"fan{number}")
            highest = self._smc.read(f"F{number}Mx")
            if highest:
                yield FAN_SPEED_MAX(highest, fan=f"fan{number}")

    def close(self) -> None:
        """Close the connection to the controller."""
        if self._smc:
            self._smc.close()
