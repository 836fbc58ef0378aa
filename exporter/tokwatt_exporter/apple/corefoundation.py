"""CoreFoundation: its objects as Python values, and back, with every reference released."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from ctypes import c_bool, c_char_p, c_double, c_int64, c_long, c_uint32, c_ulong
from functools import cache
from types import TracebackType
from typing import Any

from tokwatt_exporter.apple.libraries import PATHS, POINTER, Functions, address

_UTF8 = 0x08000100
_SINT64, _FLOAT64 = 4, 6
#: Bytes in which nearly every string has room.
_SHORT = 256
_Short = ctypes.c_char * _SHORT


class _Range(ctypes.Structure):
    _fields_ = (("location", c_long), ("length", c_long))


CF = Functions(
    "corefoundation",
    {
        "CFRelease": (None, [POINTER]),
        "CFGetTypeID": (c_ulong, [POINTER]),
        "CFStringGetTypeID": (c_ulong, []),
        "CFNumberGetTypeID": (c_ulong, []),
        "CFBooleanGetTypeID": (c_ulong, []),
        "CFDataGetTypeID": (c_ulong, []),
        "CFArrayGetTypeID": (c_ulong, []),
        "CFDictionaryGetTypeID": (c_ulong, []),
        "CFStringCreateWithCString": (POINTER, [POINTER, c_char_p, c_uint32]),
        "CFStringGetLength": (c_long, [POINTER]),
        "CFStringGetCString": (c_bool, [POINTER, POINTER, c_long, c_uint32]),
        "CFNumberCreate": (POINTER, [POINTER, c_long, POINTER]),
        "CFNumberIsFloatType": (c_bool, [POINTER]),
        "CFNumberGetValue": (c_bool, [POINTER, c_long, POINTER]),
        "CFBooleanGetValue": (c_bool, [POINTER]),
        "CFDataGetLength": (c_long, [POINTER]),
        "CFDataGetBytePtr": (POINTER, [POINTER]),
        "CFArrayGetCount": (c_long, [POINTER]),
        "CFArrayGetValues": (None, [POINTER, _Range, POINTER]),
        "CFArrayCreateMutable": (POINTER, [POINTER, c_long, POINTER]),
        "CFArrayAppendValue": (None, [POINTER, POINTER]),
        "CFDictionaryGetCount": (c_long, [POINTER]),
        "CFDictionaryGetValue": (POINTER, [POINTER, POINTER]),
        "CFDictionaryGetKeysAndValues": (None, [POINTER, POINTER, POINTER]),
        "CFDictionaryCreateMutable": (POINTER, [POINTER, c_long, POINTER, POINTER]),
        "CFDictionaryCreateMutableCopy": (POINTER, [POINTER, c_long, POINTER]),
        "CFDictionarySetValue": (None, [POINTER, POINTER, POINTER]),
    },
    quick=True,
)


class Owned(AbstractContextManager[int]):
    """One reference that is ours to release: what a function with Create or Copy in its name returned.

    The `with` block gets the pointer, 0 for NULL.
    """

    __slots__ = ("ref",)

    def __init__(self, pointer: int | None) -> None:
        self.ref = pointer or 0

    def __enter__(self) -> int:
        return self.ref

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the reference back, once."""
        ref, self.ref = self.ref, 0
        if ref:
            CF.CFRelease(ref)


def string(text: str) -> Owned:
    """A CFString."""
    return _made(CF.CFStringCreateWithCString(None, text.encode(), _UTF8))


def made(value: str | int | Sequence[Any] | Mapping[str, Any]) -> Owned:
    """A CFString, CFNumber (64 bits), or a mutable CFArray or CFDictionary of such."""
    if isinstance(value, str):
        return string(value)
    if isinstance(value, int):
        return _made(CF.CFNumberCreate(None, _SINT64, ctypes.byref(c_int64(value))))
    container = _container(value)
    try:
        if isinstance(value, Mapping):
            for key, item in value.items():
                with string(key) as name, made(item) as ref:
                    CF.CFDictionarySetValue(container.ref, name, ref)
        else:
            for item in value:
                with made(item) as ref:
                    CF.CFArrayAppendValue(container.ref, ref)
    except BaseException:
        container.release()
        raise
    return container


