"""Battery, adapter and power source of a Mac, from the driver of its battery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tokwatt_exporter.apple import iokit
from tokwatt_exporter.catalogue import (
    ADAPTER_POWER,
    BATTERY_CHARGE,
    BATTERY_CYCLES,
    BATTERY_HEALTH,
    BATTERY_POWER,
    POWER_SOURCE,
    TEMPERATURE,
)
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

DRIVER = "AppleSmartBattery"


class AppleBattery(Collector):
    """Ratios, cycles, watts and °C now; serial numbers are left where they are."""

    name = "battery"

    def read(self) -> Iterator[Reading]:
        """The values now. `NotAvailable` on a Mac that has no battery."""
        readings: list[Reading] = []
        for driver in iokit.services(DRIVER):
            readings += [*_battery(driver), *_supply(driver)]
        if not readings:
            raise NotAvailable("no battery")
        yield from readings


def external_connected() -> bool | None:
    """Whether the power comes from outside, as the battery's driver knows it; None on a Mac that has none."""
    for driver in iokit.services(DRIVER):
        connected = driver.property("ExternalConnected")
        return connected if isinstance(connected, bool) else None
    return None


def _battery(driver: iokit.Entry) -> Iterator[Reading]:
    if driver.property("BatteryInstalled") is False:
        return
    charge, full = _number(driver, "CurrentCapacity"), _number(driver, "MaxCapacity")
    if charge is not None and full:
        yield BATTERY_CHARGE(min(charge / full, 1.0))
    # Both in mAh, where CurrentCapacity and MaxCapacity are in percent.
    holds, designed = _number(driver, "AppleRawMaxCapacity"), _number(driver, "DesignCapacity")
    if holds and designed:
        yield BATTERY_HEALTH(holds / designed)
    cycles = _number(driver, "CycleCount")
    if cycles is not None:
        yield BATTERY_CYCLES(cycles)
    millivolts, milliamperes = _number(driver, "Voltage"), _number(driver, "InstantAmperage")
    if milliamperes is None:
        milliamperes = _number(driver, "Amperage")
    if millivolts and milliamperes is not None:
        yield BATTERY_POWER(millivolts * milliamperes / 1e6)
    hundredths = _number(driver, "Temperature")
    if hundredths and 0 < hundredths < 15000:
        yield TEMPERATURE(hundredths / 100, device="battery", sensor="pack")


def _supply(driver: iokit.Entry) -> Iterator[Reading]:
    external = driver.property("ExternalConnected")
    if not isinstance(external, bool):
        return
    yield from POWER_SOURCE("ac" if external else "battery")
    adapter = driver.property("AdapterDetails")
    watts = _signed(adapter.get("Watts")) if isinstance(adapter, dict) else None
    # The details of an adapter stay for a while after it was unplugged.
    if external and watts is not None and watts > 0:
        yield ADAPTER_POWER(watts)


def _number(driver: iokit.Entry, key: str) -> int | None:
    return _signed(driver.property(key))


def _signed(value: Any) -> int | None:
    """Negative numbers are stored as what they are as unsigned ones of 64 bits."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value - 2**64 if value >= 2**63 else value
