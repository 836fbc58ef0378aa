"""HID thermometers: one client, names made unique, sensors that say nothing left out."""

import math

import pytest

from fakes.apple.control import Fake
from fakes.apple.machine import Machine
from tokwatt_exporter.apple.hid import Thermometers
from tokwatt_exporter.errors import NotAvailable


def test_sensors_are_read_by_name_and_a_silent_one_is_left_out(fake: Fake) -> None:
    fake.show(Machine(hid=[("pACC MTR Temp Sensor0", 41.5), ("PMU tdev1", None), ("PMU tcal", 51.85)]))
    thermometers = Thermometers.open()

    assert thermometers.read() == [("pACC MTR Temp Sensor0", 41.5), ("PMU tcal", 51.85)]

    thermometers.close()


def test_each_read_shows_what_the_sensors_say_then(fake: Fake) -> None:
    fake.show(Machine(hid=[("PMU tdie1", 40.0)]))
    thermometers = Thermometers.open()
    fake.show(Machine(hid=[("PMU tdie1", 60.25)]))

    assert thermometers.read() == [("PMU tdie1", 60.25)]

    thermometers.close()


def test_equal_names_are_numbered_by_place_whoever_answers(fake: Fake) -> None:
    fake.show(Machine(hid=[("NAND CH0 temp", None), ("NAND CH0 temp", 31.0), ("NAND CH0 temp", 32.0)]))
    thermometers = Thermometers.open()

    assert thermometers.read() == [("NAND CH0 temp 2", 31.0), ("NAND CH0 temp 3", 32.0)]

    thermometers.close()


@pytest.mark.parametrize("degrees", [math.nan, math.inf])
def test_what_is_not_a_number_is_left_out(fake: Fake, degrees: float) -> None:
    fake.show(Machine(hid=[("PMU tdie1", degrees)]))
    thermometers = Thermometers.open()

    assert thermometers.read() == []

    thermometers.close()


@pytest.mark.parametrize(
    ("sensors", "reason"),
    [(None, "no HID temperature sensors on this machine"), ([], "no HID temperature sensors on this machine")],
    ids=["no answer", "no sensor"],
)
def test_a_machine_without_sensors_says_so_and_keeps_nothing(
    fake: Fake, sensors: list[tuple[str, float | None]] | None, reason: str
) -> None:
    fake.show(Machine(hid=sensors))

    with pytest.raises(NotAvailable) as caught:
        Thermometers.open()

    assert str(caught.value) == reason
    assert (fake.live_objects(), fake.live_handles()) == (0, 0)


def test_a_thousand_reads_keep_nothing(fake: Fake) -> None:
    fake.show(Machine(hid=[("PMU tdie1", 40.0), ("PMU tdie2", None)]))
    thermometers = Thermometers.open()
    before = (fake.live_objects(), fake.live_handles())

    for _ in range(1000):
        thermometers.read()

    assert (fake.live_objects(), fake.live_handles()) == before
    thermometers.close()
    thermometers.close()
