"""Temperatures of a Mac."""

import re
import struct
from contextlib import closing

import pytest

from fakes.apple import recordings
from fakes.apple.machine import Machine
from support.captures import shared_captures
from support.snapshots import reasons
from tokwatt_exporter.apple import smc as smc_module
from tokwatt_exporter.catalogue import TEMPERATURE, TEMPERATURE_SENSORS
from tokwatt_exporter.collectors.apple_temperature import AppleTemperature
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot

NO_CPU, NO_GPU = "no thermometer of the CPU that measures", "no thermometer of the GPU that measures"
DUMPS = [
    "a18", "m1-max", "m1-ultra", "m2", "m2-max", "m3-max-2", "m3-pro-2", "m3-pro-3", "m4", "m4-5", "m4-6", "m4-max",
    "m4-pro-2", "m4-pro-3",
]  # fmt: skip
#: Its GPU had no power when it was recorded.
GPU_ASLEEP = {"m3-max-2"}


def flt(value):
    return "flt ", struct.pack("<f", value)


def keys(**degrees):
    return {key: flt(value) for key, value in degrees.items()}


def mac(hid=None, chip="Apple M4", **degrees):
    sysctls = {"machdep.cpu.brand_string": chip.encode() + b"\0"}
    return Machine(smc=keys(**degrees) if degrees else None, hid=hid, sysctls=sysctls)


@pytest.fixture
def temperature(fake):
    with closing(AppleTemperature()) as collector:
        yield collector


@pytest.fixture
def sample(fake, temperature):
    def read(machine):
        fake.show(machine)
        return Snapshot.of(0, temperature.read())

    return read


def hottest(snapshot, device="cpu"):
    return snapshot.get(TEMPERATURE(0, device=device, sensor="hottest"))


def mean(snapshot, device="cpu"):
    return snapshot.get(TEMPERATURE(0, device=device, sensor="mean"))


def count(snapshot, device="cpu"):
    return snapshot.get(TEMPERATURE_SENSORS(0, device=device))


def dump(name):
    return recordings.read((shared_captures() / f"macos/smc/ismc-report-{name}.txt").read_bytes()).machine


def test_cores_and_gpu_have_their_hottest_sensor_the_mean_and_how_many(sample):
    seen = sample(mac(Tp01=50, Tp05=70, Te04=45, Tg05=40.5, Tg0D=41.5))
    assert (hottest(seen), mean(seen), count(seen)) == (70, 55, 3)
    assert (hottest(seen, "gpu0"), mean(seen, "gpu0"), count(seen, "gpu0")) == (41.5, 41, 2)
    assert reasons(seen) == []


def test_memory_battery_and_air_have_theirs(sample):
    seen = sample(mac(Tp01=50, Tg05=41, Tm00=36, Tm01=38, TB0T=27.5, TB1T=27, TAOL=22, TaLP=31))
    assert hottest(seen, "dram") == 38
    assert seen.get(TEMPERATURE(0, device="battery", sensor="battery")) == 27.5
    assert seen.get(TEMPERATURE(0, device="air", sensor="ambient")) == 22
    assert seen.get(TEMPERATURE(0, device="air", sensor="airflow")) == 31
    assert {dict(labels)["device"] for labels in seen.values[TEMPERATURE_SENSORS]} == {"cpu", "gpu0", "dram"}


@pytest.mark.parametrize("degrees", [0, -21.7, 5, 8.5, 151, float("nan"), float("inf")])
def test_what_no_chip_that_runs_can_have_is_not_in_the_mean(sample, degrees):
    seen = sample(mac(Tp01=50, Tp05=degrees, Tg05=41))
    assert (mean(seen), count(seen)) == (50, 1)


def test_cores_without_power_read_40_degrees_which_is_no_temperature(sample):
    seen = sample(mac(Te04=30, Te05=34, Tp00=40, Tp01=40, Tp02=40, Tg05=40))
    assert (hottest(seen), count(seen)) == (34, 2)
    assert hottest(seen, "gpu0") == 40


def test_a_core_whose_key_is_gone_is_not_in_the_mean(sample):
    sample(mac(Tp01=50, Tp05=70, Tg05=41))
    seen = sample(mac(Tp01=50, Tg05=41))
    assert (mean(seen), count(seen)) == (50, 1)


