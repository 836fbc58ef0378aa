"""Power mode of a Linux laptop, from the ACPI platform profile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tokwatt_exporter.catalogue import POWER_MODE
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.linux_files import text
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

#: The kernel's profiles (Documentation/ABI/testing/sysfs-class-platform-profile); `custom` says nothing.
_MODES = {
    "low-power": "low",
    "cool": "low",
    "quiet": "low",
    "balanced": "automatic",
    "balanced-performance": "high",
    "performance": "high",
    "max-power": "high",
}


class LinuxPowerMode(Collector):
    """The profile that the firmware runs, as one of ours."""

    name = "power_mode"

    def __init__(self, sys: Path = Path("/sys")) -> None:
        self._profile = sys / "firmware/acpi/platform_profile"

    def read(self) -> Iterator[Reading]:
        """The mode now; nothing for a profile that has no place among ours."""
        profile = text(self._profile)
        if profile is None:
            raise NotAvailable("the firmware has no platform profile")
        if profile in _MODES:
            yield from POWER_MODE(_MODES[profile])
