"""AMD GPUs through sysfs."""

import shutil

import pytest

from fakes.sysfs import Machine
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.linux_amdgpu import LinuxAmdgpu
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot

DISCRETE, APU = b"\x78\x00\x01\x03", b"\x80\x00\x02\x01"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def amdgpu(machine):
    return LinuxAmdgpu(machine.sys, machine.clock)


def sample(collector):
    return Snapshot.of(0, collector.read())


def card(machine, hwmon=None, metrics=DISCRETE, **files):
    """A card's folder and its sensors' folder, to change them later."""
    files = {"gpu_metrics": metrics, **files}
    folder = machine.amdgpu(0, "0000:03:00.0", "0x744c", files, (0, hwmon or {}))
    return folder, f"{folder}/hwmon/hwmon0"


def test_power_is_integrated_to_joules(machine, amdgpu):
    _, hwmon = card(machine, {"power1_average": 100_000_000})
    sample(amdgpu)
    machine.write(hwmon, {"power1_average": 200_000_000})
    machine.clock.pass_time(4)
    now = sample(amdgpu)
    assert now.get(c.ENERGY(0, device="gpu0")) == 600
    assert now.get(c.POWER(0, device="gpu0")) == 150


def test_an_energy_counter_wins_over_power(machine, amdgpu):
    _, hwmon = card(machine, {"power1_average": 900_000_000, "energy1_input": 5_000_000})
    sample(amdgpu)
    machine.write(hwmon, {"energy1_input": 105_000_000})
    machine.clock.pass_time(4)
    now = sample(amdgpu)
    assert now.get(c.ENERGY(0, device="gpu0")) == 100
    assert now.get(c.POWER(0, device="gpu0")) == 25


def test_cards_with_the_newer_power_file_are_read(machine, amdgpu):
    card(machine, {"power1_input": 90_000_000})
    assert sample(amdgpu).get(c.POWER(0, device="gpu0")) == 90


def test_power_that_cannot_be_read_leaves_a_gap_that_is_not_integrated(machine, amdgpu):
    _, hwmon = card(machine, {"power1_average": 100_000_000})
    sample(amdgpu)
    machine.write(hwmon, {"power1_average": None})
    machine.clock.pass_time(60)
    assert c.ENERGY not in sample(amdgpu).values
    machine.write(hwmon, {"power1_average": 100_000_000})
    machine.clock.pass_time(60)
    assert sample(amdgpu).get(c.ENERGY(0, device="gpu0")) == 0


def test_load_clock_and_limit_are_in_base_units(machine, amdgpu):
    hwmon = {"power1_average": 1, "power1_cap": 339_000_000, "freq1_input": 1_900_000_000}
    card(machine, hwmon, gpu_busy_percent=40, pp_dpm_sclk="0: 500Mhz\n1: 1900Mhz *\n2: 2371Mhz")
    now = sample(amdgpu)
    assert now.get(c.GPU_UTILIZATION(0, device="gpu0")) == 0.4
    assert now.get(c.GPU_FREQUENCY(0, device="gpu0")) == 1.9e9
    assert now.get(c.GPU_FREQUENCY_MAX(0, device="gpu0")) == 2.371e9
    assert now.get(c.POWER_LIMIT(0, device="gpu0")) == 339


def test_busy_time_is_the_integral_of_utilisation(machine, amdgpu):
    folder, _ = card(machine, gpu_busy_percent=100)
    sample(amdgpu)
    machine.write(folder, {"gpu_busy_percent": 50})
    machine.clock.pass_time(4)
    assert sample(amdgpu).get(c.GPU_BUSY(0, device="gpu0")) == 3


@pytest.mark.parametrize("percent", [-1, 101, 65535, ""])
def test_a_load_that_cannot_be_is_absent_and_not_integrated(machine, amdgpu, percent):
    folder, _ = card(machine, gpu_busy_percent=100)
    sample(amdgpu)
    machine.write(folder, {"gpu_busy_percent": percent})
    machine.clock.pass_time(4)
    assert not sample(amdgpu).values.keys() & {c.GPU_BUSY, c.GPU_UTILIZATION}
    machine.write(folder, {"gpu_busy_percent": 100})
    machine.clock.pass_time(4)
    assert sample(amdgpu).get(c.GPU_BUSY(0, device="gpu0")) == 0


def test_a_card_has_the_memory_on_it(machine, amdgpu):
    sizes = {"mem_info_vram_total": 24, "mem_info_vram_used": 8, "mem_info_gtt_total": 64, "mem_info_gtt_used": 2}
    card(machine, **sizes)
    now = sample(amdgpu)
    assert now.get(c.GPU_MEMORY_SIZE(0, device="gpu0")) == 24
    assert now.get(c.GPU_MEMORY_USED(0, device="gpu0")) == 8


