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

    def read(self) -> Iterator[Reading]:
        """rpm now. `NotAvailable` on a Mac without fans."""
        self._smc = self._smc or Smc.open()
        fans = self._smc.read("FNum")
        if not fans:
            raise NotAvailable("no fan")
        for number in range(int(fans)):
            speed = self._smc.read(f"F{number}Ac")
            if speed is None or speed < 0:
                continue
            yield FAN_SPEED(speed, fan=f"fan{number}")
            highest = self._smc.read(f"F{number}Mx")
            if highest:
                yield FAN_SPEED_MAX(highest, fan=f"fan{number}")

    def close(self) -> None:
        """Close the connection to the controller."""
        if self._smc:
            self._smc.close()
