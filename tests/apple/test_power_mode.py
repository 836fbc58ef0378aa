"""Power mode of a Mac."""

import pytest

from fakes.apple.machine import Machine, Node
from tokwatt_exporter.catalogue import POWER_MODE
from tokwatt_exporter.collectors.apple_power_mode import ApplePowerMode
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot


def mode(fake, preferences, external=None):
    battery = Node("AppleSmartBattery", "AppleSmartBattery", {"ExternalConnected": external})
    fake.show(Machine(nodes=[] if external is None else [battery], power_preferences=preferences))
    states = Snapshot.of(0, ApplePowerMode().read()).values[POWER_MODE]
    [current] = [dict(labels)["state"] for labels, on in states.items() if on]
    return current


@pytest.mark.parametrize(("value", "named"), [(0, "automatic"), (1, "low"), (2, "high")])
def test_the_setting_has_three_modes(fake, value, named):
    assert mode(fake, {"AC Power": {"LowPowerMode": value}}) == named


def test_the_mode_is_that_of_the_source_in_use(fake):
    both = {"AC Power": {"LowPowerMode": 2}, "Battery Power": {"LowPowerMode": 1}}
    assert mode(fake, both, external=False) == "low"
    assert mode(fake, both, external=True) == "high"


def test_a_mac_without_a_battery_runs_on_mains(fake):
    assert mode(fake, {"AC Power": {"LowPowerMode": 2}, "Battery Power": {"LowPowerMode": 1}}) == "high"


@pytest.mark.parametrize(
    "preferences",
    [None, {}, {"AC Power": {}}, {"AC Power": {"LowPowerMode": 3}}, {"Battery Power": {"LowPowerMode": 1}}],
)
def test_a_mode_that_is_not_set_or_not_known_is_not_available(fake, preferences):
    with pytest.raises(NotAvailable, match="no power mode"):
        mode(fake, preferences)
