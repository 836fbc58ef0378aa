"""Temperatures and fans of a Linux host."""

import shutil

import pytest

from fakes.sysfs import Machine
from tokwatt_exporter.catalogue import FAN_SPEED, FAN_SPEED_MAX, TEMPERATURE, TEMPERATURE_LIMIT
from tokwatt_exporter.collectors.linux_fan import LinuxFan
from tokwatt_exporter.collectors.linux_temperature import LinuxTemperature
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def temperatures(collector):
    return rows(collector, TEMPERATURE)


def rows(collector, family):
    found = Snapshot.of(0, collector.read()).values.get(family, {})
    return {tuple(dict(labels).values()): value for labels, value in found.items()}


def of(machine):
    return LinuxTemperature(machine.sys)


@pytest.mark.parametrize("driver", ["coretemp", "k10temp", "zenpower", "cpu_thermal"])
def test_a_sensor_of_the_processor_belongs_to_the_cpu(machine, driver):
    machine.hwmon(0, driver, "platform/x.0", {"temp1_input": 51500})
    assert temperatures(of(machine)) == {("cpu", "temp1"): 51.5}


def test_a_sensor_is_called_by_its_label(machine):
    machine.hwmon(0, "coretemp", "platform/coretemp.0", {"temp1_input": 1000, "temp1_label": "Package id 0"})
    assert temperatures(of(machine)) == {("cpu", "Package id 0"): 1}


def test_two_sensors_of_one_chip_with_the_same_label_do_not_collide(machine):
    files = {"temp1_input": 1000, "temp1_label": "PECI", "temp2_input": 2000, "temp2_label": "PECI"}
    machine.hwmon(0, "nct6775", "platform/nct6775.1", files)
    assert temperatures(of(machine)) == {("nct6775", "PECI temp1"): 1, ("nct6775", "PECI temp2"): 2}


def test_two_chips_of_one_driver_are_numbered_by_where_they_sit_not_by_when_they_loaded(machine):
    machine.hwmon(9, "coretemp", "platform/coretemp.0", {"temp1_input": 40000})
    machine.hwmon(1, "coretemp", "platform/coretemp.1", {"temp1_input": 41000})
    machine.hwmon(0, "coretemp", "platform/coretemp.10", {"temp1_input": 42000})
    assert temperatures(of(machine)) == {("cpu0", "temp1"): 40, ("cpu1", "temp1"): 41, ("cpu2", "temp1"): 42}


def test_drives_are_called_as_the_system_calls_them(machine):
    nvme = "sys/devices/pci0000:00/0000:04:00.0/nvme/nvme1"
    machine.hwmon(0, "nvme", "pci0000:00/0000:04:00.0/nvme/nvme1", {"temp1_input": 38000}, device=nvme)
    machine.hwmon(1, "drivetemp", "pci0000:00/ata1/host0/0:0:0:0", {"temp1_input": 31000})
    machine.write("sys/devices/pci0000:00/ata1/host0/0:0:0:0/block/sda", {"size": 1})
    assert temperatures(of(machine)) == {("nvme1", "temp1"): 38, ("sda", "temp1"): 31}


def test_a_sensor_of_a_thermal_zone_belongs_to_the_part_the_zone_is_named_after(machine):
    machine.hwmon(0, "gpu_thermal", "virtual/thermal/thermal_zone1", {"temp1_input": 44000})
    assert temperatures(of(machine)) == {("gpu", "temp1"): 44}


def test_amd_gpus_are_left_to_their_own_collector(machine):
    machine.hwmon(0, "amdgpu", "pci0000:00/0000:03:00.0", {"temp1_input": 60000, "fan1_input": 900})
    machine.hwmon(1, "k10temp", "pci0000:00/0000:00:18.3", {"temp1_input": 40000, "fan1_input": 800})
    assert temperatures(of(machine)) == {("cpu", "temp1"): 40}
    assert rows(LinuxFan(machine.sys), FAN_SPEED) == {("cpu fan1",): 800}


@pytest.mark.parametrize("millidegrees", [-40_000, -128_000, 150_000, 6_553_500, "", "nonsense", None])
def test_a_temperature_no_sensor_can_have_is_absent(machine, millidegrees):
    machine.hwmon(0, "nct6775", "platform/x", {"temp1_input": millidegrees, "temp2_input": -39_000})
    machine.write("sys/devices/platform/x/hwmon/hwmon0", {"temp3_input": 149_000})
    assert temperatures(of(machine)) == {("nct6775", "temp2"): -39, ("nct6775", "temp3"): 149}


def test_a_sensor_that_reports_a_fault_is_absent_and_comes_back(machine):
    folder = machine.hwmon(0, "nct6775", "platform/x", {"temp1_input": 20_000, "temp1_fault": 1})
    collector = of(machine)
    assert temperatures(collector) == {}
    machine.write(folder, {"temp1_fault": 0})
    assert temperatures(collector) == {("nct6775", "temp1"): 20}


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"temp1_crit": 110_000, "temp1_max": 105_000}, 110),
        ({"temp1_max": 81_850}, 81.85),
        ({"temp1_crit": 65_261_850, "temp1_max": 80_000}, 80),
        ({"temp1_crit": 0}, None),
        ({"temp1_crit": -1_000}, None),
        ({}, None),
    ],
)
def test_the_limit_is_the_critical_temperature_or_else_the_highest_that_can_be_true(machine, files, limit):
    machine.hwmon(0, "k10temp", "platform/x", {"temp1_input": 40_000, **files})
    expected = {} if limit is None else {("cpu", "temp1"): limit}
    assert rows(of(machine), TEMPERATURE_LIMIT) == expected


