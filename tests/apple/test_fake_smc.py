"""The fake's SMC answers to exactly 80 bytes with all fields in their places, and to nothing else."""

import ctypes
import struct

import pytest

from fakes.apple.calls import Calls
from fakes.apple.machine import Machine

BAD_ARGUMENT, UNSUPPORTED = 0xE00002C2, 0xE00002C7
TASK = 0x203


@pytest.fixture
def calls(fake):
    return Calls(fake)


def smc(calls, connection, size=80, room=80, **fields):
    request = bytearray(80)
    places = {
        "key": (">4s", 0),
        "length": ("<I", 28),
        "command": ("<B", 42),
        "index": ("<I", 44),
        "misplaced": ("<B", 43),
    }
    for name, value in fields.items():
        layout, offset = places[name]
        # The first character of a key is the most significant byte of a little endian number.
        struct.pack_into(layout, request, offset, value[::-1] if name == "key" else value)
    answer, length = ctypes.create_string_buffer(80), ctypes.c_size_t(room)
    sent = ctypes.create_string_buffer(bytes(request), 80)
    code = calls.code("IOConnectCallStructMethod", connection, 2, sent, size, answer, ctypes.byref(length))
    return code, answer.raw[40], answer.raw


@pytest.fixture
def connections(calls, fake):
    fake.show(Machine(smc={"PSTR": ("flt ", struct.pack("<f", 12.5))}))
    iterator, connection, found = ctypes.c_uint32(), ctypes.c_uint32(), {}
    calls.code(
        "IOServiceGetMatchingServices", 0, calls.pointer("IOServiceMatching", b"AppleSMC"), ctypes.byref(iterator)
    )
    while entry := calls.code("IOIteratorNext", iterator.value):
        name = ctypes.create_string_buffer(128)
        calls.code("IORegistryEntryGetName", entry, name)
        assert calls.code("IOServiceOpen", entry, TASK, 0, ctypes.byref(connection)) == 0
        found[name.value] = connection.value
        calls.code("IOObjectRelease", entry)
    calls.code("IOObjectRelease", iterator.value)
    yield found
    for connection in found.values():
        calls.code("IOServiceClose", connection)


def test_the_smc_answers_on_one_of_its_services_only(calls, connections):
    keys = connections[b"AppleSMCKeysEndpoint"]
    (other,) = set(connections.values()) - {keys}
    assert smc(calls, other, key=b"PSTR", command=9)[0] == UNSUPPORTED
    code, result, answer = smc(calls, keys, key=b"PSTR", command=9)
    assert (code, result, struct.unpack_from("<I4s", answer, 28)) == (0, 0, (4, b" tlf"))
    code, result, answer = smc(calls, keys, key=b"PSTR", command=5, length=4)
    assert (code, result, struct.unpack_from("<f", answer, 48)) == (0, 0, (12.5,))


@pytest.mark.parametrize(
    ("request_", "code", "result"),
    [
        ({"size": 76, "key": b"PSTR", "command": 9}, BAD_ARGUMENT, 0),
        ({"room": 76, "key": b"PSTR", "command": 9}, BAD_ARGUMENT, 0),
        ({"key": b"PSTR", "misplaced": 9}, BAD_ARGUMENT, 0),
        ({"key": b"PSTR", "command": 5}, 0, 135),
        ({"key": b"NONE", "command": 9}, 0, 132),
        ({"index": 2, "command": 8}, 0, 184),
    ],
    ids=["short in", "short out", "wrong place", "without size", "no such key", "beyond the last"],
)
def test_the_smc_refuses_what_is_not_exact(calls, connections, request_, code, result):
    assert smc(calls, connections[b"AppleSMCKeysEndpoint"], **request_)[:2] == (code, result)


def test_the_smc_counts_its_keys_with_the_highest_byte_first(calls, connections):
    answer = smc(calls, connections[b"AppleSMCKeysEndpoint"], key=b"#KEY", command=5, length=4)[2]
    assert answer[48:52] == b"\0\0\0\2"
