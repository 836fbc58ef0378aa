"""What `sysctl` prints, as the binary values it was made from."""

from __future__ import annotations

import re
import struct

from fakes.apple.recordings.recording import Recording

_LINE = re.compile(
    r"(?P<name>(?:hw|kern|machdep|vm|iogpu|debug|net|security|sysctl)(?:\.\w+)+)(?:: ?| ?= ?)(?P<value>.*)"
)
_SIZE = r"(\d+(?:[.,]\d+)?)([KMGTB])"
_SWAP = re.compile(rf"total = {_SIZE} +used = {_SIZE} +free = {_SIZE}(?P<encrypted> +\(encrypted\))?")
_TIME = re.compile(r"\{ sec = (\d+), usec = (\d+) \}.*")
_UNITS = {"B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
#: Words, even where they look like numbers.
_TEXT = re.compile(r"hw\.(model|target|targettype|product)|hw\.perflevel\d+\.name|kern\.(os\w+|version)|\S+_string")
#: 8 bytes long, even where the number is small.
_LONG = re.compile(r"hw\.(mem|l\d|cache|tbfreq)\w*|vm\.compressor_\w+|vm\.page_\w+|machdep\.user_idle_level")


def parse(text: str) -> Recording | None:
    """The variables in `text`, or the swap that `sysctl -n vm.swapusage` prints; None where there are none."""
    recording = Recording(holds=["sysctl variables"])
    for line in map(str.strip, text.splitlines()):
        if match := _SWAP.fullmatch(line):
            recording.machine.sysctls["vm.swapusage"] = _swap(match)
        elif (match := _LINE.fullmatch(line)) and (value := binary(match["name"], match["value"].strip())) is not None:
            recording.machine.sysctls[match["name"]] = value
    return recording if recording.machine.sysctls else None


def binary(name: str, value: str) -> bytes | None:
    """The value of a variable as the kernel gives it; None where its text has no such form."""
    if name == "vm.swapusage":
        match = _SWAP.fullmatch(value)
        return _swap(match) if match else None
    if match := _TIME.fullmatch(value):
        return struct.pack("<qii", int(match[1]), int(match[2]), 0)
    if not _TEXT.fullmatch(name):
        numbers = value.split()
        if numbers and all(re.fullmatch(r"-?\d{1,20}", number) for number in numbers):
            return _integers(name, [int(number) for number in numbers])
    return value.encode() + b"\0"


def _integers(name: str, values: list[int]) -> bytes | None:
    long = len(values) > 1 or _LONG.fullmatch(name) or not -(2**31) <= values[0] < 2**31
    if not all(-(2**63) <= value < 2**64 for value in values):
        return None
    mask = 2**64 - 1 if long else 2**32 - 1
    return b"".join(struct.pack("<Q" if long else "<I", value & mask) for value in values)


def _swap(match: re.Match[str]) -> bytes:
    """`struct xsw_usage`; the text is rounded to hundredths, with the comma of the user's language."""
    total, used, free = (
        round(float(match[n].replace(",", ".")) * _UNITS[match[n + 1]]) for n in (1, 3, 5)
    )  # fmt: skip
    return struct.pack("<QQQII", total, free, used, 16384, bool(match["encrypted"]))
