"""Temperatures of a Linux host, from hwmon, or from its thermal zones where it has no hwmon chip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tokwatt_exporter.catalogue import TEMPERATURE, TEMPERATURE_LIMIT
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.linux_files import entries, number, text
from tokwatt_exporter.collectors.linux_hwmon import Hwmon, Thermometer, celsius, thermal_device, thermometers
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading


class LinuxTemperature(Collector):
    """°C of every sensor but those of the GPUs, which have collectors of their own."""

    name = "temperature"

    def __init__(self, sys: Path = Path("/sys")) -> None:
        self._zones = sys / "class/thermal"
        self._hwmon = Hwmon(sys)
        self._found: list[tuple[str, Thermometer]] = []

    def read(self) -> Iterator[Reading]:
        """°C now, and the limits. `NotAvailable` where the machine shows no thermometer, as virtual machines do."""
        if self._hwmon.changed() or not self._found:
            chips = self._hwmon.chips()
            self._found = [(chip.device, t) for chip in chips for t in thermometers(chip.path)]
            self._found = self._found or list(_zones(self._zones))
        if not self._found:
            raise NotAvailable("no thermometer in /sys/class/hwmon or /sys/class/thermal")
        for device, thermometer in self._found:
            now = thermometer.celsius()
            if now is not None:
                yield TEMPERATURE(now, device=device, sensor=thermometer.sensor)
                if thermometer.limit is not None:
                    yield TEMPERATURE_LIMIT(thermometer.limit, device=device, sensor=thermometer.sensor)


def _zones(folder: Path) -> Iterator[tuple[str, Thermometer]]:
    """Boards without hwmon still have thermal zones, which one kind of device may have several of."""
    for name in entries(folder):
        zone = folder / name
        kind = text(zone / "type")
        if name.startswith("thermal_zone") and kind:
            limit = _trip(zone)
            yield thermal_device(kind), Thermometer(name.removeprefix("thermal_"), str(zone / "temp"), "", limit)


def _trip(zone: Path) -> float | None:
    """Where the kernel begins to slow the device down: the lowest `passive` trip point."""
    points = [name.removesuffix("_type") for name in entries(zone) if name.endswith("_type")]
    passive = (celsius(number(zone / f"{p}_temp")) for p in points if text(zone / f"{p}_type") == "passive")
    return min((value for value in passive if value is not None and value > 0), default=None)
