"""The SMC: keys, types and values as real machines have them."""

import math
import re
import struct
from typing import Literal

import pytest

from fakes.apple.control import Fake
from fakes.apple.machine import Machine, Node
from support.captures import shared_captures
from tokwatt_exporter.apple import libraries, smc
from tokwatt_exporter.apple.smc import Smc, decode
from tokwatt_exporter.errors import NotAvailable

LINE = re.compile(r" *(\S{4}) +\[(.{4})\] +(?:(-?[\d.]+) )?\(bytes ((?:[0-9a-f]{2} ?)+)\)")
ENDPOINT = Node("AppleSMCKeysEndpoint", "AppleSMC")


def dump(model: str) -> list[tuple[str, str, str | None, bytes]]:
    """Key, type, the value that another reader made of it, and the bytes."""
    file = shared_captures() / f"macos/smc/ismc-report-{model}.txt"
    lines = [match.groups() for line in file.read_text().splitlines() if (match := LINE.fullmatch(line))]
    assert len(lines) > 50
    return [(key, kind, value, bytes.fromhex(data)) for key, kind, value, data in lines]


@pytest.mark.parametrize("model", ["m4", "m4-max", "m3-max-2", "a18"])
def test_values_of_real_machines_are_what_other_readers_say(model: str) -> None:
    compared = 0
    for key, kind, told, data in dump(model):
        found = decode(kind, data)
        assert found is not None, key
        if told is None or kind not in ("flt ", "ioft"):
            continue
        # Some of it is printed without decimals.
        assert found == pytest.approx(float(told), abs=1e-4 if "." in told else 0.5), key
        compared += 1
    assert compared > 100


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("flt ", "68a12442", 41.1576232910),
        ("flt ", "000000c0", -2.0),
        ("ui8 ", "02", 2),
        ("ui16", "0102", 0x0201),
        ("ui32", "01020304", 0x04030201),
        ("si8 ", "ff", -1),
        ("si16", "feff", -2),
        ("si32", "05000000", 5),
        ("si32", "fbffffff", -5),
        ("flag", "01", 1),
        ("ioft", "99991800 00000000", 24.6),
        ("fpe2", "1f40", 2000),
        ("sp78", "1a80", 26.5),
        ("sp78", "ff80", -0.5),
    ],
)
def test_each_type_is_decoded(kind: str, data: str, value: float) -> None:
    assert decode(kind, bytes.fromhex(data)) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("flt ", struct.pack("<f", math.nan)),
        ("flt ", struct.pack("<f", math.inf)),
        ("flt ", b"\0\0"),
        ("flt ", b""),
        ("ui16", b"\0" * 4),
        ("ch8*", b"J293"),
        ("hex_", b"\0\0\0\1"),
        ("????", b"\0"),
    ],
)
def test_what_is_not_a_number_is_none(kind: str, data: bytes) -> None:
    assert decode(kind, data) is None


def connected(fake: Fake, keys: dict[str, tuple[str, bytes]]) -> Smc:
    fake.show(Machine(nodes=[Node("AppleSMC", "AppleSMC"), ENDPOINT], smc=keys))
    return Smc.open()


def test_keys_are_listed_and_read(fake: Fake) -> None:
    values = {key: (kind, data) for key, kind, _, data in dump("m4-max")}
    connection = connected(fake, values)

    assert set(connection.keys()) - {"#KEY"} == set(values)
    for key, (kind, data) in values.items():
        assert connection.kind(key) == kind
        assert connection.read(key) == decode(kind, data)

    connection.close()


@pytest.mark.parametrize("order", ["big", "little"])
def test_the_number_of_keys_is_understood_in_either_byte_order(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, order: Literal["big", "little"]
) -> None:
    connection = connected(fake, {"PDTR": ("flt ", b"\0\0\0\0"), "PSTR": ("flt ", b"\0\0\0\0")})
    monkeypatch.setattr(connection, "_read", lambda _: ("ui32", (3).to_bytes(4, order)))

    assert connection.keys() == ["#KEY", "PDTR", "PSTR"]

    connection.close()


