"""Recordings of Macs, as the Mac that they were made on. A format is told by what is in a file, never by its name."""

from __future__ import annotations

from collections.abc import Callable

from fakes.apple.recordings import dvfs, ioreg, ioreport, others, plists, sensors, sysctl, tools
from fakes.apple.recordings.recording import NoSensor, Recording

__all__ = ["NoSensor", "Recording", "read"]

#: Larger than any output of a tool.
LIMIT = 64 * 2**20
#: Each is the whole of a file.
_WHOLE = (tools.vm_stat, tools.pmset, tools.netstat, tools.processor_ticks, sensors.notification)
#: These may stand beside each other in one file.
_LINES: tuple[Callable[[str], Recording | None], ...] = (
    ioreport.parse, dvfs.parse, sensors.smc, sysctl.parse, ioreg.parse,
)  # fmt: skip
#: The loosest forms: only where nothing else is found.
_LOOSE = (sensors.hid,)


def read(data: bytes) -> Recording:
    """What is in a recording; `NoSensor` with the reason where nothing is that is measured."""
    if not data.strip():
        raise NoSensor("empty")
    if len(data) > LIMIT:
        raise NoSensor("too large")
    found = plists.parse(data)
    if found:
        return found
    text = _text(data)
    others.of_json(text)
    text = _whole_lines(text)
    for parse in _WHOLE:
        if found := parse(text):
            return found
    others.of_text(text)
    found = _together(text)
    if found:
        return found
    for parse in _LOOSE:
        if found := parse(text):
            return found
    raise NoSensor("no format of a Mac's tools that is known here")


def _together(text: str) -> Recording | None:
    whole: Recording | None = None
    refused: NoSensor | None = None
    for parse in _LINES:
        try:
            found = parse(text)
        except NoSensor as why:
            refused = why
            continue
        if found and whole:
            whole.add(found)
        whole = whole or found
    if refused and not whole:
        raise refused
    return whole


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NoSensor("neither text nor a property list") from None
    if "\0" in text:
        raise NoSensor("neither text nor a property list")
    return text.replace("\r\n", "\n")


def _whole_lines(text: str) -> str:
    """Without a last line that does not end: its number may be cut. A sign that closes it says that it is whole."""
    head, newline, last = text.rpartition("\n")
    closed = last.rstrip().endswith((")", "]", "}", ">", '"')) or (text.startswith("Mach Vir") and last.endswith("."))
    return text if not newline or not last.strip() or closed else head + newline
