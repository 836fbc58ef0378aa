"""Which energy counters of an Apple chip make the rails: whole names, one level, all dies."""

import re

import pytest

from fakes.apple import chips, recordings
from fakes.apple.machine import Machine
from support.captures import shared_captures
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.apple_energy import AppleEnergy
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot


@pytest.fixture
def energy(mac):
    collector = AppleEnergy(mac.clock)
    yield collector
    collector.close()


def rails(mac, energy, machine, watts):
    """Joules of each device, and of the package under `None`, after a second at these watts."""
    mac.machine = machine
    mac.show()
    Snapshot.of(0, energy.read())
    mac.run(1, cpu=0.5, watts=watts)
    seen = Snapshot.of(0, energy.read())
    joules = {labels[0][1]: value for labels, value in seen.values.get(c.ENERGY, {}).items()}
    package = seen.get(c.PACKAGE_ENERGY(0))
    return {name: pytest.approx(value) for name, value in joules.items()} | (
        {None: pytest.approx(package)} if package is not None else {}
    )


def reasons(energy):
    rows = Snapshot.of(0, energy.read()).values.get(c.COLLECTOR_PROBLEM, {})
    return [dict(labels)["reason"] for labels in rows]


def made_of(*names, unit="mJ", group="Energy Model", subgroup=None):
    return Machine(
        channels=chips.energy(*((name, unit) for name in names), group=group, subgroup=subgroup),
        cpu_ticks=[(0, 0, 0, 0)] * 8,
    )


def powers_of_two(machine):
    """Each name at watts of its own, so that a sum tells what it is the sum of."""
    names = list(dict.fromkeys(channel.name for channel in machine.channels))
    return {name: float(2**place) for place, name in enumerate(names)}


def test_the_rails_of_a_chip_with_one_die(mac, energy):
    machine = chips.m1()
    watts = {channel.name: 1.0 for channel in machine.channels if channel.group == "Energy Model"}
    watts |= {"CPU Energy": 10.0, "GPU Energy": 20.0, "ANE0": 3.0, "DRAM0": 4.0}
    others = ("DCS0", "AMCC0", "ISP0", "AVE0", "apciec0 Energy")
    assert rails(mac, energy, machine, watts) == {
        "cpu": 10, "gpu0": 20, "ane": 3, "dram": 4, None: 10 + 20 + 3 + 4 + len(others),
    }  # fmt: skip


def test_the_same_joules_of_the_gpu_in_two_units_are_counted_once(mac, energy):
    machine = made_of("CPU Energy", "GPU", "GPU0", "GPU0_0", "GPU SRAM0")
    machine.channels += chips.energy(("GPU Energy", "nJ"))
    watts = {"CPU Energy": 1.0, "GPU": 5.0, "GPU0": 5.0, "GPU0_0": 5.0, "GPU SRAM0": 1.0, "GPU Energy": 5.25}
    assert rails(mac, energy, machine, watts) == {"cpu": 1, "gpu0": 5.25, None: 6.25}