def test_a_senseless_number_of_keys_is_an_error(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connected(fake, {})
    monkeypatch.setattr(connection, "_read", lambda _: ("ui32", bytes.fromhex("7fffff7f")))

    with pytest.raises(OSError, match="how many keys"):
        connection.keys()

    connection.close()


def test_a_key_that_went_away_is_absent_not_zero(fake: Fake) -> None:
    connection = connected(fake, {"PSTR": ("flt ", struct.pack("<f", 10.5))})
    assert connection.read("PSTR") == 10.5
    fake.show(Machine(nodes=[ENDPOINT], smc={}))

    assert connection.read("PSTR") is None

    connection.close()


def test_values_are_read_anew_each_time(fake: Fake) -> None:
    connection = connected(fake, {"PSTR": ("flt ", struct.pack("<f", 10.5))})
    first = connection.read("PSTR")
    fake.show(Machine(nodes=[ENDPOINT], smc={"PSTR": ("flt ", struct.pack("<f", 80.25))}))

    assert (first, connection.read("PSTR")) == (10.5, 80.25)

    connection.close()


@pytest.mark.parametrize("key", ["FNum", "ABC", "ABCDE", "", "µµµµ", "温度温度"])
def test_a_key_that_is_not_there_is_none(fake: Fake, key: str) -> None:
    connection = connected(fake, {"PSTR": ("flt ", b"\0\0\0\0")})

    assert connection.kind(key) is None
    assert connection.read(key) is None

    connection.close()


def test_a_key_that_is_not_a_number_has_a_type_and_no_value(fake: Fake) -> None:
    connection = connected(fake, {"RPlt": ("ch8*", b"J293\0\0\0\0")})

    assert (connection.kind("RPlt"), connection.read("RPlt")) == ("ch8*", None)

    connection.close()


def test_a_connection_that_answers_nothing_has_no_keys_and_no_values(fake: Fake) -> None:
    connection = connected(fake, {"PSTR": ("flt ", b"\0\0\0\0")})
    fake.show(Machine(nodes=[ENDPOINT], smc=None))

    assert (connection.keys(), connection.kind("PSTR"), connection.read("PSTR")) == ([], None, None)

    connection.close()


def test_a_key_that_could_not_be_asked_for_is_asked_for_again(fake: Fake) -> None:
    connection = connected(fake, {"PSTR": ("flt ", struct.pack("<f", 10.5))})
    fake.show(Machine(nodes=[ENDPOINT], smc=None))
    assert connection.read("PSTR") is None

    fake.show(Machine(nodes=[ENDPOINT], smc={"PSTR": ("flt ", struct.pack("<f", 10.5))}))

    assert connection.read("PSTR") == 10.5
    connection.close()


def test_a_machine_without_smc_says_so(fake: Fake) -> None:
    fake.show(Machine(nodes=[Node("AppleSMC", "AppleSMC")], smc=None))

    with pytest.raises(NotAvailable, match=r"^no SMC on this machine$"):
        Smc.open()

    assert (fake.live_objects(), fake.live_handles()) == (0, 0)


def test_an_smc_that_takes_no_connection_says_so(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.show(Machine(nodes=[ENDPOINT], smc={}))
    monkeypatch.setitem(smc.SMC._bound, (libraries.PATHS["iokit"], "IOServiceOpen"), lambda *_: 0xE00002E2)

    with pytest.raises(NotAvailable, match=r"^the SMC takes no connection$"):
        Smc.open()

    assert (fake.live_objects(), fake.live_handles()) == (0, 0)


def test_a_connection_closes_once(fake: Fake) -> None:
    connection = connected(fake, {"PSTR": ("flt ", b"\0\0\0\0")})

    connection.close()
    connection.close()

    assert fake.live_handles() == 0
