"""Battery and power source, through psutil, with what psutil gets wrong on Linux put right from sysfs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tokwatt_exporter.catalogue import BATTERY_CHARGE, POWER_SOURCE
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.linux_files import entries, number, text
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading


class Battery(Collector):
    """Charge and source of power of the machine itself."""

    name = "battery"

    def __init__(self, ask: Callable[[], Any] | None = None, supplies: Path = Path("/sys/class/power_supply")) -> None:
        self._ask: Callable[[], Any] = ask or psutil.sensors_battery
        self._supplies = supplies

    def read(self) -> Iterator[Reading]:
        """Ratio and state now. `NotAvailable` on a machine that has no battery and says nothing of its mains."""
        battery = self._battery()
        source = self._source(battery)
        if battery is None and source is None:
            raise NotAvailable("no battery, and no mains supply that says whether it is online")
        # psutil says 0 for a battery that reports no full charge; a machine at 0 % is off.
        if battery is not None and battery.percent > 0:
            yield BATTERY_CHARGE(min(battery.percent / 100, 1.0))
        if source is not None:
            yield from POWER_SOURCE(source)

    def _battery(self) -> Any:
        if not self._supplies.exists():
            return self._of_psutil()
        # psutil takes the battery of a wireless mouse for the machine's when there is no other.
        own = any(
            text(self._supplies / name / "type") == "Battery" and text(self._supplies / name / "scope") != "Device"
            for name in entries(self._supplies)
        )
        return self._of_psutil() if own else None

    def _of_psutil(self) -> Any:
        try:
            return self._ask()
        except FileNotFoundError:
            return None

    def _source(self, battery: Any) -> str | None:
        mains = [self._supplies / n for n in entries(self._supplies) if text(self._supplies / n / "type") == "Mains"]
        online = [state for path in mains if (state := number(path / "online")) is not None]
        if any(online):
            return "ac"
        plugged = battery.power_plugged if battery is not None else None
        if plugged is None:
            return None
        return "ac" if plugged else "battery"
