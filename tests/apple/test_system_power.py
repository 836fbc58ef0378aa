"""Power of the whole Mac."""

import struct
from contextlib import closing

import pytest

from fakes.apple.machine import Machine
from fakes.sysfs import FakeTime
from support.snapshots import sample
from tokwatt_exporter.catalogue import COLLECTOR_PROBLEM, SYSTEM_ENERGY, SYSTEM_POWER
from tokwatt_exporter.collectors.apple_system_power import AppleSystemPower
from tokwatt_exporter.errors import NotAvailable


@pytest.fixture
def clock():
    return FakeTime()


@pytest.fixture
def power(fake, clock):
    with closing(AppleSystemPower(clock)) as collector:
        yield collector


def draw(fake, watts):
    fake.show(Machine(smc={"PSTR": ("flt ", struct.pack("<f", watts))}))


def test_watts_are_what_the_controller_measures(fake, power):
    draw(fake, 12.5)
    assert sample(power).get(SYSTEM_POWER(0)) == 12.5


def test_joules_are_the_watts_over_the_time_between(fake, power, clock):
    draw(fake, 10)
    assert sample(power).get(SYSTEM_ENERGY(0)) == 0
    clock.pass_time(4)
    draw(fake, 20)
    assert sample(power).get(SYSTEM_ENERGY(0)) == 60


@pytest.mark.parametrize("watts", [0, -1])
def test_a_controller_that_says_0_watts_measures_none(fake, power, watts):
    draw(fake, watts)
    with pytest.raises(NotAvailable, match="does not measure"):
        sample(power)


def test_a_controller_without_the_key_measures_none(fake, power):
    fake.show(Machine(smc={"FNum": ("ui8 ", b"\0")}))
    with pytest.raises(NotAvailable, match="does not measure"):
        sample(power)


def test_without_the_controller_it_is_not_available(fake, power):
    fake.show(Machine())
    with pytest.raises(NotAvailable, match="SMC"):
        sample(power)


def test_a_gap_in_the_readings_adds_nothing_to_the_joules(fake, power, clock):
    draw(fake, 10)
    sample(power)
    clock.pass_time(60)
    draw(fake, 0)
    assert sample(power).values.keys() == {COLLECTOR_PROBLEM}
    clock.pass_time(60)
    draw(fake, 10)
    assert sample(power).get(SYSTEM_ENERGY(0)) == 0


def test_sleep_adds_nothing_to_the_joules(fake, power, clock):
    draw(fake, 10)
    sample(power)
    clock.pass_time(3, asleep=6 * 3600)
    power.rebase()
    assert sample(power).get(SYSTEM_ENERGY(0)) == 0