@pytest.mark.parametrize(
    ("names", "counted"),
    [
        (("CPU Energy", "EACC_CPU", "PACC0_CPU", "PACC0_CPU0", "EACC_CPU0"), ("CPU Energy",)),
        (("EACC_CPU", "PACC0_CPU", "PACC1_CPU", "EACC_CPU0", "PACC0_CPU0"), ("EACC_CPU", "PACC0_CPU", "PACC1_CPU")),
        (("EACC_CPU0", "PACC0_CPU0", "PACC1_CPU2"), ("EACC_CPU0", "PACC0_CPU0", "PACC1_CPU2")),
        # One kind of core has no cluster: the cores of both, not one of each.
        (("EACC_CPU", "EACC_CPU0", "PACC0_CPU0"), ("EACC_CPU0", "PACC0_CPU0")),
        (("PCPU", "MCPU0", "MCPU1", "MCPU0_0", "MCPU1_5", "PACC_0", "PACC_5"), ("PCPU", "MCPU0", "MCPU1")),
        (("ECPU", "PCPU", "ECPU0", "ECPU1", "PCPU0"), ("ECPU", "PCPU")),
        (("DIE0 ECPU0", "DIE0 PCPU0", "DIE1 ECPU0", "DIE1 PCPU0"),
         ("DIE0 ECPU0", "DIE0 PCPU0", "DIE1 ECPU0", "DIE1 PCPU0")),
        (("PRIM MCPU0", "PRIM PCPU0"), ("PRIM MCPU0", "PRIM PCPU0")),
        (("DIE_0_CPU Energy", "DIE_1_CPU Energy", "DIE_0_EACC_CPU"), ("DIE_0_CPU Energy", "DIE_1_CPU Energy")),
        # The total of one die is not that of the chip.
        (("DIE_0_CPU Energy", "DIE_0_EACC_CPU", "DIE_1_EACC_CPU"), ("DIE_0_EACC_CPU", "DIE_1_EACC_CPU")),
        (("CPU Energy", "DIE_0_CPU Energy", "DIE_1_CPU Energy"), ("CPU Energy",)),
        (("EACC_CPU", "EACC_CPM", "EACC_SRAM", "ECPUDTL00", "MCPM0", "MCPU0_SRAM", "PCPUDTL0a"), ("EACC_CPU",)),
    ],
)  # fmt: skip
def test_the_cpu_is_the_sum_of_one_level_of_its_counters(mac, energy, names, counted):
    machine = made_of(*names)
    watts = powers_of_two(machine)
    assert rails(mac, energy, machine, watts)["cpu"] == sum(watts[name] for name in counted)


@pytest.mark.parametrize(
    ("names", "device", "counted"),
    [
        (("ANE",), "ane", ("ANE",)),
        (("ANE0_0", "ANE0_1"), "ane", ("ANE0_0", "ANE0_1")),
        (("ANE", "ANE0"), "ane", ("ANE",)),
        (("DRAM0", "DRAM0_0"), "dram", ("DRAM0",)),
        (("DIE_0_DRAM", "DIE_1_DRAM"), "dram", ("DIE_0_DRAM", "DIE_1_DRAM")),
        (("GPU0_0", "GPU0_1", "GPU SRAM0_0"), "gpu0", ("GPU0_0", "GPU0_1")),
    ],
)
def test_the_other_rails_are_summed_over_dies_and_not_over_levels(mac, energy, names, device, counted):
    machine = made_of(*names)
    watts = powers_of_two(machine)
    assert rails(mac, energy, machine, watts)[device] == sum(watts[name] for name in counted)


def test_m5_max_has_no_efficiency_cores_and_many_rails(mac, energy):
    machine = chips.m5_max()
    watts = {"CPU Energy": 30.0, "GPU Energy": 40.0, "GPU0": 40.0, "ANE0": 1.0, "DRAM0": 8.0, "DISP0": 2.0}
    watts |= {"DISPEXT0": 3.0, "AFR0": 4.0, "PCPU": 10.0, "MCPU0": 10.0, "MCPU1": 10.0, "GPU SRAM0": 1.0}
    assert rails(mac, energy, machine, watts) == {
        "cpu": 30, "gpu0": 40, "ane": 1, "dram": 8, None: 30 + 40 + 1 + 8 + 2 + 3 + 4,
    }  # fmt: skip


def test_every_counter_of_a_real_m1_ultra_is_in_its_sum_once(mac, energy):
    recorded = shared_captures() / "macos/ioreport/m1ultra_mac13-2_macos27.0_26A428_energy_model.tsv"
    machine = recordings.read(recorded.read_bytes()).machine
    machine.cpu_ticks = [(0, 0, 0, 0)] * 20
    # One watt each, but for the totals: 334 names have "CPU" in them.
    watts = {channel.name: 1.0 for channel in machine.channels}
    watts |= {"DIE_0_CPU Energy": 20.0, "DIE_1_CPU Energy": 16.0, "GPU Energy": 50.0, "GPU0_0": 50.0}
    others = ("ISP0_0", "AVE0_0", "MSR0_0", "DCS0_0", "AMCC0_0", "ISP0_1", "AVE0_1", "MSR0_1", "DCS0_1", "AMCC0_1")
    links = [name for name in watts if re.match("apciec|PCIe", name)]
    assert len(links) == 10
    assert rails(mac, energy, machine, watts) == {
        "cpu": 36, "gpu0": 50, "ane": 2, "dram": 2, None: 36 + 50 + 2 + 2 + len(others) + len(links),
    }  # fmt: skip


