"""Power mode of a Mac, from the energy settings of the source it runs on."""

from __future__ import annotations

from collections.abc import Iterator

from tokwatt_exporter.apple import iokit
from tokwatt_exporter.catalogue import POWER_MODE
from tokwatt_exporter.collectors.apple_battery import external_connected
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

#: What the setting says since there is a high power mode; its name is from the time when there was none.
_KEY = "LowPowerMode"
_MODES = {0: "automatic", 1: "low", 2: "high"}


class ApplePowerMode(Collector):
    """The mode that is set for mains or battery, whichever the Mac runs on."""

    name = "power_mode"

    def read(self) -> Iterator[Reading]:
        """The mode now. `NotAvailable` where the settings have none that is known."""
        settings = iokit.power_preferences() or {}
        source = "Battery Power" if external_connected() is False else "AC Power"
        active = settings.get(source)
        mode = _MODES.get(active.get(_KEY, -1)) if isinstance(active, dict) else None
        if mode is None:
            raise NotAvailable("the energy settings name no power mode")
        yield from POWER_MODE(mode)
