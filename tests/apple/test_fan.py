"""Fans of a Mac."""

import struct
from contextlib import closing

import pytest

from fakes.apple.machine import Machine
from tokwatt_exporter.catalogue import FAN_SPEED, FAN_SPEED_MAX
from tokwatt_exporter.collectors.apple_fan import AppleFan
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot


def flt(value):
    return "flt ", struct.pack("<f", value)


def fans(number, **keys):
    return {"FNum": ("ui8 ", bytes([number]))} | {key: flt(value) for key, value in keys.items()}


def sample(fake, smc):
    fake.show(Machine(smc=smc))
    with closing(AppleFan()) as fan:
        return Snapshot.of(0, fan.read())


def test_each_fan_has_its_speed_and_its_highest(fake):
    seen = sample(fake, fans(2, F0Ac=2317.5, F0Mx=5777, F1Ac=2500, F1Mx=6241))
    assert seen.get(FAN_SPEED(0, fan="fan0")) == 2317.5
    assert seen.get(FAN_SPEED_MAX(0, fan="fan0")) == 5777
    assert seen.get(FAN_SPEED(0, fan="fan1")) == 2500
    assert seen.get(FAN_SPEED_MAX(0, fan="fan1")) == 6241


def test_a_fan_at_rest_turns_0_times(fake):
    assert sample(fake, fans(1, F0Ac=0, F0Mx=6241)).get(FAN_SPEED(0, fan="fan0")) == 0


@pytest.mark.parametrize("smc", [fans(0), {}], ids=["none", "no count"])
def test_a_mac_without_fans_has_no_series_of_0_rpm(fake, smc):
    with pytest.raises(NotAvailable, match="no fan"):
        sample(fake, smc)


def test_a_fan_whose_speed_cannot_be_read_has_no_series(fake):
    seen = sample(fake, fans(2, F0Mx=5777, F1Ac=2500))
    assert FAN_SPEED_MAX not in seen.values
    assert [dict(labels) for labels in seen.values[FAN_SPEED]] == [{"fan": "fan1"}]


def test_fans_of_which_none_can_be_read_are_not_available(fake):
    with pytest.raises(NotAvailable, match="can be read"):
        sample(fake, fans(1, F0Mx=5777))


def test_a_count_that_cannot_be_read_for_a_moment_costs_nothing(fake):
    fake.show(Machine(smc=fans(1, F0Ac=2000)))
    with closing(AppleFan()) as fan:
        list(fan.read())
        fake.show(Machine(smc={"F0Ac": flt(2100)}))
        assert Snapshot.of(0, fan.read()).get(FAN_SPEED(0, fan="fan0")) == 2100


def test_without_the_controller_fans_are_not_available(fake):
    with pytest.raises(NotAvailable, match="SMC"):
        sample(fake, None)
