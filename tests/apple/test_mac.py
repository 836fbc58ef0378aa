"""The Mac of the tests: what works draws energy and takes time, all else stands still."""

import pytest

from fakes.apple.mac import Mac
from fakes.apple.machine import Machine
from tokwatt_exporter.apple import mach

SECOND = 24_000_000


def test_time_is_the_same_for_all_clocks(mac):
    wall, awake, ticks = mac.clock.wall(), mac.clock.awake(), mach.absolute_ticks()
    mac.run(2)
    assert (mac.clock.wall() - wall, mac.clock.awake() - awake, mach.absolute_ticks() - ticks) == (2, 2, 2 * SECOND)


def test_asleep_only_the_wall_clock_goes_on(mac):
    wall, awake, ticks = mac.clock.wall(), mac.clock.awake(), mach.absolute_ticks()
    mac.sleep(3600)
    mac.run(1)
    assert (mac.clock.wall() - wall, mac.clock.awake() - awake, mach.absolute_ticks() - ticks) == (3601, 1, SECOND)


@pytest.mark.parametrize("steps", [1, 7])
def test_nothing_is_lost_by_rounding(mac, steps):
    before, joules = mac.machine.cpu_ticks[0], mac.simple("CPU Energy").value
    for _ in range(steps):
        mac.run(1 / steps, cpu=0.3, watts={"CPU Energy": 1.0})
    after = mac.machine.cpu_ticks[0]
    assert [now - then for now, then in zip(after, before, strict=True)] == [30, 0, 70, 0]
    assert mac.simple("CPU Energy").value - joules == 1000


def test_busy_time_is_spent_in_the_fastest_state_and_the_rest_idle(mac):
    before = dict(mac.states("GPUPH").states)
    mac.run(10, gpu=0.25)
    grown = {name: ticks - before[name] for name, ticks in mac.states("GPUPH").states if ticks != before[name]}
    assert grown == {"OFF": 7.5 * SECOND, "P6": 2.5 * SECOND}


@pytest.mark.parametrize(("name", "unit"), [("CPU Energy", 1e3), ("PCIe Port 0 Energy", 1e6), ("GPU Energy", 1e9)])
def test_energy_grows_in_the_channels_own_unit_and_is_published_now(mac, name, unit):
    channel = mac.simple(name)
    before = channel.value
    mac.run(2, watts={name: 3.0})
    assert channel.value - before == 6 * unit
    assert channel.published == mac.machine.absolute_ticks


def test_a_frozen_channel_keeps_value_and_time_until_it_thaws(mac):
    channel = mac.simple("CPU Energy")
    before = channel.value, channel.published
    mac.freeze("CPU Energy")
    mac.run(5, watts={"CPU Energy": 3.0})
    assert (channel.value, channel.published) == before
    mac.thaw("CPU Energy")
    mac.run(1, watts={"CPU Energy": 3.0})
    assert channel.value == before[0] + 3000


def test_energy_can_be_published_in_batches(mac):
    channel, seen = mac.simple("CPU Energy"), []
    start = channel.value
    mac.publish_every = 2.0
    for _ in range(4):
        mac.run(1, watts={"CPU Energy": 1.0})
        seen.append(channel.value - start)
    assert seen == [0, 2000, 2000, 4000]


def test_a_channel_that_is_not_there_draws_no_power(mac):
    with pytest.raises(KeyError, match="no channel"):
        mac.run(1, watts={"CPU Enrgy": 1.0})


def test_a_machine_made_by_hand_runs_too(fake):
    mac = Mac(fake, Machine(cpu_ticks=[(0, 0, 0, 0)]))
    mac.run(1, cpu=1.0)
    assert mach.processor_ticks() == [(100, 0, 0, 0)]
