"""Battery and power source."""

from types import SimpleNamespace

import psutil
import pytest

from fakes.sysfs import Machine
from tokwatt_exporter.catalogue import BATTERY_CHARGE, POWER_SOURCE
from tokwatt_exporter.collectors.battery import Battery
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose power supplies the real psutil reads."""
    machine = Machine(tmp_path)
    machine.supplies.mkdir(parents=True)
    monkeypatch.setattr(psutil._pslinux, "POWER_SUPPLY_PATH", str(machine.supplies))
    return machine


def supply(machine, name, **files):
    machine.write(f"sys/class/power_supply/{name}", files)


def sample(machine):
    return Snapshot.of(0, Battery(supplies=machine.supplies).read())


def mac(tmp_path, percent, plugged):
    """What psutil answers where there is no sysfs."""
    answer = SimpleNamespace(percent=percent, power_plugged=plugged)
    return Snapshot.of(0, Battery(lambda: answer, tmp_path / "nothing").read())


def source(snapshot):
    return [dict(labels)["state"] for labels, value in snapshot.values.get(POWER_SOURCE, {}).items() if value]


def test_a_laptop_on_battery(machine):
    supply(machine, "AC", type="Mains", online=0)
    supply(machine, "BAT0", type="Battery", status="Discharging", energy_now=30, energy_full=40)
    assert sample(machine).get(BATTERY_CHARGE(0)) == 0.75
    assert source(sample(machine)) == ["battery"]


def test_a_laptop_on_mains_that_psutil_does_not_know_the_name_of(machine):
    supply(machine, "ADP1", type="Mains", online=1)
    supply(machine, "BAT0", type="Battery", status="Not charging", energy_now=32, energy_full=40)
    assert source(sample(machine)) == ["ac"]


def test_a_battery_that_does_not_say_whether_it_is_plugged_in_gives_no_source(machine):
    supply(machine, "BAT0", type="Battery", status="Not charging", energy_now=32, energy_full=40)
    assert sample(machine).get(BATTERY_CHARGE(0)) == 0.8
    assert POWER_SOURCE not in sample(machine).values


def test_a_desktop_whose_mains_says_that_it_is_online(machine):
    supply(machine, "AC0", type="Mains", online=1)
    assert sample(machine).values.keys() == {POWER_SOURCE}
    assert source(sample(machine)) == ["ac"]


def test_a_desktop_that_says_nothing_of_its_mains_has_no_source(machine):
    with pytest.raises(NotAvailable, match="no battery"):
        sample(machine)


def test_the_battery_of_a_mouse_is_not_the_machines(machine):
    supply(machine, "hidpp_battery_0", type="Battery", scope="Device", status="Discharging", capacity=20)
    with pytest.raises(NotAvailable, match="no battery"):
        sample(machine)


def test_a_container_without_power_supplies_has_no_battery(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil._pslinux, "POWER_SUPPLY_PATH", str(tmp_path / "nothing"))
    with pytest.raises(NotAvailable, match="no battery"):
        list(Battery(supplies=tmp_path / "nothing").read())


def test_a_mac_is_what_psutil_says_of_it(tmp_path):
    assert mac(tmp_path, 80, True).get(BATTERY_CHARGE(0)) == 0.8
    assert source(mac(tmp_path, 80, True)) == ["ac"]
    assert source(mac(tmp_path, 80, False)) == ["battery"]
    assert source(mac(tmp_path, 80, None)) == []


def test_a_charge_is_never_above_one(tmp_path):
    assert mac(tmp_path, 103.2, True).get(BATTERY_CHARGE(0)) == 1


def test_a_battery_that_reports_no_full_charge_has_no_charge(machine):
    supply(machine, "BAT0", type="Battery", status="Discharging", energy_now=30, energy_full=0)
    assert BATTERY_CHARGE not in sample(machine).values
    assert source(sample(machine)) == ["battery"]