def test_a_sensor_without_a_reading_has_no_limit_either(machine):
    machine.hwmon(0, "k10temp", "platform/x", {"temp1_input": -200_000, "temp1_crit": 90_000})
    assert rows(of(machine), TEMPERATURE_LIMIT) == {}


def test_a_chip_that_appears_later_is_read(machine):
    machine.hwmon(0, "k10temp", "platform/x", {"temp1_input": 40_000})
    collector = of(machine)
    temperatures(collector)
    machine.hwmon(1, "iwlwifi_1", "virtual/x", {"temp1_input": 50_000})
    assert temperatures(collector) == {("cpu", "temp1"): 40, ("iwlwifi_1", "temp1"): 50}


def test_a_chip_whose_driver_is_unloaded_disappears(machine):
    machine.hwmon(0, "k10temp", "platform/x", {"temp1_input": 40_000})
    folder = machine.hwmon(1, "iwlwifi_1", "virtual/x", {"temp1_input": 50_000})
    collector = of(machine)
    temperatures(collector)
    (machine.sys / "class/hwmon/hwmon1").unlink()
    shutil.rmtree(machine.root / folder)
    assert temperatures(collector) == {("cpu", "temp1"): 40}


def test_thermal_zones_are_read_only_where_there_is_no_hwmon_chip(machine):
    machine.write("sys/class/thermal/thermal_zone0", {"type": "cpu-thermal", "temp": 47_000})
    assert temperatures(of(machine)) == {("cpu", "zone0"): 47}
    machine.hwmon(0, "cpu_thermal", "virtual/thermal/thermal_zone0", {"temp1_input": 48_000})
    assert temperatures(of(machine)) == {("cpu", "temp1"): 48}


def test_the_limit_of_a_thermal_zone_is_its_lowest_passive_trip_point(machine):
    files = {"type": "soc-thermal", "temp": 47_000}
    for number, (kind, trip) in enumerate(
        [("active", 50), ("passive", 0), ("passive", 95), ("passive", 85), ("critical", 115)]
    ):
        files |= {f"trip_point_{number}_type": kind, f"trip_point_{number}_temp": trip * 1000}
    machine.write("sys/class/thermal/thermal_zone0", files)
    assert rows(of(machine), TEMPERATURE_LIMIT) == {("soc", "zone0"): 85}


def test_cooling_devices_are_no_thermometers(machine):
    machine.write("sys/class/thermal/cooling_device0", {"type": "Processor", "temp": 1})
    with pytest.raises(NotAvailable, match="no thermometer"):
        temperatures(of(machine))


def test_a_fan_that_stands_still_turns_zero_times(machine):
    machine.hwmon(0, "thinkpad", "platform/x", {"fan1_input": 0})
    assert rows(LinuxFan(machine.sys), FAN_SPEED) == {("thinkpad fan1",): 0}


@pytest.mark.parametrize("files", [{"fan1_input": 0, "fan1_fault": 1}, {"fan1_input": -1}, {"fan1_input": "?"}])
def test_a_fan_whose_tachometer_is_broken_is_absent(machine, files):
    machine.hwmon(0, "nct6775", "platform/x", files)
    assert rows(LinuxFan(machine.sys), FAN_SPEED) == {}


def test_a_fan_is_called_by_chip_and_label_and_two_of_one_label_by_their_number(machine):
    files = {f"fan{n}_input": 100 * n for n in (1, 2, 3)}
    labels = {"fan1_label": "CPU Fan", "fan2_label": "Case", "fan3_label": "Case"}
    machine.hwmon(0, "dell_smm", "virtual/x", files | labels)
    expected = {("dell_smm CPU Fan",): 100, ("dell_smm fan2",): 200, ("dell_smm fan3",): 300}
    assert rows(LinuxFan(machine.sys), FAN_SPEED) == expected


def test_the_highest_speed_is_there_where_the_driver_knows_one(machine):
    machine.hwmon(0, "x", "virtual/x", {"fan1_input": 1, "fan1_max": 1800, "fan2_input": 2, "fan2_max": 0})
    assert rows(LinuxFan(machine.sys), FAN_SPEED_MAX) == {("x fan1",): 1800}


def test_a_chip_with_a_fan_that_appears_later_is_read(machine):
    machine.hwmon(0, "thinkpad", "platform/x", {"fan1_input": 2700})
    collector = LinuxFan(machine.sys)
    rows(collector, FAN_SPEED)
    machine.hwmon(1, "nct6775", "platform/y", {"fan1_input": 900})
    assert rows(collector, FAN_SPEED) == {("thinkpad fan1",): 2700, ("nct6775 fan1",): 900}


def test_a_machine_without_fans_says_so(machine):
    machine.hwmon(0, "k10temp", "platform/x", {"temp1_input": 40_000})
    with pytest.raises(NotAvailable, match="no fan"):
        rows(LinuxFan(machine.sys), FAN_SPEED)
