"""sysctl: values of any size, in binary."""

import ctypes
import errno
import struct
from typing import Any

import pytest

from fakes.apple.control import Fake
from fakes.apple.machine import Interface, Machine
from tokwatt_exporter.apple import sysctl


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (struct.pack("<i", 4), 4),
        (struct.pack("<q", 4), 4),
        (struct.pack("<Q", 137_438_953_472), 137_438_953_472),
        (struct.pack("<i", -1), -1),
        (b"\1\0", None),
        (b"", None),
        (b"\0" * 16, None),
    ],
)
def test_an_integer_has_4_or_8_bytes(fake: Fake, value: bytes, expected: int | None) -> None:
    fake.show(Machine(sysctls={"iogpu.wired_limit_mb": value}))

    assert sysctl.integer("iogpu.wired_limit_mb") == expected


def test_what_is_not_there_is_none(fake: Fake) -> None:
    fake.show(Machine(sysctls={}))

    assert sysctl.raw("hw.nothing") is None
    assert sysctl.integer("hw.nothing") is None
    assert sysctl.string("hw.nothing") is None
    assert sysctl.swap() is None


@pytest.mark.parametrize(("value", "expected"), [(b"Apple M1\0", "Apple M1"), (b"25G83\0\0\0", "25G83"), (b"\0", None)])
def test_a_text_ends_at_its_zero(fake: Fake, value: bytes, expected: str | None) -> None:
    fake.show(Machine(sysctls={"machdep.cpu.brand_string": value}))

    assert sysctl.string("machdep.cpu.brand_string") == expected


def test_values_larger_than_any_buffer_come_whole(fake: Fake) -> None:
    value = bytes(range(256)) * 64
    fake.show(Machine(sysctls={"kern.large": value}))

    assert sysctl.raw("kern.large") == value


def test_swap_is_read_in_binary(fake: Fake) -> None:
    fake.show(Machine(sysctls={"vm.swapusage": struct.pack("<QQQII", 3 << 30, 1 << 30, 2 << 30, 16384, 1)}))

    assert sysctl.swap() == sysctl.Swap(total=3 << 30, available=1 << 30, used=2 << 30)


def test_a_swap_answer_that_is_cut_is_no_answer(fake: Fake) -> None:
    fake.show(Machine(sysctls={"vm.swapusage": b"\0" * 16}))

    assert sysctl.swap() is None


def test_counters_of_interfaces_do_not_wrap_at_4_gib(fake: Fake) -> None:
    fake.show(
        Machine(
            interfaces=[
                Interface("lo0", received=10, sent=10),
                Interface("en0", received=6 << 32, sent=(5 << 32) + 1, received_packets=7 << 32, sent_packets=8),
            ]
        )
    )

    assert sysctl.interfaces() == [
        sysctl.Interface("lo0", 10, 10, 0, 0, 0, 0),
        sysctl.Interface("en0", 6 << 32, (5 << 32) + 1, 7 << 32, 8, 0, 0),
    ]


def test_a_system_without_interfaces_has_none(fake: Fake) -> None:
    fake.show(Machine(interfaces=[]))

    assert sysctl.interfaces() == []


def test_a_value_that_grew_since_its_size_was_told_is_asked_for_again() -> None:
    lengths = iter([4, 8, 8, 8])

    def call(buffer: Any, size: Any) -> int:
        room, size._obj.value = size._obj.value, next(lengths)
        if buffer is not None and room < size._obj.value:
            ctypes.set_errno(errno.ENOMEM)
            return -1
        return 0

    assert sysctl._read(call) == bytes(8)
