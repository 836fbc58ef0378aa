"""Energy of the processor through RAPL."""

from pathlib import Path

import pytest

from fakes.sysfs import Machine
from tokwatt_exporter.catalogue import ENERGY, PACKAGE_ENERGY, POWER, SYSTEM_ENERGY, SYSTEM_POWER
from tokwatt_exporter.collectors.linux_rapl import LinuxRapl
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot

MJ = 1_000_000  # microjoules in a joule


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def rapl(machine):
    return LinuxRapl(machine.sys, machine.clock)


def sample(collector):
    return Snapshot.of(0, collector.read())


def test_joules_count_from_the_start_of_the_exporter(machine, rapl):
    machine.rapl("intel-rapl:0", "package-0", 5000 * MJ)
    assert sample(rapl).get(PACKAGE_ENERGY(0)) == 0
    machine.energy("intel-rapl:0", 5100 * MJ)
    assert sample(rapl).get(PACKAGE_ENERGY(0)) == 100


def test_power_is_the_mean_since_the_last_read_and_absent_at_the_first(machine, rapl):
    machine.rapl("intel-rapl:0:0", "core", 10 * MJ)
    assert POWER not in sample(rapl).values
    machine.energy("intel-rapl:0:0", 110 * MJ)
    machine.clock.pass_time(5)
    assert sample(rapl).get(POWER(0, device="cpu")) == 20


def test_a_counter_that_wraps_goes_on(machine, rapl):
    machine.rapl("intel-rapl:0", "package-0", 990 * MJ, wrap=1000 * MJ)
    sample(rapl)
    machine.energy("intel-rapl:0", 15 * MJ)
    assert sample(rapl).get(PACKAGE_ENERGY(0)) == 25


def test_a_counter_whose_range_is_not_known_starts_again_where_it_falls(machine, rapl):
    machine.rapl("intel-rapl:0", "package-0", 990 * MJ)
    machine.write("sys/devices/virtual/powercap/intel-rapl:0", {"max_energy_range_uj": None})
    sample(rapl)
    machine.energy("intel-rapl:0", 15 * MJ)
    assert sample(rapl).get(PACKAGE_ENERGY(0)) == 15


def test_packages_and_their_parts_are_summed_over_sockets_and_dies(machine, rapl):
    zones = {"intel-rapl:0": "package-0-die-0", "intel-rapl:1": "package-0-die-1", "intel-rapl:2": "package-1"}
    for zone, name in zones.items():
        machine.rapl(zone, name, 10 * MJ)
        machine.rapl(f"{zone}:0", "dram", 10 * MJ)
    sample(rapl)
    machine.clock.pass_time(10)
    for zone in zones:
        machine.energy(zone, 110 * MJ)
        machine.energy(f"{zone}:0", 20 * MJ)
    now = sample(rapl)
    assert now.get(PACKAGE_ENERGY(0)) == 300
    assert now.get(ENERGY(0, device="dram")) == 30
    assert now.get(POWER(0, device="dram")) == 3


def test_psys_is_the_whole_machine(machine, rapl):
    machine.rapl("intel-rapl:1", "psys", 10 * MJ)
    sample(rapl)
    machine.clock.pass_time(2)
    machine.energy("intel-rapl:1", 70 * MJ)
    now = sample(rapl)
    assert now.get(SYSTEM_ENERGY(0)) == 60
    assert now.get(SYSTEM_POWER(0)) == 30


def test_the_same_package_seen_through_mmio_is_not_counted_again(machine, rapl):
    machine.rapl("intel-rapl-mmio:0", "package-0", 10 * MJ)
    machine.rapl("intel-rapl:0", "package-0", 10 * MJ)
    sample(rapl)
    machine.energy("intel-rapl-mmio:0", 110 * MJ)
    machine.energy("intel-rapl:0", 110 * MJ)
    assert sample(rapl).get(PACKAGE_ENERGY(0)) == 100


def test_mmio_counts_where_it_is_the_only_interface(machine, rapl):
    machine.rapl("intel-rapl-mmio:0", "package-0", 10 * MJ)
    sample(rapl)
    machine.energy("intel-rapl-mmio:0", 20 * MJ)
    assert sample(rapl).get(PACKAGE_ENERGY(0)) == 10


def test_a_part_whose_counter_stands_at_zero_is_not_there(machine, rapl):
    machine.rapl("intel-rapl:0", "package-0", 10 * MJ)
    machine.rapl("intel-rapl:0:1", "uncore", 0)
    now = sample(rapl)
    assert now.get(PACKAGE_ENERGY(0)) == 0
    assert now.get(ENERGY(0, device="uncore")) is None


def test_a_counter_that_wraps_to_exactly_zero_is_still_there(machine, rapl):
    machine.rapl("intel-rapl:0", "package-0", 990 * MJ, wrap=1000 * MJ)
    sample(rapl)
    machine.energy("intel-rapl:0", 0)
    assert sample(rapl).get(PACKAGE_ENERGY(0)) == 10


def test_a_counter_that_sleep_reset_is_not_taken_for_a_wrap(machine, rapl):
    machine.rapl("intel-rapl:0", "package-0", 5000 * MJ)
    sample(rapl)
    machine.energy("intel-rapl:0", 5100 * MJ)
    machine.clock.pass_time(5)
    sample(rapl)
    machine.energy("intel-rapl:0", 3 * MJ)
    rapl.rebase()
    machine.clock.pass_time(5)
    assert sample(rapl).get(PACKAGE_ENERGY(0)) == 100
    machine.energy("intel-rapl:0", 4 * MJ)
    assert sample(rapl).get(PACKAGE_ENERGY(0)) == 101


def test_counters_that_root_alone_may_read_are_not_available_and_say_what_to_do(machine, rapl, monkeypatch):
    machine.rapl("intel-rapl:0", "package-0", 5000 * MJ)
    real = Path.read_text

    # Tests may run as root, whom no file mode stops.
    def refuse(path, *args, **kwargs):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(NotAvailable, match=r"udev rule.*docs/collectors/rapl\.md"):
        sample(rapl)


def test_zones_that_are_gone_fail_once_and_are_looked_for_again(machine, rapl):
    machine.rapl("intel-rapl:0", "package-0", 5 * MJ)
    sample(rapl)
    machine.write("sys/devices/virtual/powercap/intel-rapl:0", {"energy_uj": None})
    with pytest.raises(FileNotFoundError):
        sample(rapl)
    (machine.sys / "class/powercap/intel-rapl:0").unlink()
    with pytest.raises(NotAvailable, match="no RAPL counters"):
        sample(rapl)


def test_other_powercap_zones_are_not_energy_of_the_processor(machine, rapl):
    machine.rapl("dtpm:0", "package-0", 5 * MJ)
    machine.rapl("intel-rapl:0", "something new", 5 * MJ)
    with pytest.raises(NotAvailable, match="no RAPL counters"):
        sample(rapl)
