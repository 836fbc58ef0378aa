"""Libraries: none is loaded at import, all types are set before a call, what is missing is said in constant words."""

import ctypes
import subprocess
import sys

import pytest

from fakes.apple.control import Fake
from tokwatt_exporter.apple import corefoundation, hid, iokit, ioreport, libproc, libraries, mach, notify, smc, sysctl
from tokwatt_exporter.errors import NotAvailable

MODULES = ["corefoundation", "hid", "iokit", "ioreport", "libproc", "libraries", "mach", "notify", "smc", "sysctl"]
TABLES = {
    "corefoundation": corefoundation.CF,
    "iokit": iokit.IOKIT,
    "ioreport": ioreport.IOREPORT,
    "channels of ioreport": ioreport.CHANNEL,
    "smc": smc.SMC,
    "hid": hid.HID,
    "mach": mach.MACH,
    "sysctl": sysctl.SYSCTL,
    "libproc": libproc.LIBPROC,
    "notify": notify.NOTIFY,
}


def test_importing_the_bindings_loads_no_library() -> None:
    script = f"""
import ctypes
def refuse(*_, **__): raise AssertionError("a library was loaded")
ctypes.CDLL.__init__ = refuse
from tokwatt_exporter.apple import {", ".join(MODULES)}
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("corefoundation", "CoreFoundation is not on this system"),
        ("iokit", "IOKit is not on this system"),
        ("ioreport", "libIOReport.dylib is not on this system"),
        ("system", "libSystem.B.dylib is not on this system"),
    ],
)
def test_a_library_that_is_not_there_is_named_in_constant_words(
    name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(libraries.PATHS, name, "/nowhere/lib.dylib")

    with pytest.raises(NotAvailable) as caught:
        libraries.load(name)

    assert str(caught.value) == reason


def test_a_function_or_variable_that_is_not_there_is_named(fake: Fake) -> None:
    functions = libraries.Functions("iokit", {"IONothing": (None, [])})

    with pytest.raises(NotAvailable, match=r"^IOKit has no IONothing on this system$"):
        functions.IONothing()
    with pytest.raises(NotAvailable, match=r"^IOKit has no kIONothing on this system$"):
        libraries.address("iokit", "kIONothing")


def test_only_what_stands_in_the_table_can_be_called(fake: Fake) -> None:
    with pytest.raises(AttributeError):
        _ = corefoundation.CF.CFRetain


@pytest.mark.parametrize("functions", TABLES.values(), ids=TABLES)
def test_every_function_has_its_types_before_the_first_call(fake: Fake, functions: libraries.Functions) -> None:
    for name, (result, arguments) in functions._table.items():
        function = getattr(functions, name)
        assert (function.restype, function.argtypes) == (result, arguments)


@pytest.mark.parametrize("functions", TABLES.values(), ids=TABLES)
def test_no_function_gives_or_takes_an_int_where_a_pointer_belongs(functions: libraries.Functions) -> None:
    for name, (result, _) in functions._table.items():
        copies = any(word in name for word in ("Create", "Copy", "Matching", "GetBytePtr"))
        if copies and name not in ("IOServiceGetMatchingServices", "IOHIDEventSystemClientSetMatching"):
            assert result is ctypes.c_void_p, name


def test_tables_that_name_the_same_function_do_not_change_each_others_types(fake: Fake) -> None:
    other = libraries.Functions("system", {"mach_absolute_time": (ctypes.c_uint8, [])})

    assert other.mach_absolute_time() < 256
    assert mach.absolute_ticks() == 24_000_000 * 1_000


def test_a_library_is_loaded_once(fake: Fake) -> None:
    assert libraries.load("iokit") is libraries.load("iokit")
