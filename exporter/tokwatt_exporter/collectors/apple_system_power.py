"""Power of the whole Mac, from its system management controller."""

from __future__ import annotations

from collections.abc import Iterator

from tokwatt_exporter.apple.smc import Smc
from tokwatt_exporter.catalogue import COLLECTOR_PROBLEM, SYSTEM_ENERGY, SYSTEM_POWER
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.delta import Accumulator
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

#: Total power of the system.
_TOTAL = "PSTR"
_ABSENT = "the system management controller does not measure the power of the system"


class AppleSystemPower(Collector):
    """Watts now, and joules since the start as their integral: the controller has no counter of energy."""

    name = "system_power"

    def __init__(self, clock: Clock | None = None) -> None:
        self._joules = Accumulator(clock or SystemClock())
        self._smc: Smc | None = None

    def read(self) -> Iterator[Reading]:
        """Watts now and joules since the first read. `NotAvailable` on the Macs that do not measure it."""
        self._smc = self._smc or Smc.open()
        watts = self._smc.read(_TOTAL)
        # 0 is what Macs say that have the key and nothing behind it.
        if watts is None or watts <= 0:
            if _TOTAL not in self._joules:
                raise NotAvailable(_ABSENT)
            # What was drawn in a gap is not known, not even as a line between its ends.
            self._joules.rebase()
            yield COLLECTOR_PROBLEM(collector=self.name, problem="not_available", reason=_ABSENT)
            return
        yield SYSTEM_POWER(watts)
        yield SYSTEM_ENERGY(self._joules.integrate(_TOTAL, watts).total)

    def rebase(self) -> None:
        """Nothing is known of the power while the machine slept."""
        self._joules.rebase()

    def close(self) -> None:
        """Close the connection to the controller."""
        if self._smc:
            self._smc.close()
