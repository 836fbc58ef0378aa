"""Clocks of a Mac's CPU, by the time that its cores spent in each state."""

import pytest

from fakes.apple import chips, recordings
from fakes.apple.machine import StateChannel
from support.captures import shared_captures
from support.snapshots import reasons, sample
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.apple_cpu import AppleCpu

MHZ = 1e6
TICKS = 24_000_000


@pytest.fixture
def cpu(mac):
    collector = AppleCpu()
    yield collector
    collector.close()


def clusters(snapshot, family):
    return {labels[0][1]: value for labels, value in snapshot.values.get(family, {}).items()}


def load(mac, **states):
    """One second, in which channels spend these shares of it in these states."""
    for name, shares in states.items():
        channel = mac.channel(name)
        channel.states = [(state, ticks + round(TICKS * shares.get(state, 0))) for state, ticks in channel.states]
    mac.show()


@pytest.mark.parametrize(
    ("chip", "highest"),
    [
        (chips.m1, {"efficiency": 2064, "performance": 3204}),
        (chips.m2_ultra, {"efficiency": 2424, "performance": 3504}),
        (chips.m4_pro, {"efficiency": 2592, "performance": 4512}),
        (chips.m5_max, {"performance": 4380, "super": 4608}),
        (chips.m6, {"efficiency": 2900, "performance": 4000, "super": 4800}),
    ],
)
def test_clocks_are_of_the_cluster_whose_cores_they_are(mac, cpu, chip, highest):
    mac.show(chip())
    sample(cpu)
    mac.run(2, cpu=0.3)
    seen = sample(cpu)
    assert clusters(seen, c.CPU_FREQUENCY_MAX) == {name: mhz * MHZ for name, mhz in highest.items()}
    # All their time at work was in their last state.
    last = {"performance": 4416} if chip is chips.m4_pro else {}
    assert clusters(seen, c.CPU_FREQUENCY) == {
        name: pytest.approx(mhz * MHZ) for name, mhz in {**highest, **last}.items()
    }


def test_the_clock_is_the_mean_over_the_time_at_work_of_all_cores(mac, cpu):
    mac.show(chips.m1())
    sample(cpu)
    load(
        mac,
        ECPU000={"IDLE": 0.5, "V0P4": 0.4, "V4P0": 0.1},
        ECPU010={"IDLE": 0.9, "V1P3": 0.1},
        PCPU000={"IDLE": 1.0},
    )
    seen = sample(cpu)
    assert seen.get(c.CPU_FREQUENCY(0, cluster="efficiency")) == pytest.approx(
        (0.4 * 600 + 0.1 * 2064 + 0.1 * 972) / 0.6 * MHZ
    )
    # No core of it worked, so it had no clock.
    assert seen.get(c.CPU_FREQUENCY(0, cluster="performance")) is None
    assert seen.get(c.CPU_FREQUENCY_MAX(0, cluster="performance")) == 3204 * MHZ


def test_there_is_no_clock_before_the_second_read_nor_right_after_a_sleep(mac, cpu):
    mac.show(chips.m1())
    mac.run(100, cpu=1)
    assert c.CPU_FREQUENCY not in sample(cpu).values
    mac.run(5, cpu=1)
    assert c.CPU_FREQUENCY in sample(cpu).values
    mac.run(6 * 3600, cpu=1)
    cpu.rebase()
    assert c.CPU_FREQUENCY not in sample(cpu).values


def test_a_core_that_is_down_is_not_at_work_though_that_is_its_first_state(mac, cpu):
    mac.show(chips.m4_pro())
    sample(cpu)
    load(mac, ECPU000={"DOWN": 0.8, "IDLE": 0.1, "V0P6": 0.1})
    assert sample(cpu).get(c.CPU_FREQUENCY(0, cluster="efficiency")) == 1020 * MHZ


