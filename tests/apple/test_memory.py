"""Memory of a Mac."""

import struct

import pytest

from fakes.apple import recordings
from fakes.apple.machine import Machine
from support.captures import shared_captures
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.apple import mach
from tokwatt_exporter.collectors.apple_memory import AppleMemory
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot

PAGE = 16384
PAGES = {
    "free": 5000, "speculative": 1000, "inactive": 20000, "active": 21000, "wire": 30000, "internal": 40000,
    "external": 7000, "purgeable": 500, "compressor": 6000, "uncompressed_in_compressor": 18000,
    "swapins": 100, "swapouts": 300,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _kernel_not_met(monkeypatch):
    # How much room a kernel wants is remembered, and each of these Macs is another one.
    monkeypatch.setattr(mach, "_vm_counts", {})


def integer(value, size=8):
    return value.to_bytes(size, "little", signed=True)


def mac(vm=PAGES, **more):
    sysctls = {
        "hw.memsize": integer(16 * 2**30),
        "vm.swapusage": struct.pack("<QQQII", 3 * 2**30, 2**30, 2 * 2**30, PAGE, 1),
        "kern.memorystatus_vm_pressure_level": integer(1, 4),
    }
    return Machine(sysctls=sysctls, vm=vm, **more)


def sample(fake, machine):
    fake.show(machine)
    return Snapshot.of(0, AppleMemory().read())


def reason(snapshot):
    return [dict(labels)["reason"] for labels in snapshot.values.get(c.COLLECTOR_PROBLEM, {})]


def test_used_memory_is_app_wired_and_compressed_as_in_activity_monitor(fake):
    seen = sample(fake, mac())
    assert seen.get(c.MEMORY_USED(0, kind="app")) == (40000 - 500) * PAGE
    assert seen.get(c.MEMORY_USED(0, kind="wired")) == 30000 * PAGE
    assert seen.get(c.MEMORY_USED(0, kind="compressed")) == 6000 * PAGE
    assert seen.get(c.MEMORY_CACHED(0)) == (7000 + 500) * PAGE


def test_the_compressor_holds_more_than_it_takes(fake):
    assert sample(fake, mac()).get(c.MEMORY_COMPRESSED(0)) == 18000 * PAGE


def test_free_and_inactive_pages_are_available_and_speculative_ones_are_not_counted_twice(fake):
    assert sample(fake, mac()).get(c.MEMORY_AVAILABLE(0)) == 25000 * PAGE


def test_pages_have_the_size_that_the_kernel_says(fake):
    seen = sample(fake, mac(page_size=4096))
    assert seen.get(c.MEMORY_USED(0, kind="wired")) == 30000 * 4096
    assert seen.get(c.SWAP_IN(0)) == 100 * 4096


def test_swap_is_size_use_and_traffic_in_both_directions(fake):
    seen = sample(fake, mac())
    assert seen.get(c.SWAP_SIZE(0)) == 3 * 2**30
    assert seen.get(c.SWAP_USED(0)) == 2 * 2**30
    assert seen.get(c.SWAP_IN(0)) == 100 * PAGE
    assert seen.get(c.SWAP_OUT(0)) == 300 * PAGE


def test_no_swap_file_yet_is_a_swap_of_size_0(fake):
    machine = mac()
    machine.sysctls["vm.swapusage"] = bytes(32)
    assert sample(fake, machine).get(c.SWAP_SIZE(0)) == 0


def test_no_word_of_swap_is_no_swap_series(fake):
    machine = mac()
    del machine.sysctls["vm.swapusage"]
    assert not {c.SWAP_SIZE, c.SWAP_USED} & sample(fake, machine).values.keys()


@pytest.mark.parametrize(("level", "state"), [(1, "normal"), (2, "warn"), (4, "critical")])
def test_the_pressure_is_what_the_kernel_says(fake, level, state):
    machine = mac()
    machine.sysctls["kern.memorystatus_vm_pressure_level"] = integer(level, 4)
    seen = sample(fake, machine)
    assert [dict(labels)["state"] for labels, on in seen.values[c.MEMORY_PRESSURE].items() if on] == [state]


def test_a_pressure_level_that_is_not_known_is_absent_and_a_row_says_so(fake):
    machine = mac()
    machine.sysctls["kern.memorystatus_vm_pressure_level"] = integer(3, 4)
    seen = sample(fake, machine)
    assert c.MEMORY_PRESSURE not in seen.values
    assert reason(seen) == ["no memory pressure level that is known"]
    assert c.MEMORY_SIZE in seen.values


def test_without_page_counts_the_size_is_left_and_a_row_says_what_is_not(fake):
    seen = sample(fake, mac(vm=None))
    assert seen.get(c.MEMORY_SIZE(0)) == 16 * 2**30
    assert not {c.MEMORY_USED, c.MEMORY_AVAILABLE, c.SWAP_IN} & seen.values.keys()
    assert reason(seen) == ["host_statistics64 gives nothing"]


def test_page_counts_that_fail_are_not_those_of_the_sample_before(fake):
    memory = AppleMemory()
    fake.show(mac())
    assert c.MEMORY_USED in Snapshot.of(0, memory.read()).values
    fake.show(mac(vm=None))
    assert c.MEMORY_USED not in Snapshot.of(0, memory.read()).values


def test_a_kernel_with_a_larger_struct_that_answers_from_its_cache_is_asked_again(fake):
    seen = sample(fake, mac(vm_count=62, vm_cached=True))
    assert seen.get(c.MEMORY_USED(0, kind="wired")) == 30000 * PAGE


def test_without_any_source_memory_is_not_available(fake):
    fake.show(Machine())
    with pytest.raises(NotAvailable, match="no hw"):
        list(AppleMemory().read())


def test_a_mac_that_swaps_heavily_uses_what_activity_monitor_shows(fake):
    recording = recordings.read((shared_captures() / "macos/memory/m_16gb_vm_stat_swapping.txt").read_bytes())
    recording.machine.sysctls["hw.memsize"] = integer(16 * 2**30)
    seen = sample(fake, recording.machine)
    assert seen.get(c.MEMORY_USED(0, kind="app")) == (247760 - 2) * PAGE
    assert seen.get(c.MEMORY_USED(0, kind="compressed")) == 389264 * PAGE
    used = sum(seen.values[c.MEMORY_USED].values())
    assert 0.8 < used / (16 * 2**30) < 1
    assert seen.get(c.SWAP_OUT(0)) == 11141085 * PAGE
