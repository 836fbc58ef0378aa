"""The IORegistry: what devices and drivers say of themselves."""

from __future__ import annotations

import ctypes
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing
from ctypes import c_char_p, c_uint32, c_uint64
from types import TracebackType
from typing import Any

from tokwatt_exporter.apple.corefoundation import Owned, python, string
from tokwatt_exporter.apple.libraries import CODE, POINTER, PORT, Functions

_DEFAULT_PORT = 0
_NAME_SIZE = 128

IOKIT = Functions(
    "iokit",
    {
        "IOServiceMatching": (POINTER, [c_char_p]),
        "IOServiceNameMatching": (POINTER, [c_char_p]),
        "IOServiceGetMatchingServices": (CODE, [PORT, POINTER, POINTER]),
        "IOIteratorNext": (PORT, [PORT]),
        "IOObjectRelease": (CODE, [PORT]),
        "IOObjectGetClass": (CODE, [PORT, POINTER]),
        "IORegistryEntryGetName": (CODE, [PORT, POINTER]),
        "IORegistryEntryGetRegistryEntryID": (CODE, [PORT, POINTER]),
        "IORegistryEntryCreateCFProperty": (POINTER, [PORT, POINTER, POINTER, c_uint32]),
        "IORegistryEntryGetChildIterator": (CODE, [PORT, c_char_p, POINTER]),
        "IORegistryEntryFromPath": (PORT, [PORT, c_char_p]),
        "IOPMCopyActivePMPreferences": (POINTER, []),
    },
)


class Entry(AbstractContextManager["Entry"]):
    """One entry of the registry, held until it is closed."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it, once."""
        handle, self.handle = self.handle, 0
        if handle:
            IOKIT.IOObjectRelease(handle)

    @property
    def name(self) -> str:
        """Its name in the IOService plane; OSError where the entry is gone."""
        return self._text(IOKIT.IORegistryEntryGetName)

    @property
    def class_name(self) -> str:
        """The C++ class of the driver; OSError where the entry is gone."""
        return self._text(IOKIT.IOObjectGetClass)

    @property
    def id(self) -> int:
        """Unique until the machine starts again; OSError where the entry is gone."""
        found = c_uint64()
        check(IOKIT.IORegistryEntryGetRegistryEntryID(self.handle, ctypes.byref(found)))
        return found.value

    def property(self, key: str) -> Any | None:
        """The property as a Python value; None where the entry has none of that name."""
        with string(key) as name, Owned(IOKIT.IORegistryEntryCreateCFProperty(self.handle, name, None, 0)) as ref:
            return python(ref)

    def children(self, plane: str = "IOService") -> Iterator[Entry]:
        """The entries right below it, for the caller to close."""
        iterator = PORT()
        check(IOKIT.IORegistryEntryGetChildIterator(self.handle, plane.encode(), ctypes.byref(iterator)))
        yield from _each(iterator.value)

    def _text(self, function: Any) -> str:
        buffer = ctypes.create_string_buffer(_NAME_SIZE)
        check(function(self.handle, buffer))
        return buffer.value.decode(errors="replace")


def services(class_name: str) -> Iterator[Entry]:
    """The registered services of that class or one derived from it, each open until the next is asked for."""
    yield from _matching(IOKIT.IOServiceMatching(class_name.encode()))


def named(name: str) -> Iterator[Entry]:
    """The registered services of that name, each open until the next is asked for."""
    yield from _matching(IOKIT.IOServiceNameMatching(name.encode()))


def at(path: str) -> Entry | None:
    """The entry at a path such as IODeviceTree:/cpus; None where there is none."""
    handle = IOKIT.IORegistryEntryFromPath(_DEFAULT_PORT, path.encode())
    return Entry(handle) if handle else None


def power_preferences() -> dict[str, Any] | None:
    """The energy settings by power source ("AC Power", "Battery Power"); None where there are none."""
    with Owned(IOKIT.IOPMCopyActivePMPreferences()) as ref:
        found = python(ref)
    return found if isinstance(found, dict) else None


def check(code: int) -> None:
    """OSError for an IOReturn or kern_return_t that is not success."""
    if code:
        raise OSError(f"IOKit answers 0x{code:08x}")


def _matching(criteria: int | None) -> Iterator[Entry]:
    iterator = PORT()
    # The call takes our reference to the criteria along, also where it fails.
    check(IOKIT.IOServiceGetMatchingServices(_DEFAULT_PORT, criteria, ctypes.byref(iterator)))
    with closing(_each(iterator.value)) as entries:
        for entry in entries:
            with entry:
                yield entry


def _each(iterator: int) -> Generator[Entry, None, None]:
    try:
        while iterator and (handle := IOKIT.IOIteratorNext(iterator)):
            yield Entry(handle)
    finally:
        if iterator:
            IOKIT.IOObjectRelease(iterator)
