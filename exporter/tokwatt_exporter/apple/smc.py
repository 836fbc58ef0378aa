"""The System Management Controller: sensors and power, by keys of four characters."""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable
from ctypes import c_size_t, c_uint32
from typing import NamedTuple

from tokwatt_exporter.apple import mach
from tokwatt_exporter.apple.iokit import services
from tokwatt_exporter.apple.libraries import CODE, POINTER, PORT, Functions
from tokwatt_exporter.errors import NotAvailable

_ENDPOINT = "AppleSMCKeysEndpoint"
_SELECTOR = 2
_READ, _KEY_AT, _KEY_INFO = 5, 8, 9
_OK, _NO_SUCH_KEY = 0, 132
#: Key; size and type of its value; result; command; index; the value's bytes.
_REQUEST = struct.Struct("<I24xII6xBxI32x")
_ANSWER = struct.Struct("<I24xII4xB7x32s")
_MOST_KEYS = 10_000

SMC = Functions(
    "iokit",
    {
        "IOServiceOpen": (CODE, [PORT, PORT, c_uint32, POINTER]),
        "IOServiceClose": (CODE, [PORT]),
        "IOConnectCallStructMethod": (CODE, [PORT, c_uint32, POINTER, c_size_t, POINTER, POINTER]),
    },
)


class _Kind(NamedTuple):
    type: str
    size: int


class _Answer(NamedTuple):
    key: int
    size: int
    type: int
    result: int
    data: bytes


class Smc:
    """A connection that reads keys; it never writes one."""

    def __init__(self, connection: int) -> None:
        self._connection = connection
        self._kinds: dict[str, _Kind | None] = {}
        self._answer = ctypes.create_string_buffer(_ANSWER.size)

    @classmethod
    def open(cls) -> Smc:
        """Connect; `NotAvailable` where the machine has no SMC or does not let us."""
        # Several services have the class; only this one answers to keys.
        for service in services("AppleSMC"):
            if service.name == _ENDPOINT:
                connection = PORT()
                if SMC.IOServiceOpen(service.handle, mach.task(), 0, ctypes.byref(connection)):
                    raise NotAvailable("the SMC takes no connection")
                return cls(connection.value)
        raise NotAvailable("no SMC on this machine")

    def keys(self) -> list[str]:
        """All keys there are; takes about 100 ms."""
        count = self._read("#KEY")
        if count is None:
            return []
        # The byte order is told differently for different machines. Read the wrong way, so few keys are a huge number.
        number = min(int.from_bytes(count[1], "big"), int.from_bytes(count[1], "little"))
        if number > _MOST_KEYS:
            raise OSError("the SMC does not say how many keys it has")
        answers = (self._ask(0, _KEY_AT, index=index) for index in range(number))
        return [_name(answer.key) for answer in answers if answer and answer.result == _OK]

    def kind(self, key: str) -> str | None:
        """The type of a key's value, four characters such as "flt "; None where there is no such key."""
        found = self._kind(key)
        return found.type if found else None

    def read(self, key: str) -> float | None:
        """The value as a number; None where there is none, it is not a number, or it cannot be read."""
        found = self._read(key)
        return decode(*found) if found else None

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, 0
        if connection:
            SMC.IOServiceClose(connection)

    def _read(self, key: str) -> tuple[str, bytes] | None:
        kind = self._kind(key)
        if kind is None:
            return None
        answer = self._ask(_code(key), _READ, size=kind.size)
        return (kind.type, answer.data[: kind.size]) if answer and answer.result == _OK else None

    def _kind(self, key: str) -> _Kind | None:
        if key in self._kinds:
            return self._kinds[key]
        if len(key) != 4 or not key.isascii():
            return None
        answer = self._ask(_code(key), _KEY_INFO)
        if answer is None or answer.result not in (_OK, _NO_SUCH_KEY):
            return None
        self._kinds[key] = _Kind(_name(answer.type), answer.size) if answer.result == _OK else None
        return self._kinds[key]

    def _ask(self, key: int, command: int, *, size: int = 0, index: int = 0) -> _Answer | None:
        request = _REQUEST.pack(key, size, 0, command, index)
        length = c_size_t(len(self._answer))
        code = SMC.IOConnectCallStructMethod(
            self._connection, _SELECTOR, request, len(request), self._answer, ctypes.byref(length)
        )
        if code or length.value != len(self._answer):
            return None
        return _Answer._make(_ANSWER.unpack_from(self._answer))


def _code(key: str) -> int:
    return int.from_bytes(key.encode("ascii"), "big")


def _name(code: int) -> str:
    return code.to_bytes(4, "big").decode("latin-1")


def _integer(size: int, signed: bool = False) -> tuple[int, Callable[[bytes], float]]:
    return size, lambda data: int.from_bytes(data, "little", signed=signed)


#: By type: bytes, and what they mean. The last two are from Intel machines and have their highest byte first.
_TYPES: dict[str, tuple[int, Callable[[bytes], float]]] = {
    "flt ": (4, lambda data: float(struct.unpack("<f", data)[0])),
    "ui8 ": _integer(1),
    "ui16": _integer(2),
    "ui32": _integer(4),
    "si8 ": _integer(1, signed=True),
    "si16": _integer(2, signed=True),
    "si32": _integer(4, signed=True),
    "flag": _integer(1),
    "ioft": (8, lambda data: int.from_bytes(data, "little") / 65536),
    "fpe2": (2, lambda data: int.from_bytes(data, "big") / 4),
    "sp78": (2, lambda data: int.from_bytes(data, "big", signed=True) / 256),
}


def decode(kind: str, data: bytes) -> float | None:
    """The number in a value of that type; None for other types, other sizes and what is not finite."""
    size, number = _TYPES.get(kind, (-1, None))
    if number is None or len(data) != size:
        return None
    value = number(data)
    return value if math.isfinite(value) else None
