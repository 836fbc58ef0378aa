"""Battery, adapter and power source of a Mac."""

import pytest

from fakes.apple import recordings
from fakes.apple.machine import Machine, Node
from support.captures import shared_captures
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.apple import iokit
from tokwatt_exporter.collectors.apple_battery import AppleBattery
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot

PACK = c.TEMPERATURE(0, device="battery", sensor="pack")


def driver(**changes):
    properties = {
        "BatteryInstalled": True, "CurrentCapacity": 48, "MaxCapacity": 100, "AppleRawMaxCapacity": 5400,
        "DesignCapacity": 6000, "CycleCount": 194, "Voltage": 12000, "InstantAmperage": 2**64 - 1050, "Amperage": 7,
        "Temperature": 3095, "ExternalConnected": False, "AdapterDetails": {"FamilyCode": 0}, "Serial": "SECRET",
    }  # fmt: skip
    kept = {key: value for key, value in (properties | changes).items() if value is not None}
    return Machine(nodes=[Node("AppleSmartBattery", "AppleSmartBattery", kept)])


def sample(fake, machine):
    fake.show(machine)
    return Snapshot.of(0, AppleBattery().read())


def source(snapshot):
    return [dict(labels)["state"] for labels, on in snapshot.values.get(c.POWER_SOURCE, {}).items() if on]


def test_power_out_of_the_battery_is_negative(fake):
    assert sample(fake, driver()).get(c.BATTERY_POWER(0)) == -12.6


def test_a_current_that_comes_as_64_unsigned_bits_is_negative_too(fake, monkeypatch):
    def unsigned(self, key, read=iokit.Entry.property):
        value = read(self, key)
        return value % 2**64 if type(value) is int else value

    monkeypatch.setattr(iokit.Entry, "property", unsigned)
    assert sample(fake, driver()).get(c.BATTERY_POWER(0)) == -12.6


def test_power_into_the_battery_is_positive(fake):
    assert sample(fake, driver(InstantAmperage=1500)).get(c.BATTERY_POWER(0)) == 18


def test_a_driver_without_the_current_of_now_has_its_mean(fake):
    assert sample(fake, driver(InstantAmperage=None, Amperage=-500)).get(c.BATTERY_POWER(0)) == -6


def test_charge_health_and_cycles(fake):
    seen = sample(fake, driver())
    assert seen.get(c.BATTERY_CHARGE(0)) == 0.48
    assert seen.get(c.BATTERY_HEALTH(0)) == 0.9
    assert seen.get(c.BATTERY_CYCLES(0)) == 194


def test_the_temperature_is_in_hundredths(fake):
    assert sample(fake, driver()).get(PACK) == 30.95


@pytest.mark.parametrize("temperature", [0, 2**64 - 2170, 65535, None])
def test_a_temperature_that_cannot_be_is_absent(fake, temperature):
    assert sample(fake, driver(Temperature=temperature)).get(PACK) is None


def test_the_source_is_the_battery_where_nothing_is_connected(fake):
    assert source(sample(fake, driver())) == ["battery"]
    assert source(sample(fake, driver(ExternalConnected=True))) == ["ac"]


def test_an_adapter_that_was_unplugged_gives_no_power(fake):
    details = {"Watts": 96, "SerialString": "SECRET"}
    assert c.ADAPTER_POWER not in sample(fake, driver(AdapterDetails=details)).values
    attached = sample(fake, driver(AdapterDetails=details, ExternalConnected=True))
    assert attached.get(c.ADAPTER_POWER(0)) == 96


@pytest.mark.parametrize("details", [None, {}, {"Watts": 0}, {"Watts": "96"}, 7])
def test_an_adapter_that_does_not_say_its_watts_has_no_series(fake, details):
    assert c.ADAPTER_POWER not in sample(fake, driver(AdapterDetails=details, ExternalConnected=True)).values


@pytest.mark.parametrize(
    ("missing", "family"),
    [
        ("CurrentCapacity", c.BATTERY_CHARGE),
        ("MaxCapacity", c.BATTERY_CHARGE),
        ("AppleRawMaxCapacity", c.BATTERY_HEALTH),
        ("DesignCapacity", c.BATTERY_HEALTH),
        ("CycleCount", c.BATTERY_CYCLES),
        ("Voltage", c.BATTERY_POWER),
        ("ExternalConnected", c.POWER_SOURCE),
    ],
)
def test_what_the_driver_does_not_say_has_no_series(fake, missing, family):
    seen = sample(fake, driver(**{missing: None}))
    assert family not in seen.values
    assert len(seen.values) >= 5


def test_a_slot_without_a_battery_says_only_where_the_power_comes_from(fake):
    seen = sample(fake, driver(BatteryInstalled=False, ExternalConnected=True))
    assert seen.values.keys() == {c.POWER_SOURCE}


@pytest.mark.parametrize(
    "machine",
    [Machine(), driver(BatteryInstalled=False, ExternalConnected=None)],
    ids=["no driver", "a driver of nothing"],
)
def test_a_mac_without_a_battery_has_none(fake, machine):
    with pytest.raises(NotAvailable, match="no battery"):
        sample(fake, machine)


def test_a_real_battery_that_charges(fake):
    capture = shared_captures() / "macos/ioreg/m_16gb_battery_applesmartbattery.txt"
    seen = sample(fake, recordings.read(capture.read_bytes()).machine)
    assert seen.get(c.BATTERY_CHARGE(0)) == 0.73
    assert seen.get(c.BATTERY_HEALTH(0)) == pytest.approx(5287 / 6075)
    assert seen.get(c.BATTERY_CYCLES(0)) == 194
    assert seen.get(c.BATTERY_POWER(0)) == pytest.approx(12.369 * 2.566)
    assert seen.get(c.ADAPTER_POWER(0)) == 60
    assert seen.get(PACK) == 30.9
    assert source(seen) == ["ac"]
    assert not any("REDACTED" in text for reading in seen for pair in reading.labels for text in pair)
