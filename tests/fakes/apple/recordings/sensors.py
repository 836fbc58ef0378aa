"""Sensors as tools print them: keys of the SMC with their bytes, HID thermometers, thermal pressure."""

from __future__ import annotations

import re
import struct

from fakes.apple.recordings.recording import NoSensor, Recording

_KEY = re.compile(
    r"(?P<key>\S{4}) +\[(?P<kind>.{4})\] *(?P<value>[^()\s]*) *(?:\(bytes(?P<raw>(?: [0-9a-fA-F]{2})*)\))?"
)
_THERMOMETER = re.compile(r"(?P<name>[^\t|]*[^\t| ]) *[\t|]\s*(?P<value>-?\d+(?:\.\d+)?)(?: ?°?C)?")
_HID_NAME = re.compile(r"\b(PMU\d?|MTR|Temp|temp|tdie\d*|tdev\d*|tcal|NAND|gas gauge)\b")
_NOTIFICATION = re.compile(r"(?P<name>com\.apple\.system\.thermalpressurelevel):? +(?P<value>\d+)")
_FAILED = re.compile(r"com\.apple\.system\.thermalpressurelevel: Failed with code \d+")


def smc(text: str) -> Recording | None:
    """The keys in `  TB0T  [flt ]  28.5 (bytes 00 00 e4 41)`; the decoded value may be missing, or the bytes."""
    keys: dict[str, tuple[str, bytes]] = {}
    for line in map(str.strip, text.splitlines()):
        match = _KEY.fullmatch(line)
        if match and (raw := _raw(match["kind"], match["value"], match["raw"])) is not None:
            keys[match["key"]] = match["kind"], raw
    if not keys:
        return None
    recording = Recording(holds=["keys of the SMC"])
    recording.machine.smc = keys
    return recording


def _raw(kind: str, value: str, raw: str | None) -> bytes | None:
    if raw is not None:
        data = bytes.fromhex(raw)
        return data if len(data) <= 32 else None
    try:
        return struct.pack("<f", float(value)) if kind == "flt " else None
    except ValueError:
        return None


def hid(text: str) -> Recording | None:
    """The thermometers in `PMU tdie1<TAB>42.9`, or with a bar between name and degrees."""
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    found = [match for line in lines if (match := _THERMOMETER.fullmatch(line))]
    # A table of anything has this form: its names must be those of thermometers.
    if 2 * len(found) <= len(lines) or not any(_HID_NAME.search(match["name"]) for match in found):
        return None
    recording = Recording(holds=["HID thermometers"])
    recording.machine.hid = [(match["name"], float(match["value"])) for match in found]
    return recording


def notification(text: str) -> Recording | None:
    """The level in what `notifyutil -g com.apple.system.thermalpressurelevel` prints."""
    for line in map(str.strip, text.splitlines()):
        if _FAILED.fullmatch(line):
            raise NoSensor("notifyutil could not read the thermal pressure")
        if match := _NOTIFICATION.fullmatch(line):
            recording = Recording(holds=["thermal pressure"])
            recording.machine.notify = {match["name"]: int(match["value"])}
            return recording
    return None
