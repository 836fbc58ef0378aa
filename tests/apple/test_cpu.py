"""CPU of a Mac: clusters under the names of the OS, and busy time."""

import pytest

from fakes.apple import chips, recordings
from support.captures import shared_captures
from support.snapshots import reasons, sample
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.apple_cpu import AppleCpu

MHZ = 1e6


@pytest.fixture
def cpu(mac):
    collector = AppleCpu()
    yield collector
    collector.close()


def clusters(snapshot, family):
    return {labels[0][1]: value for labels, value in snapshot.values.get(family, {}).items()}


def test_busy_seconds_are_those_since_boot_and_grow_with_the_load_of_each_core(mac, cpu):
    mac.show(chips.m1())
    mac.machine.cpu_ticks = [(100 * n, 50, 9_000, 7) for n in range(8)]
    mac.show()
    busy = clusters(sample(cpu), c.CPU_BUSY)
    assert busy == {"efficiency": pytest.approx(6 + 4 * 0.57), "performance": pytest.approx(22 + 4 * 0.57)}
    mac.run(10, cpu=0.5)
    assert clusters(sample(cpu), c.CPU_BUSY) == {name: pytest.approx(value + 20) for name, value in busy.items()}


def test_ticks_that_come_round_after_497_days_go_on(mac, cpu):
    mac.show(chips.virtual())
    mac.machine.cpu_ticks = [(2**32 - 100, 0, 0, 0)] * 4
    mac.show()
    before = clusters(sample(cpu), c.CPU_BUSY)["cpu"]
    mac.machine.cpu_ticks = [(100, 0, 0, 0)] * 4
    mac.show()
    assert clusters(sample(cpu), c.CPU_BUSY)["cpu"] == before + 4 * 2
    mac.machine.cpu_ticks = [(200, 0, 0, 0)] * 4
    mac.show()
    assert clusters(sample(cpu), c.CPU_BUSY)["cpu"] == before + 4 * 3


def test_a_small_step_back_of_the_kernel_is_no_turn_of_the_counter(mac, cpu):
    mac.show(chips.virtual())
    mac.machine.cpu_ticks = [(1_000, 0, 0, 0)] * 4
    mac.show()
    sample(cpu)
    mac.machine.cpu_ticks = [(998, 0, 0, 0)] * 4
    mac.show()
    assert clusters(sample(cpu), c.CPU_BUSY)["cpu"] == 40


@pytest.mark.parametrize(
    ("chip", "cores"),
    [
        (chips.m1, {"efficiency": 4, "performance": 4}),
        (chips.m2_ultra, {"efficiency": 8, "performance": 16}),
        (chips.m4_pro, {"efficiency": 4, "performance": 10}),
        (chips.m5_max, {"performance": 12, "super": 6}),
        (chips.m6, {"efficiency": 6, "performance": 4, "super": 2}),
        (chips.a18_pro, {"efficiency": 4, "performance": 2}),
        (chips.virtual, {"cpu": 4}),
    ],
)
def test_clusters_are_the_levels_of_the_os_under_its_names(mac, cpu, chip, cores):
    mac.show(chip())
    seen = sample(cpu)
    assert clusters(seen, c.CPU_CORES) == cores
    assert clusters(seen, c.CPU_BUSY) == {name: 15 * count for name, count in cores.items()}


@pytest.mark.parametrize(
    "property",
    [
        {"logical-cpu-id": 0},
        {"logical-cpu-id": b"\0\0\0\0", "cluster-type": "E"},
        {"logical-cpu-id": b"\0\0\0\0\0\0\0\0", "cluster-type": b"E"},
    ],
)
def test_the_device_tree_may_have_numbers_or_data(mac, cpu, property):
    machine = chips.m1()
    machine.nodes[0].children[0].properties |= property
    mac.show(machine)
    assert clusters(sample(cpu), c.CPU_CORES) == {"efficiency": 4, "performance": 4}