def _container(value: Sequence[Any] | Mapping[str, Any]) -> Owned:
    if isinstance(value, Mapping):
        keys = address("corefoundation", "kCFTypeDictionaryKeyCallBacks")
        values = address("corefoundation", "kCFTypeDictionaryValueCallBacks")
        return _made(CF.CFDictionaryCreateMutable(None, 0, keys, values))
    return _made(CF.CFArrayCreateMutable(None, 0, address("corefoundation", "kCFTypeArrayCallBacks")))


def _made(pointer: int | None) -> Owned:
    if not pointer:
        raise MemoryError("CoreFoundation made no object")
    return Owned(pointer)


def text(ref: int | None) -> str | None:
    """What a CFString says; None for NULL and for anything else."""
    found = python(ref)
    return found if isinstance(found, str) else None


def python(ref: int | None) -> Any:
    """A CFString, CFNumber, CFBoolean, CFData, CFArray or CFDictionary as Python has it; None for all others.

    Of a dictionary, entries with a value of None are left out. Integers are exact.
    """
    return _reader(PATHS["corefoundation"]).python(ref) if ref else None


def items(ref: int) -> list[int]:
    """What is in a CFArray, borrowed from it."""
    return _reader(PATHS["corefoundation"]).items(ref)


class _Reader:
    """Objects as Python values; it holds its functions, as a large property takes thousands of calls."""

    def __init__(self) -> None:
        self._type = CF.CFGetTypeID
        self._copy_text = CF.CFStringGetCString
        self._is_float, self._number_value = CF.CFNumberIsFloatType, CF.CFNumberGetValue
        self._array_count, self._array_values = CF.CFArrayGetCount, CF.CFArrayGetValues
        self._entry_count, self._entries = CF.CFDictionaryGetCount, CF.CFDictionaryGetKeysAndValues
        self._readers: dict[int, Callable[[int], Any]] = {
            CF.CFStringGetTypeID(): self._string,
            CF.CFNumberGetTypeID(): self._number,
            CF.CFBooleanGetTypeID(): CF.CFBooleanGetValue,
            CF.CFDataGetTypeID(): self._data,
            CF.CFArrayGetTypeID(): self._array,
            CF.CFDictionaryGetTypeID(): self._dictionary,
        }

    def python(self, ref: int) -> Any:
        reader = self._readers.get(self._type(ref))
        return reader(ref) if reader else None

    def items(self, ref: int) -> list[int]:
        count = self._array_count(ref)
        values = (POINTER * count)()
        self._array_values(ref, _Range(0, count), values)
        return list(values)

    def _string(self, ref: int) -> str | None:
        # CFStringGetCStringPtr would be NULL for many strings.
        buffer: ctypes.Array[ctypes.c_char] = _Short()
        if not self._copy_text(ref, buffer, _SHORT, _UTF8):
            # The length is in units of UTF-16, each of which takes at most 3 bytes.
            size = 3 * CF.CFStringGetLength(ref) + 1
            buffer = ctypes.create_string_buffer(size)
            if not self._copy_text(ref, buffer, size, _UTF8):
                return None
        return buffer.value.decode(errors="replace")

    def _number(self, ref: int) -> int | float | None:
        kind, value = (_FLOAT64, c_double()) if self._is_float(ref) else (_SINT64, c_int64())
        return value.value if self._number_value(ref, kind, ctypes.byref(value)) else None

    def _data(self, ref: int) -> bytes:
        return ctypes.string_at(CF.CFDataGetBytePtr(ref), CF.CFDataGetLength(ref))

    def _array(self, ref: int) -> list[Any]:
        return [self.python(item) for item in self.items(ref)]

    def _dictionary(self, ref: int) -> dict[str, Any]:
        count = self._entry_count(ref)
        keys, values = (POINTER * count)(), (POINTER * count)()
        self._entries(ref, keys, values)
        named = ((self.python(key), value) for key, value in zip(keys, values, strict=True))
        found = {name: self.python(value) for name, value in named if isinstance(name, str)}
        return {name: value for name, value in found.items() if value is not None}


@cache
def _reader(_path: str) -> _Reader:
    return _Reader()
