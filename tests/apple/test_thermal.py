"""Thermal pressure of a Mac."""

from contextlib import closing

import pytest

from fakes.apple.machine import Machine
from fakes.sysfs import FakeTime
from support.snapshots import sample
from tokwatt_exporter.apple import notify
from tokwatt_exporter.catalogue import COLLECTOR_PROBLEM, THERMAL_STATE, THROTTLED
from tokwatt_exporter.collectors.apple_thermal import AppleThermal
from tokwatt_exporter.errors import NotAvailable

THROTTLED_SOC = THROTTLED(0, device="soc", reason="thermal")


@pytest.fixture
def clock():
    return FakeTime()


@pytest.fixture
def thermal(fake, clock):
    with closing(AppleThermal(clock)) as collector:
        yield collector


def post(fake, level):
    fake.show(Machine(notify={"com.apple.system.thermalpressurelevel": level}))


@pytest.mark.parametrize(
    ("level", "state"), [(0, "nominal"), (1, "fair"), (2, "serious"), (3, "critical"), (4, "critical")]
)
def test_the_levels_of_macos_are_our_states(fake, thermal, level, state):
    post(fake, level)
    states = sample(thermal).values[THERMAL_STATE]
    assert [dict(labels)["state"] for labels, on in states.items() if on] == [state]


@pytest.mark.parametrize("level", [5, 30, 2**64 - 1])
def test_a_level_of_another_system_is_absent_and_a_row_says_so(fake, thermal, level):
    post(fake, level)
    seen = sample(thermal)
    assert seen.values.keys() == {COLLECTOR_PROBLEM}
    [labels] = seen.values[COLLECTOR_PROBLEM]
    assert dict(labels)["reason"] == "a thermal pressure level that macOS does not have"


@pytest.mark.parametrize(("level", "seconds"), [(0, 0), (1, 0), (2, 10), (3, 10), (4, 10)])
def test_throttled_seconds_are_those_at_heavy_pressure_and_above(fake, thermal, clock, level, seconds):
    post(fake, level)
    assert sample(thermal).get(THROTTLED_SOC) == 0
    clock.pass_time(10)
    assert sample(thermal).get(THROTTLED_SOC) == seconds


def test_time_asleep_is_not_throttled(fake, thermal, clock):
    post(fake, 2)
    sample(thermal)
    clock.pass_time(1, asleep=6 * 3600)
    thermal.rebase()
    assert sample(thermal).get(THROTTLED_SOC) == 0


def test_time_at_an_unknown_level_is_not_throttled(fake, thermal, clock):
    post(fake, 2)
    sample(thermal)
    post(fake, 30)
    clock.pass_time(100)
    sample(thermal)
    clock.pass_time(100)
    post(fake, 2)
    assert sample(thermal).get(THROTTLED_SOC) == 0
    clock.pass_time(5)
    assert sample(thermal).get(THROTTLED_SOC) == 5


def test_an_os_that_does_not_tell_has_no_state(fake, thermal, monkeypatch):
    monkeypatch.setattr(notify.Notification, "state", lambda self: None)
    with pytest.raises(NotAvailable, match="does not tell"):
        sample(thermal)