@pytest.mark.parametrize("gone", ["cluster-type", "logical-cpu-id"])
def test_without_the_kind_of_each_core_all_are_one_cluster(mac, cpu, gone):
    machine = chips.m1()
    del machine.nodes[0].children[3].properties[gone]
    machine.nodes[-1].properties["voltage-states1-sram"] = chips.table((*chips.M1_E[:-1], 3300), chips.MHZ)
    mac.show(machine)
    sample(cpu)
    mac.run(5, cpu=0.2)
    seen = sample(cpu)
    assert clusters(seen, c.CPU_CORES) == {"cpu": 8}
    assert clusters(seen, c.CPU_BUSY) == {"cpu": pytest.approx(8 * 16)}
    assert clusters(seen, c.CPU_FREQUENCY) == {"cpu": pytest.approx((3300 + 3204) / 2 * MHZ)}
    assert clusters(seen, c.CPU_FREQUENCY_MAX) == {"cpu": 3300 * MHZ}


def test_a_kind_of_cores_that_is_not_known_is_not_given_a_name(mac, cpu):
    machine = chips.m1()
    for node in machine.nodes[0].children[:4]:
        node.properties["cluster-type"] = b"Q\0"
    mac.show(machine)
    assert clusters(sample(cpu), c.CPU_CORES) == {"cpu": 8}


def test_more_levels_than_kinds_cannot_be_told_apart(mac, cpu):
    machine = chips.m6()
    for node in machine.nodes[0].children:
        if node.properties["cluster-type"] == b"M\0":
            node.properties["cluster-type"] = b"P\0"
    mac.show(machine)
    assert clusters(sample(cpu), c.CPU_CORES) == {"cpu": 12}


def test_a_machine_with_one_level_has_one_cluster_whatever_it_is_called(mac, cpu):
    machine = chips.virtual()
    machine.nodes = [chips.device_tree("PPPP")]
    mac.show(machine)
    assert clusters(sample(cpu), c.CPU_CORES) == {"cpu": 4}


def test_in_a_virtual_machine_the_load_is_there_and_the_clocks_are_said_to_be_missing(mac, cpu):
    mac.show(chips.virtual())
    seen = sample(cpu)
    assert clusters(seen, c.CPU_CORES) == {"cpu": 4}
    assert c.CPU_FREQUENCY_MAX not in seen.values
    assert reasons(seen) == ["macOS does not report the performance states of the cores"]


def test_the_processor_is_identified_by_the_kernel(mac, cpu):
    mac.show(chips.m5_max())
    seen = sample(cpu)
    assert seen.get(c.DEVICE_INFO(device="cpu", kind="cpu", vendor="Apple", model="Apple M5 Max", cores="18")) == 1


@pytest.mark.parametrize(
    ("name", "chip", "cores"),
    [
        ("m5max_perflevels.txt", chips.m5_max, {"performance": 12, "super": 6}),
        ("m4pro_macos26.2_25C56_perflevels.txt", chips.m4_pro, {"efficiency": 4, "performance": 10}),
        ("m1_j313_hw_nofeat.txt", chips.m1, {"efficiency": 4, "performance": 4}),
    ],
)
def test_real_levels(mac, cpu, name, chip, cores):
    machine = chip()
    recorded = shared_captures() / "macos" / "sysctl" / name
    machine.sysctls = recordings.read(recorded.read_bytes()).machine.sysctls
    mac.show(machine)
    assert clusters(sample(cpu), c.CPU_CORES) == cores


def test_real_levels_of_m6_whose_logical_cpus_were_not_recorded(mac, cpu):
    machine = chips.m6()
    recorded = shared_captures() / "macos" / "sysctl" / "m6_macos27.0.1_perflevels_partial.txt"
    machine.sysctls = recordings.read(recorded.read_bytes()).machine.sysctls
    mac.show(machine)
    seen = sample(cpu)
    assert clusters(seen, c.CPU_CORES) == {"efficiency": 6, "performance": 4, "super": 2}