def test_keys_that_are_not_of_the_cores_do_not_make_them_hotter(sample):
    # Tf26 stood at 82.7 on an M3 Pro whose hottest spot had 47.8 degrees.
    seen = sample(mac(Tp01=47.8, Tg05=41, Tf26=82.7, TVMX=90, TCMz=99, Ts00=95))
    assert hottest(seen) == pytest.approx(47.8)


@pytest.mark.parametrize(
    ("chip", "sensors"), [("Apple M5", 3), ("Apple M5 Max", 3), ("Apple M4 Max", 1), ("Apple M50", 1)]
)
def test_the_super_cores_of_an_m5_are_cores_and_palm_rests_are_not(sample, chip, sensors):
    seen = sample(mac(chip=chip, Tp01=50, Tg05=41, Ts00=55, Ts0d=56, Ts0P=31, Ts1P=31, TsOP=31))
    assert count(seen) == sensors


def test_only_numbers_of_32_bits_are_temperatures(sample):
    machine = mac(Tp01=50, Tg05=41)
    machine.smc["Tp09"] = ("ui8 ", b"\x46")
    assert count(sample(machine)) == 1


def test_a_sensor_that_stands_still_while_its_neighbours_cool_down_is_left_out(sample):
    sample(mac(Te04=60, Te05=61, Tp01=80, Tp02=81, Tg05=41))
    seen = sample(mac(Te04=50, Te05=51, Tp01=80, Tp02=81, Tg05=41))
    assert (hottest(seen), count(seen)) == (51, 2)
    awake = sample(mac(Te04=50, Te05=51, Tp01=55, Tp02=56, Tg05=41))
    assert (hottest(awake), count(awake)) == (56, 4)


def test_a_sensor_that_stands_still_among_neighbours_that_hardly_move_is_kept(sample):
    for step in range(4):
        seen = sample(mac(Te04=60 + step / 8, Te05=61 - step / 8, Tp01=80, Tg05=41))
    assert (hottest(seen), count(seen)) == (80, 3)


def test_the_air_may_stand_still_while_what_it_cools_gets_hot(sample):
    sample(mac(Tp01=50, Tg05=41, TAOL=22.5, TaLP=31))
    seen = sample(mac(Tp01=90, Tg05=80, TAOL=22.5, TaLP=40))
    assert seen.get(TEMPERATURE(0, device="air", sensor="ambient")) == 22.5


@pytest.mark.parametrize(
    ("degrees", "missing", "device"),
    [({"Tp01": 50}, [NO_GPU], "gpu0"), ({"Tg05": 41}, [NO_CPU], "cpu"), ({"Tp01": 50, "Tg05": 0}, [NO_GPU], "gpu0")],
)
def test_a_part_without_a_thermometer_is_absent_and_a_row_says_so(sample, degrees, missing, device):
    seen = sample(mac(**degrees))
    assert reasons(seen) == missing
    assert hottest(seen, device) is None
    assert count(seen, device) is None


def test_a_gpu_that_falls_asleep_is_absent_until_it_wakes(sample):
    assert hottest(sample(mac(Tp01=50, Tg05=41)), "gpu0") == 41
    assert hottest(sample(mac(Tp01=50, Tg05=-2.75)), "gpu0") is None
    assert hottest(sample(mac(Tp01=50, Tg05=43)), "gpu0") == 43


def test_the_keys_are_listed_once(sample, monkeypatch):
    sample(mac(Tp01=50, Tg05=41))
    monkeypatch.setattr(smc_module.Smc, "keys", lambda self: pytest.fail("listed again"))
    assert hottest(sample(mac(Tp01=51, Tg05=41))) == 51


HID = [
    ("pACC MTR Temp Sensor2", 35.1), ("eACC MTR Temp Sensor0", 32.5), ("GPU MTR Temp Sensor1", 31.5),
    ("SOC MTR Temp Sensor0", 33.2), ("PMU tdie1", 42.9), ("PMU2 tdie1", 43.6), ("PMU tdev3", 90.0), ("PMU tcal", 51.9),
    ("PMU TP3w", 60.0), ("NAND CH0 temp", 35.0), ("gas gauge battery", 32.4), ("PMU tdev1", -21.7),
]  # fmt: skip


