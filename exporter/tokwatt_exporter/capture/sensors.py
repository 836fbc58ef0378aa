"""Numbers of the system management controller, and thermometers that report as HID devices."""

from __future__ import annotations

import re
import struct

from tokwatt_exporter.apple.hid import Thermometers
from tokwatt_exporter.apple.smc import Smc
from tokwatt_exporter.errors import NotAvailable

#: Temperatures, power, fans, voltages and currents; other keys are states and settings, and some hold serial numbers.
_KEYS = re.compile(r"[TPFVI]...")
_FORMATS = {"flt ": "<f", "ui8 ": "<B", "ui16": "<H", "ui32": "<I", "si8 ": "<b", "si16": "<h", "si32": "<i"}
#: Unsigned with 16 bits behind the point.
_FIXED = "ioft"


def texts() -> dict[str, tuple[str, str]]:
    """By file: what it is to hold (empty: this Mac has none) and where that is from."""
    return {
        "smc.txt": ("".join(_keys()), "numbers of the SMC: key, type, value, bytes"),
        "hid.txt": ("".join(_thermometers()), "HID thermometers: name, °C"),
    }


def _keys() -> list[str]:
    try:
        smc = Smc.open()
    except NotAvailable:
        return []
    try:
        keys = smc.keys()
        return [line for key in keys if _KEYS.fullmatch(key) and (line := _line(smc, key))]
    finally:
        smc.close()


def _line(smc: Smc, key: str) -> str:
    kind, value = smc.kind(key), smc.read(key)
    if kind is None or value is None:
        return ""
    if kind == _FIXED:
        data = struct.pack("<Q", round(value * 2**16))
    elif kind in _FORMATS:
        data = struct.pack(_FORMATS[kind], value if kind == "flt " else int(value))
    else:
        return ""
    return f"  {key}  [{kind}]  {value:.9g} (bytes {data.hex(' ')})\n"


def _thermometers() -> list[str]:
    try:
        sensors = Thermometers.open()
    except NotAvailable:
        return []
    try:
        return [f"{name}\t{degrees}\n" for name, degrees in sensors.read()]
    finally:
        sensors.close()
