"""Memory traffic of a Mac."""

import pytest

from fakes.apple import chips
from fakes.apple.machine import SimpleChannel, StateChannel
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.apple_memory_bandwidth import AppleMemoryBandwidth
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot


@pytest.fixture
def traffic(mac):
    mac.machine = chips.m1()
    mac.show()
    collector = AppleMemoryBandwidth(mac.clock)
    yield collector
    collector.close()


def bytes_of(traffic):
    """Read and written."""
    seen = Snapshot.of(0, traffic.read())
    return seen.get(c.DRAM_READ(0)), seen.get(c.DRAM_WRITTEN(0))


def count(mac, **grown):
    for name, more in grown.items():
        for channel in mac.machine.channels:
            if channel.name.replace(" ", "_") == name:
                channel.value += more
    mac.show()


def test_totals_count_from_the_start_and_their_parts_are_not_added(mac, traffic):
    assert bytes_of(traffic) == (0, 0)
    count(mac, DCS_RD=5_000, DCS_WR=700, ECPU_DCS_RD=1_000, GFX_DCS_RD=4_000, PCPU0_DCS_WR=700)
    assert bytes_of(traffic) == (5_000, 700)
    count(mac, DCS_RD=1, DCS_WR=2)
    assert bytes_of(traffic) == (5_001, 702)


def test_all_dies_are_summed(mac, traffic):
    for channel in [one for one in mac.machine.channels if one.name.startswith("DCS ")]:
        mac.machine.channels.append(SimpleChannel("AMC Stats", "Perf Counters", f"DIE_1_{channel.name}", "B", 5))
    mac.show()
    bytes_of(traffic)
    count(mac, DCS_RD=100, DIE_1_DCS_RD=20)
    assert bytes_of(traffic) == (120, 0)


def test_without_the_counter_of_one_die_there_is_no_total(mac, traffic):
    other = SimpleChannel("AMC Stats", "Perf Counters", "DIE_1_DCS RD", "B", 5)
    mac.machine.channels.append(other)
    mac.show()
    bytes_of(traffic)
    count(mac, DCS_RD=100)
    other.value = -(2**63)
    mac.show()
    assert bytes_of(traffic) == (None, 0)
    other.value = 25
    mac.show()
    assert bytes_of(traffic) == (120, 0)


def test_counters_that_wake_reset_go_on(mac, traffic):
    bytes_of(traffic)
    count(mac, DCS_RD=100)
    bytes_of(traffic)
    mac.simple("DCS RD").value = 30
    mac.show()
    assert bytes_of(traffic) == (130, 0)


def test_traffic_during_a_sleep_is_not_counted(mac, traffic):
    bytes_of(traffic)
    count(mac, DCS_RD=100)
    bytes_of(traffic)
    count(mac, DCS_RD=10**9)
    traffic.rebase()
    assert bytes_of(traffic) == (100, 0)


def test_a_unit_other_than_bytes_is_not_taken_for_it(mac, traffic):
    for channel in mac.machine.channels:
        if channel.group == "AMC Stats":
            channel.unit = "events"
    mac.show()
    with pytest.raises(NotAvailable):
        bytes_of(traffic)


def test_parts_without_a_total_are_no_total(mac, traffic):
    mac.remove_channel("DCS RD", "DCS WR")
    with pytest.raises(NotAvailable, match="bytes of memory traffic"):
        bytes_of(traffic)


def test_a_group_that_macos_refuses_is_absence(mac, traffic):
    mac.machine.refused.add("AMC Stats")
    mac.show()
    with pytest.raises(NotAvailable, match="bytes of memory traffic"):
        bytes_of(traffic)


def test_histograms_of_later_chips_are_not_taken_for_counters(mac, traffic):
    mac.remove_group("AMC Stats")
    steps = [(f"{gigabytes}GB/s", 24_000_000) for gigabytes in (1, 2, 4, 8, 16, 32)]
    mac.machine.channels.append(StateChannel("PMP", "DCS BW", "AGX RD+WR", steps))
    mac.machine.channels.append(StateChannel("AMC Stats", "Perf Counters", "DCS RD", steps, "B"))
    mac.show()
    with pytest.raises(NotAvailable):
        bytes_of(traffic)