@pytest.mark.parametrize(("unit", "joules"), [("mJ", 3), ("uJ", 3), ("nJ", 3)])
def test_joules_are_counted_in_the_unit_of_the_channel(mac, energy, unit, joules):
    assert rails(mac, energy, made_of("CPU Energy", unit=unit), {"CPU Energy": 3.0}) == {"cpu": joules}


@pytest.mark.parametrize("unit", ["kJ", None, ""])
def test_a_counter_in_a_unit_that_is_not_known_is_left_out_and_named(mac, energy, unit):
    machine = made_of("CPU Energy", "GPU0")
    machine.channels += chips.energy(("ANE", unit))
    assert rails(mac, energy, machine, {"CPU Energy": 1.0, "GPU0": 1.0}) == {"cpu": 1, "gpu0": 1, None: 2}
    assert reasons(energy) == [
        "the unit of ANE is not known",
        "this chip has no energy counter of ane, dram",
    ]


def test_what_is_left_of_a_rail_when_a_unit_is_not_known_is_not_the_rail(mac, energy):
    machine = made_of("CPU Energy", "ANE0_0")
    machine.channels += chips.energy(("ANE0_1", "kJ"))
    assert "ane" not in rails(mac, energy, machine, {})


def test_another_counter_of_the_rail_stands_in_for_one_in_an_unknown_unit(mac, energy):
    machine = made_of("CPU Energy", "GPU0")
    machine.channels += chips.energy(("GPU Energy", "kJ"))
    assert rails(mac, energy, machine, {"GPU0": 7.0})["gpu0"] == 7


def test_rails_that_the_first_chip_counts_elsewhere_are_taken_from_there(mac, energy):
    machine = made_of("CPU Energy")
    machine.channels += chips.energy(("GPU Energy", "nJ"))
    elsewhere = ("ANE", "GPU", "DRAM", "ECPU", "PCPU")
    machine.channels += made_of(*elsewhere, group="PMP", subgroup="Energy Counters").channels
    watts = dict.fromkeys(elsewhere, 100.0) | {"CPU Energy": 1.0, "GPU Energy": 2.0, "ANE": 3.0, "DRAM": 4.0}
    assert rails(mac, energy, machine, watts) == {"cpu": 1, "gpu0": 2, "ane": 3, "dram": 4, None: 10}


def test_the_clusters_of_the_first_chip_make_its_cpu_where_there_is_no_energy_model(mac, energy):
    machine = made_of("ECPU", "PCPU", "GPU", group="PMP", subgroup="Energy Counters")
    assert rails(mac, energy, machine, {"ECPU": 1.0, "PCPU": 4.0, "GPU": 2.0}) == {"cpu": 5, "gpu0": 2, None: 7}


def test_a_chip_that_counts_only_its_gpu_has_no_package(mac, energy):
    assert rails(mac, energy, chips.a18_pro(), {"GPU Energy": 2.0}) == {"gpu0": 2}
    assert reasons(energy) == ["this chip has no energy counter of cpu, ane, dram"]


def test_a_virtual_machine_counts_no_energy(mac, energy):
    with pytest.raises(NotAvailable, match="no energy"):
        rails(mac, energy, chips.virtual(), {})


def test_a_group_that_macos_refuses_is_absence(mac, energy):
    machine = chips.m4_pro()
    machine.refused.add("Energy Model")
    with pytest.raises(NotAvailable, match="no energy"):
        rails(mac, energy, machine, {})


def test_only_what_makes_a_rail_is_sampled(mac, energy):
    mac.machine = chips.m5_max()
    mac.show()
    energy.read().__next__()
    names = [channel.name for subscription in energy._subscriptions for channel in subscription.channels]
    assert sorted(names) == sorted(["CPU Energy", "GPU Energy", "ANE0", "DRAM0", "DCS0", "DISP0", "DISPEXT0", "AFR0"])
