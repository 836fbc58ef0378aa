"""CoreFoundation's objects become Python values and go away again."""

from typing import Any

import pytest

from fakes.apple.control import Fake
from fakes.apple.machine import Machine, Node
from tokwatt_exporter.apple import iokit
from tokwatt_exporter.apple.corefoundation import CF, Owned, items, made, python, string, text
from tokwatt_exporter.apple.hid import HID


@pytest.mark.parametrize("value", ["", "Energy Model", "µW at 20 °C", "温度 \U0001f321", "x" * 1000, "é" * 1000])
def test_texts_of_any_length_and_script_come_through(fake: Fake, value: str) -> None:
    with string(value) as ref:
        assert text(ref) == value


@pytest.mark.parametrize("value", [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_integers_are_exact(fake: Fake, value: int) -> None:
    with made(value) as ref:
        assert python(ref) == value
        assert isinstance(python(ref), int)


def test_containers_come_back_as_they_were_made(fake: Fake) -> None:
    value = {"DriverID": 2**40, "LegendChannel": [1, 2, "CPU"], "Info": {"Unit": 3}, "none": [], "empty": {}}

    with made(value) as ref:
        assert python(ref) == value


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        1.5,
        0.1,
        b"",
        bytes(range(256)),
        2**63 - 1,
        [1, [2, {"three": 3.0}]],
        {"Watts": 96, "on": True, "raw": b"\0\1"},
    ],
    ids=repr,
)
def test_properties_have_the_types_they_have_on_a_mac(fake: Fake, value: Any) -> None:
    fake.show(Machine(nodes=[Node("x", "X", {"value": value})]))

    (found,) = [entry.property("value") for entry in iokit.services("X")]

    assert found == value
    assert type(found) is type(value)


def test_objects_lie_above_4_gib_and_arrive_whole(fake: Fake) -> None:
    with string("x") as ref, made([1]) as array:
        assert min(ref, array, *items(array)) >= 2**32


@pytest.mark.parametrize("nothing", [None, 0])
def test_null_is_none(fake: Fake, nothing: int | None) -> None:
    assert python(nothing) is None
    assert text(nothing) is None


def test_text_of_something_else_is_none(fake: Fake) -> None:
    with made(7) as ref:
        assert text(ref) is None


def test_objects_of_other_types_are_none(fake: Fake) -> None:
    with Owned(HID.IOHIDEventSystemClientCreate(None)) as client:
        assert python(client) is None


def test_entries_of_other_types_are_left_out_of_a_dictionary_and_none_in_an_array(fake: Fake) -> None:
    with Owned(HID.IOHIDEventSystemClientCreate(None)) as client, made({"Watts": 96}) as ref, made([96]) as array:
        with string("client") as key:
            CF.CFDictionarySetValue(ref, key, client)
        CF.CFArrayAppendValue(array, client)

        assert python(ref) == {"Watts": 96}
        assert python(array) == [96, None]


def test_null_is_never_released(fake: Fake) -> None:
    with Owned(None) as ref:
        assert ref == 0


def test_a_reference_is_released_once_and_also_after_an_error(fake: Fake) -> None:
    before = fake.live_objects()
    owned = string("x")

    with pytest.raises(KeyError), owned:
        assert fake.live_objects() == before + 1
        raise KeyError
    owned.release()

    assert fake.live_objects() == before


def test_a_container_that_cannot_be_made_whole_leaves_nothing(fake: Fake) -> None:
    before = fake.live_objects()

    with pytest.raises(TypeError):
        made({"first": [1, 2], "second": [3, None]})

    assert fake.live_objects() == before