def test_residencies_that_start_anew_are_no_interval(mac, cpu):
    mac.show(chips.m1())
    mac.run(10, cpu=1)
    sample(cpu)
    for channel in mac.machine.channels:
        if isinstance(channel, StateChannel):
            channel.states = [(name, 7) for name, _ in channel.states]
    mac.show()
    assert c.CPU_FREQUENCY not in sample(cpu).values
    mac.run(5, cpu=0.5)
    assert sample(cpu).get(c.CPU_FREQUENCY(0, cluster="efficiency")) == 2064 * MHZ


def test_a_state_without_a_name_says_nothing_of_the_ones_beside_it(mac, cpu):
    mac.show(chips.m1())
    for channel in mac.machine.channels:
        if isinstance(channel, StateChannel):
            channel.states[0] = (None, 0)
    mac.show()
    sample(cpu)
    mac.run(5, cpu=0.5)
    assert c.CPU_FREQUENCY not in sample(cpu).values


def test_the_second_performance_cluster_runs_at_its_own_clocks(mac, cpu):
    machine = chips.m4_pro()
    node = next(node for node in machine.nodes if node.name == "pmgr")
    node.properties["voltage-states13-sram"] = chips.table((1000, 2000), 1000)
    mac.show(machine)
    sample(cpu)
    load(mac, PCPU120={"V0P18": 0.5})
    assert sample(cpu).get(c.CPU_FREQUENCY(0, cluster="performance")) == 1000 * MHZ


def test_clusters_of_a_kind_share_a_table_where_there_is_only_one(mac, cpu):
    mac.show(chips.m4_pro())
    del mac.node("pmgr").properties["voltage-states13-sram"]
    mac.show()
    sample(cpu)
    load(mac, PCPU120={"V5P13": 0.5})
    assert sample(cpu).get(c.CPU_FREQUENCY(0, cluster="performance")) == 2616 * MHZ


@pytest.mark.parametrize("name", ["PCPU000", "PCPU0_3", "DIE_0_PCPU_CPU0", "DIE0 PCPU000", "PRIM PCPU000"])
def test_names_of_cores_may_be_of_any_chip(mac, cpu, name):
    machine = chips.m1()
    machine.channels = [chips.core(name, len(chips.M1_P)), chips.core("PCPM", 2), chips.core("PCPU0_SRAM", 2)]
    mac.show(machine)
    sample(cpu)
    mac.run(1, cpu=1)
    # What is no core would have pulled the mean down.
    assert sample(cpu).get(c.CPU_FREQUENCY(0, cluster="performance")) == 3204 * MHZ


def test_without_tables_residencies_make_no_clock(mac, cpu):
    machine = chips.m1()
    machine.nodes = [node for node in machine.nodes if node.name != "pmgr"]
    mac.show(machine)
    sample(cpu)
    mac.run(5, cpu=0.5)
    seen = sample(cpu)
    assert c.CPU_FREQUENCY not in seen.values
    assert reasons(seen) == ["no table of the clocks of the cores"]


@pytest.mark.parametrize(
    ("name", "chip", "clocks"),
    [
        # The core of the second cluster rested; the others of P ran at the last of 17 clocks.
        ("m2ultra_cpu_core_states_partial.txt", chips.m2_ultra, {"performance": 3504, "efficiency": 1156.885}),
        ("m4pro_macos27_cpu_gpu_states_partial.txt", chips.m4_pro, {"performance": 2615.625}),
    ],
)
def test_real_residencies(mac, cpu, name, chip, clocks):
    recording = recordings.read((shared_captures() / "macos" / "ioreport" / name).read_bytes())
    machine = chip()
    machine.channels = recording.machine.channels
    mac.show(machine)
    sample(cpu)
    machine.channels = recording.later().channels
    mac.show()
    assert clusters(sample(cpu), c.CPU_FREQUENCY) == {
        cluster: pytest.approx(mhz * MHZ, rel=1e-6) for cluster, mhz in clocks.items()
    }