def test_without_the_controller_hid_sensors_are_read_by_their_names(sample):
    seen = sample(mac(hid=HID))
    assert (hottest(seen), mean(seen), count(seen)) == (35.1, pytest.approx(33.8), 2)
    assert hottest(seen, "gpu0") == 31.5
    assert (hottest(seen, "soc"), count(seen, "soc")) == (43.6, 3)
    assert hottest(seen, "storage") == 35
    assert seen.get(TEMPERATURE(0, device="battery", sensor="battery")) == 32.4
    assert reasons(seen) == []


def test_a_controller_without_keys_of_the_chip_is_filled_up_with_hid_sensors(sample):
    seen = sample(mac(hid=HID, TB0T=27.5))
    assert hottest(seen) == 35.1
    assert seen.get(TEMPERATURE(0, device="battery", sensor="battery")) == 27.5


def test_a_controller_with_keys_of_the_chip_is_enough(sample):
    assert hottest(sample(mac(hid=HID, Tp01=50)), "soc") is None


def test_newer_chips_have_hid_sensors_of_the_chip_as_a_whole_only(sample):
    seen = sample(mac(hid=[("PMU tdie1", 42.9), ("PMU2 tdie4", 43.9)]))
    assert hottest(seen, "soc") == 43.9
    assert reasons(seen) == [NO_CPU, NO_GPU]


def test_parts_without_power_read_30_degrees_among_hid_sensors(sample):
    seen = sample(mac(hid=[("pACC MTR Temp Sensor2", 35.1), ("GPU MTR Temp Sensor1", 30.0)]))
    assert reasons(seen) == [NO_GPU]


def test_a_controller_that_cannot_list_its_keys_is_let_go_of(fake, sample, monkeypatch):
    def broken(self):
        raise OSError("no")

    monkeypatch.setattr(smc_module.Smc, "keys", broken)
    assert hottest(sample(mac(hid=HID, Tp01=50))) == 35.1


@pytest.mark.parametrize("hid", [None, [("PMU tcal", 51.9)]])
def test_without_thermometers_it_is_not_available(sample, hid):
    with pytest.raises(NotAvailable, match="HID"):
        sample(mac(hid=hid))


def test_a_controller_without_thermometers_is_not_available(sample):
    with pytest.raises(NotAvailable, match="no thermometer in SMC or HID"):
        sample(Machine(smc={"FNum": ("ui8 ", b"\0")}))


def test_thermometers_that_come_later_are_found(sample):
    with pytest.raises(NotAvailable):
        sample(Machine(smc={"FNum": ("ui8 ", b"\0")}))
    assert hottest(sample(mac(Tp01=50, Tg05=41))) == 50


@pytest.mark.parametrize("name", DUMPS)
def test_every_real_mac_has_temperatures_of_cores_and_gpu_that_can_be_true(sample, name):
    seen = sample(dump(name))
    assert all(10 < degrees < 115 for degrees in seen.values[TEMPERATURE].values())
    assert hottest(seen) >= mean(seen)
    assert count(seen) >= 3
    assert (hottest(seen, "gpu0") is None) == (name in GPU_ASLEEP)
    assert reasons(seen) == [NO_GPU] * (name in GPU_ASLEEP)


@pytest.mark.parametrize("name", DUMPS)
def test_the_hottest_spot_of_every_real_mac_is_what_its_controller_says(sample, name):
    machine = dump(name)
    # The controller's own maximum, which is 40 too while the performance cores have no power.
    maximum = smc_module.decode(*machine.smc["TCMz"])
    seen = sample(machine)
    ours = max(filter(None, (hottest(seen), hottest(seen, "gpu0"))))
    # Keys of one recording were read up to a second apart.
    assert ours == pytest.approx(maximum, abs=5.5 if name == "m4-6" else 3 if maximum == 40 else 0.01)


def test_all_real_dumps_are_read():
    found = (shared_captures() / "macos/smc").glob("ismc-report-*.txt")
    assert sorted(re.sub(r"ismc-report-(.*)\.txt", r"\1", path.name) for path in found) == DUMPS


@pytest.mark.parametrize(
    ("name", "gpu"), [("m1_macbookair_2026_sensors", None), ("m1_macmini_2020_sensors", pytest.approx(27.6))]
)
def test_the_hid_sensors_of_real_macs(sample, name, gpu):
    seen = sample(recordings.read((shared_captures() / f"macos/hid/{name}.txt").read_bytes()).machine)
    assert all(20 < degrees < 45 for degrees in seen.values[TEMPERATURE].values())
    assert hottest(seen, "gpu0") == gpu
    assert hottest(seen, "soc") > 37