def test_an_apu_has_the_memory_it_may_map_too(machine, amdgpu):
    sizes = {"mem_info_vram_total": 1, "mem_info_vram_used": 1, "mem_info_gtt_total": 64, "mem_info_gtt_used": 20}
    card(machine, metrics=APU, **sizes)
    now = sample(amdgpu)
    assert now.get(c.GPU_MEMORY_SIZE(0, device="gpu0")) == 65
    assert now.get(c.GPU_MEMORY_USED(0, device="gpu0")) == 21


def test_the_power_of_an_apu_is_the_whole_package_and_not_the_gpus(machine, amdgpu):
    card(machine, {"power1_average": 30_000_000}, metrics=APU)
    assert not sample(amdgpu).values.keys() & {c.ENERGY, c.POWER}


def test_temperatures_have_the_limit_of_their_own_sensor(machine, amdgpu):
    hwmon = {"temp1_label": "edge", "temp1_input": 55000, "temp1_crit": 100000}
    hwmon |= {"temp2_label": "junction", "temp2_input": 71000, "temp2_crit": 110000}
    card(machine, hwmon)
    now = sample(amdgpu)
    assert now.get(c.TEMPERATURE(0, device="gpu0", sensor="junction")) == 71
    assert now.get(c.TEMPERATURE_LIMIT(0, device="gpu0", sensor="edge")) == 100
    assert now.get(c.TEMPERATURE_LIMIT(0, device="gpu0", sensor="junction")) == 110


def test_a_fan_that_stops_at_low_load_turns_zero_times(machine, amdgpu):
    card(machine, {"fan1_input": 0, "fan1_max": 3200})
    now = sample(amdgpu)
    assert now.get(c.FAN_SPEED(0, fan="gpu0 fan1")) == 0
    assert now.get(c.FAN_SPEED_MAX(0, fan="gpu0 fan1")) == 3200


def test_a_gpu_that_sleeps_is_not_woken_and_its_sleep_is_not_integrated(machine, amdgpu):
    folder, _ = card(machine, {"power1_average": 100_000_000, "temp1_input": 40000}, gpu_busy_percent=100)
    sample(amdgpu)
    machine.write(folder, {"power/runtime_status": "suspended"})
    machine.clock.pass_time(60)
    assert sample(amdgpu).values.keys() == {c.DEVICE_INFO}
    machine.write(folder, {"power/runtime_status": "active"})
    machine.clock.pass_time(60)
    now = sample(amdgpu)
    assert now.get(c.ENERGY(0, device="gpu0")) == 0
    assert now.get(c.GPU_BUSY(0, device="gpu0")) == 0


def test_a_driver_that_was_reloaded_has_its_sensors_elsewhere_and_its_joules_still(machine, amdgpu):
    folder, hwmon = card(machine, {"power1_average": 100_000_000})
    sample(amdgpu)
    shutil.rmtree(machine.root / hwmon)
    (machine.sys / "class/hwmon/hwmon0").unlink()
    machine.hwmon(4, "amdgpu", folder.removeprefix("sys/devices/"), {"power1_average": 100_000_000})
    machine.clock.pass_time(5)
    assert sample(amdgpu).get(c.ENERGY(0, device="gpu0")) == 500


def test_what_is_not_known_after_the_machine_slept_is_not_integrated(machine, amdgpu):
    card(machine, {"power1_average": 100_000_000})
    sample(amdgpu)
    amdgpu.rebase()
    machine.clock.pass_time(60)
    assert sample(amdgpu).get(c.ENERGY(0, device="gpu0")) == 0


def test_identity_is_the_boards_name_or_the_pci_id(machine, amdgpu):
    folder, _ = card(machine)
    machine.write("sys/module/amdgpu", {"version": "6.12.12"})
    machine.write(folder, {"device": "0x744c"})
    named = {"device": "gpu0", "kind": "gpu", "vendor": "AMD", "driver_version": "6.12.12"}
    assert sample(amdgpu).get(c.DEVICE_INFO(**named, model="1002:744c")) == 1
    machine.write(folder, {"product_name": "AMD Instinct MI210"})
    assert sample(LinuxAmdgpu(machine.sys)).get(c.DEVICE_INFO(**named, model="AMD Instinct MI210")) == 1


def test_gpus_of_other_vendors_are_not_ours(machine, amdgpu):
    folder = machine.pci("0000:00:02.0", "0x8086", "0x7d55")
    machine.link("sys/class/drm/card0", f"{folder}/drm/card0")
    machine.link(f"{folder}/drm/card0/device", folder)
    with pytest.raises(NotAvailable, match="no AMD GPU"):
        sample(amdgpu)


def test_a_gpu_that_is_plugged_in_later_is_read_and_leaves_the_first_as_it_was(machine, amdgpu):
    card(machine, {"power1_average": 100_000_000})
    sample(amdgpu)
    machine.amdgpu(1, "0000:02:00.0", "0x744c", {}, (1, {"temp1_input": 40000}))
    machine.clock.pass_time(1)
    now = sample(amdgpu)
    assert now.get(c.ENERGY(0, device="gpu0")) == 100
    assert now.get(c.TEMPERATURE(0, device="gpu1", sensor="temp1")) == 40
