"""Thermal pressure of a Mac, as the OS tells everybody who asks."""

from __future__ import annotations

from collections.abc import Iterator

from tokwatt_exporter.apple.notify import Notification
from tokwatt_exporter.catalogue import COLLECTOR_PROBLEM, THERMAL_STATE, THROTTLED
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.delta import Accumulator
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

#: A name with a typo in it would answer 0, nominal, for ever: so does every name that nobody ever posts.
_NAME = "com.apple.system.thermalpressurelevel"
#: The levels of macOS in OSThermalNotification.h: nominal, moderate, heavy, trapping, sleeping. Other systems of
#: Apple count in tens.
_STATES = {0: "nominal", 1: "fair", 2: "serious", 3: "critical", 4: "critical"}
#: Heavy is where clocks really drop.
_THROTTLED = 2


class AppleThermal(Collector):
    """The state now, and the seconds in which the OS held the chip back."""

    name = "thermal"

    def __init__(self, clock: Clock | None = None) -> None:
        self._seconds = Accumulator(clock or SystemClock())
        self._pressure: Notification | None = None

    def read(self) -> Iterator[Reading]:
        """State now and seconds since the first read. `NotAvailable` where the OS does not tell."""
        self._pressure = self._pressure or Notification(_NAME)
        level = self._pressure.state()
        if level is None:
            self.rebase()
            raise NotAvailable("the OS does not tell its thermal pressure")
        if level not in _STATES:
            self.rebase()
            reason = "a thermal pressure level that macOS does not have"
            yield COLLECTOR_PROBLEM(collector=self.name, problem="not_available", reason=reason)
            return
        yield from THERMAL_STATE(_STATES[level])
        step = self._seconds.integrate(_NAME, float(level >= _THROTTLED))
        yield THROTTLED(step.total, device="soc", reason="thermal")

    def rebase(self) -> None:
        """Time in which the machine slept, or the level was not known, is not counted."""
        self._seconds.rebase()

    def close(self) -> None:
        """Let go of the notification."""
        if self._pressure:
            self._pressure.close()
