"""The dynamic libraries, and functions of theirs with their types set before the first call."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache
from typing import Any

from tokwatt_exporter.errors import NotAvailable

#: None of them is a file on disk: dlopen finds them in the shared cache of the dynamic linker.
PATHS = {
    "corefoundation": "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation",
    "iokit": "/System/Library/Frameworks/IOKit.framework/IOKit",
    "ioreport": "/usr/lib/libIOReport.dylib",
    "system": "/usr/lib/libSystem.B.dylib",
}

_CALLED = {
    "corefoundation": "CoreFoundation",
    "iokit": "IOKit",
    "ioreport": "libIOReport.dylib",
    "system": "libSystem.B.dylib",
}

#: A pointer of any kind. As a result it is an int, or None for NULL.
POINTER = ctypes.c_void_p
#: mach_port_t, io_object_t, and kern_return_t or IOReturn, whose codes then compare as the headers write them.
PORT = CODE = ctypes.c_uint32

#: What a function returns (None: nothing) and what it takes.
Signature = tuple[Any, list[Any]]


def load(name: str) -> ctypes.CDLL:
    """The library of that name in PATHS; `NotAvailable` where this system has none."""
    return _load(name, quick=False)


def address(name: str, symbol: str) -> int:
    """Where that library keeps that variable; `NotAvailable` where it has none."""
    try:
        return ctypes.addressof(ctypes.c_char.in_dll(load(name), symbol))
    except ValueError:
        raise NotAvailable(f"{_CALLED[name]} has no {symbol} on this system") from None


class Functions:
    """Those of a library that a table names, as attributes; `NotAvailable` where one is not on this system.

    Quick ones are called without letting other threads run meanwhile: they return sooner than that takes, and it would
    be thousands of chances a read to wait for another thread.
    """

    def __init__(self, library: str, table: Mapping[str, Signature], *, quick: bool = False) -> None:
        self._library = library
        self._table = table
        self._quick = quick
        self._bound: dict[tuple[str, str], Any] = {}

    def __getattr__(self, name: str) -> Any:
        where = (PATHS[self._library], name)
        return self._bound.get(where) or self._bound.setdefault(where, self._bind(name))

    def _bind(self, name: str) -> Any:
        if name not in self._table:
            raise AttributeError(name)
        try:
            # By index, not by attribute: a function object of our own, whose types no other table sets.
            function = _load(self._library, self._quick)[name]
        except AttributeError:
            raise NotAvailable(f"{_CALLED[self._library]} has no {name} on this system") from None
        function.restype, function.argtypes = self._table[name]
        return function


def _load(name: str, quick: bool) -> ctypes.CDLL:
    try:
        # errno is kept for the only library that tells with it, as that costs each call.
        return _opened(PATHS[name], quick, name == "system")
    except OSError:
        raise NotAvailable(f"{_CALLED[name]} is not on this system") from None


@cache
def _opened(path: str, quick: bool, use_errno: bool) -> ctypes.CDLL:
    return (ctypes.PyDLL if quick else ctypes.CDLL)(path, use_errno=use_errno)
