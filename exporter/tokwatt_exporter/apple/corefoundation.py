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
        "CFArrayGetValueAtIndex": (POINTER, [POINTER, c_long]),
        "CFArrayCreateMutable": (POINTER, [POINTER, c_long, POINTER]),
        "CFArrayAppendValue": (None, [POINTER, POINTER]),
        "CFDictionaryGetCount": (c_long, [POINTER]),
        "CFDictionaryGetValue": (POINTER, [POINTER, POINTER]),
        "CFDictionaryGetKeysAndValues": (None, [POINTER, POINTER, POINTER]),
        "CFDictionaryCreateMutable": (POINTER, [POINTER, c_long, POINTER, POINTER]),
        "CFDictionaryCreateMutableCopy": (POINTER, [POINTER, c_long, POINTER]),
        "CFDictionarySetValue": (None, [POINTER, POINTER, POINTER]),
    },
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
    if not ref:
        return None
    reader = _readers(PATHS["corefoundation"]).get(CF.CFGetTypeID(ref))
    return reader(ref) if reader else None


@cache
def _readers(_path: str) -> dict[int, Callable[[int], Any]]:
    return {
        CF.CFStringGetTypeID(): _string,
        CF.CFNumberGetTypeID(): _number,
        CF.CFBooleanGetTypeID(): CF.CFBooleanGetValue,
        CF.CFDataGetTypeID(): _data,
        CF.CFArrayGetTypeID(): _array,
        CF.CFDictionaryGetTypeID(): _dictionary,
    }


def _string(ref: int) -> str | None:
    # In UTF-16 units, of which each takes at most 3 bytes in UTF-8; CFStringGetCStringPtr is NULL for many strings.
    buffer = ctypes.create_string_buffer(4 * CF.CFStringGetLength(ref) + 1)
    if not CF.CFStringGetCString(ref, buffer, len(buffer), _UTF8):
        return None
    return buffer.value.decode(errors="replace")


def _number(ref: int) -> int | float | None:
    kind, value = (_FLOAT64, c_double()) if CF.CFNumberIsFloatType(ref) else (_SINT64, c_int64())
    return value.value if CF.CFNumberGetValue(ref, kind, ctypes.byref(value)) else None


def _data(ref: int) -> bytes:
    size = CF.CFDataGetLength(ref)
    return ctypes.string_at(CF.CFDataGetBytePtr(ref), size) if size else b""


def _array(ref: int) -> list[Any]:
    return [python(CF.CFArrayGetValueAtIndex(ref, index)) for index in range(CF.CFArrayGetCount(ref))]


def _dictionary(ref: int) -> dict[str, Any]:
    count = CF.CFDictionaryGetCount(ref)
    keys, values = (POINTER * count)(), (POINTER * count)()
    CF.CFDictionaryGetKeysAndValues(ref, keys, values)
    found = {text(key): python(value) for key, value in zip(keys, values, strict=True)}
    return {key: value for key, value in found.items() if key is not None and value is not None}
