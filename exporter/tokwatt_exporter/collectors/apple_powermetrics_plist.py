"""What `powermetrics -f plist` writes: documents cut out of its stream, and the energy that one of them tells."""

from __future__ import annotations

import math
import plistlib
import re
from typing import Any, NamedTuple
from xml.parsers.expat import ExpatError

#: Where a device's energy (mJ) and mean power (mW) can be, in the order in which they are believed.
_PLACES = {
    "cpu": (("processor", "cpu_energy", "cpu_power"),),
    # Without the sampler of the CPU the GPU's energy is in its own part only.
    "gpu0": (("processor", "gpu_energy", "gpu_power"), ("gpu", "gpu_energy", "gpu_power")),
    "ane": (("processor", "ane_energy", "ane_power"),),
}
#: No Mac draws as much: a counter that took such a value would be wrong for as long as the exporter runs.
_MOST_WATTS = 1000.0
_END = b"</plist>"
#: The time in each clock step of each core, most of a document and of the work of reading it. No array is inside.
_STEPS = re.compile(
    rb"<key>(?:dvfm_states|requested_freq|sw_requested_state|sw_state)</key>\s*<array>.*?</array>", re.S
)
#: The largest document seen has a tenth of a megabyte.
_MOST_BYTES = 8 * 2**20


class Sample(NamedTuple):
    """Joules by device, used in `seconds`; a device that the document does not tell is not there."""

    seconds: float
    joules: dict[str, float]


def parse(document: bytes) -> Sample:
    """The energy in one document; `ValueError` where it is not a document of powermetrics, or a broken one."""
    try:
        found = plistlib.loads(_STEPS.sub(b"", document), fmt=plistlib.FMT_XML)
    # What plistlib makes of text that is no number, no date, or has an element in the wrong place.
    except (ExpatError, plistlib.InvalidFileException, AttributeError, LookupError, TypeError, OverflowError) as error:
        raise ValueError(f"not a property list: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("not a dictionary")
    nanoseconds = _number(found.get("elapsed_ns"))
    if not nanoseconds:
        raise ValueError("no elapsed time")
    if found.get("is_delta") is False:
        return Sample(nanoseconds / 1e9, {})
    seconds = nanoseconds / 1e9
    joules = {device: energy for device in _PLACES if (energy := _joules(found, device, seconds)) is not None}
    return Sample(seconds, joules)


class Splitter:
    """Cuts a stream into documents. One is complete at `</plist>`: the NUL that follows comes with the next one."""

    def __init__(self) -> None:
        self._held = bytearray()
        #: How much was thrown away that was no document, in pieces.
        self.garbage = 0

    @property
    def unfinished(self) -> bool:
        """Whether there is a piece of a document that has not come to its end."""
        return bool(self._held.strip(b"\0 \r\n"))

    def feed(self, data: bytes) -> list[bytes]:
        """The documents that are complete with `data`."""
        # The end mark may be cut in two between two reads.
        known = max(len(self._held) - len(_END), 0)
        self._held += data
        documents = []
        while (end := self._held.find(_END, known)) >= 0:
            *rest, document = bytes(self._held[: end + len(_END)]).split(b"\0")
            self.garbage += sum(1 for piece in rest if piece.strip())
            documents.append(document.strip())
            del self._held[: end + len(_END)]
            known = 0
        if len(self._held) > _MOST_BYTES:
            self._held.clear()
            self.garbage += 1
        return documents


def _joules(found: dict[str, Any], device: str, seconds: float) -> float | None:
    for part, energy, power in _PLACES[device]:
        values = found.get(part)
        if not isinstance(values, dict):
            continue
        milli = _number(values.get(energy))
        if milli is None and (milliwatts := _number(values.get(power))) is not None:
            milli = milliwatts * seconds
        if milli is not None:
            return milli / 1000 if milli / 1000 <= _MOST_WATTS * seconds else None
    return None


def _number(value: object) -> float | None:
    """A finite number that is not negative; a truth value is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return None
    return float(value)
