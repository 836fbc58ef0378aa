"""Fans of a Linux host, from the tachometers of its hwmon chips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tokwatt_exporter.catalogue import FAN_SPEED, FAN_SPEED_MAX
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.linux_hwmon import Fan, Hwmon, fans
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading


class LinuxFan(Collector):
    """Turns a minute of every fan but those of the GPUs."""

    name = "fan"

    def __init__(self, sys: Path = Path("/sys")) -> None:
        self._hwmon = Hwmon(sys)
        self._fans: list[Fan] = []

    def read(self) -> Iterator[Reading]:
        """rpm now. `NotAvailable` where no chip has a tachometer."""
        if self._hwmon.changed() or not self._fans:
            self._fans = [fan for chip in self._hwmon.chips() for fan in fans(chip.path, chip.device)]
        if not self._fans:
            raise NotAvailable("no fan in /sys/class/hwmon")
        for fan in self._fans:
            speed = fan.rpm()
            if speed is not None:
                yield FAN_SPEED(speed, fan=fan.fan)
                if fan.highest is not None:
                    yield FAN_SPEED_MAX(fan.highest, fan=fan.fan)
