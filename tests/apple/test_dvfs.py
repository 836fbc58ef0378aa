"""The tables of clocks of Apple chips."""

import logging
import struct

import pytest

from fakes.apple import chips, recordings
from fakes.apple.machine import Machine, Node
from support.captures import shared_captures
from tokwatt_exporter.collectors.apple_dvfs import cpu_clocks, gpu_clocks
from tokwatt_exporter.collectors.apple_states import Clocks

MHZ = 1e6


@pytest.fixture
def show(fake):
    def shown(*nodes):
        fake.show(Machine(nodes=list(nodes)))

    return shown


def clocks(tables):
    """MHz of each state of one table."""
    return [tables.cycles([0] * state + [1]) / MHZ for state in range(len(tables._hertz))]


def recorded(fake, name):
    path = shared_captures() / "macos" / "dvfs" / name
    machine = recordings.read(path.read_bytes()).machine
    fake.show(machine)
    return machine


def pmgr(**properties):
    return Node("pmgr", "AppleARMIODevice", properties)


def test_tables_of_m1_to_m3_are_in_hertz(show):
    show(chips.pmgr({1: chips.table(chips.M1_E, chips.MHZ), 5: chips.table(chips.M1_P, chips.MHZ)}))
    tables = cpu_clocks({"E", "P"})
    assert clocks(tables["E"][0]) == list(chips.M1_E)
    assert clocks(tables["P"][0]) == list(chips.M1_P)


def test_tables_of_m4_and_later_are_in_kilohertz(show):
    show(chips.pmgr({1: chips.table(chips.M4_E, 1000), 5: chips.table(chips.M4_P, 1000)}))
    tables = cpu_clocks({"E", "P"})
    assert clocks(tables["E"][0]) == list(chips.M4_E)
    assert tables["P"][0].highest == 4512 * MHZ


def test_the_second_cluster_of_a_kind_has_a_table_of_its_own(show):
    show(chips.pmgr({5: chips.table((1000, 3000), 1000), 13: chips.table((1000, 3200), 1000)}))
    assert [table.highest for table in cpu_clocks({"P"})["P"]] == [3000 * MHZ, 3200 * MHZ]


def test_a_chip_that_names_the_tables_of_its_clusters_is_believed(show):
    node = chips.pmgr(
        {5: chips.table((1, 2), 10**6), 7: chips.table((1000, 4000), 1000), 8: chips.table((900, 2000), 1000)}
    )
    # Ranks need not begin at 0, nor be without gaps.
    node.properties["acc-clusters"] = struct.pack("<BB6xBB6x", 7, 2, 8, 1)
    show(node)
    found = cpu_clocks(["P", "M"])
    assert clocks(found["P"][0]) == [1000, 4000]
    assert clocks(found["M"][0]) == [900, 2000]


def test_clusters_that_are_not_those_of_the_channels_are_not_believed(show):
    node = chips.pmgr({1: chips.table((600, 2000), 1000), 5: chips.table((700, 3000), 1000)})
    node.properties["acc-clusters"] = struct.pack("<BB6x", 5, 0)
    show(node)
    tables = cpu_clocks({"E", "P"})
    assert (tables["E"][0].highest, tables["P"][0].highest) == (2000 * MHZ, 3000 * MHZ)


def test_the_tables_of_m6_are_one_node_below(show):
    child = chips.pmgr({1: chips.table(chips.M6_E, 1000)}, gpu=chips.M4_GPU)
    child.name = "pmgr-child"
    show(pmgr(), child)
    assert clocks(cpu_clocks({"E"})["E"][0]) == list(chips.M6_E)
    assert gpu_clocks() is not None


def test_without_its_plain_table_a_cluster_has_the_clocks_of_its_periods(show):
    show(pmgr(**{"voltage-states1": chips.periods(chips.M1_E)}))
    assert clocks(cpu_clocks({"E"})["E"][0]) == list(chips.M1_E)


def test_periods_are_right_where_the_unit_of_the_table_is_not_known(show):
    # In MHz, as no chip has it yet.
    show(pmgr(**{"voltage-states1-sram": chips.table(chips.M1_E, 1), "voltage-states1": chips.periods(chips.M1_E)}))
    assert cpu_clocks({"E"})["E"][0].highest == 2064 * MHZ


def test_a_table_in_a_unit_that_is_not_known_is_no_table(show):
    show(pmgr(**{"voltage-states1-sram": chips.table(chips.M1_E, 1)}))
    assert cpu_clocks({"E"}) == {}


def test_steps_without_a_clock_are_none(show):
    show(pmgr(**{"voltage-states1-sram": chips.table((0, *chips.M1_E), chips.MHZ)}))
    assert clocks(cpu_clocks({"E"})["E"][0]) == list(chips.M1_E)


def test_a_table_that_is_cut_off_has_its_whole_pairs(show):
    show(pmgr(**{"voltage-states1-sram": chips.table(chips.M1_E, chips.MHZ)[:-3]}))
    assert clocks(cpu_clocks({"E"})["E"][0]) == list(chips.M1_E[:-1])


def test_the_first_step_of_the_gpu_is_off_and_its_clocks_need_not_rise(show):
    show(chips.pmgr({}, gpu=chips.M4_GPU))
    table = gpu_clocks()
    assert clocks(table) == list(chips.M4_GPU)
    assert table.highest == 1578 * MHZ
    show(chips.pmgr({}, gpu=(338, 1578, 1470)))
    assert gpu_clocks().highest == 1578 * MHZ


def test_clocks_that_no_gpu_has_are_none(show):
    # In kHz, as no chip has them yet.
    show(pmgr(**{"voltage-states9": chips.table(chips.M4_GPU, 1000)}))
    assert gpu_clocks() is None


def test_without_a_power_manager_there_are_no_clocks(show):
    show()
    assert cpu_clocks({"E", "P"}) == {}
    assert gpu_clocks() is None


def test_real_tables_of_a18_pro(fake):
    recorded(fake, "a18pro_mac17-5_macos26.6.2_pmgr_raw_partial.txt")
    found = clocks(cpu_clocks({"E", "P"})["P"][0])
    assert (len(found), found[0], found[-1]) == (17, 744, 4044)
    mhz = [338, 492, 618, 796, 928, 952, 1056, 1053, 1170, 1152, 1278, 1204, 1338, 1326, 1470]
    assert clocks(gpu_clocks()) == mhz


def test_real_tables_of_m5_max(fake):
    recorded(fake, "m5max_mac17-6_macos26.4_pmgr_raw_partial.txt")
    found = clocks(cpu_clocks({"M", "P"})["P"][0])
    assert len(found) == 20
    assert (found[0], found[-1]) == (1308, 4608)


def test_real_tables_of_m2_ultra(fake):
    recorded(fake, "m2ultra_macmon_debug_partial.txt")
    assert clocks(cpu_clocks({"E", "P"})["P"][0]) == list(chips.M2_P)
    assert clocks(gpu_clocks()) == list(chips.M2_GPU)


def test_more_states_than_clocks_run_at_the_last_clock_which_is_said_once(caplog):
    table = Clocks("GPU", [100.0, 200.0])
    with caplog.at_level(logging.WARNING):
        assert table.cycles([1, 1, 1]) == 500
        table.cycles([1, 1, 1])
    assert [record.getMessage() for record in caplog.records] == ["GPU has 3 active states but only 2 clocks"]


def test_fewer_states_than_clocks_have_the_first_clocks():
    assert Clocks("CPU P", [100.0, 200.0, 300.0]).cycles([1, 1]) == 300
