"""Frequency tables of the power manager as `(f) …` and `(v) …` lines, and as the properties of its entry."""

from __future__ import annotations

import re
import struct

from fakes.apple.machine import Node
from fakes.apple.recordings.recording import Recording

_LINE = re.compile(r"(?P<name>voltage-states\d+(?:-sram)?):? +\((?P<kind>[fv])\) +(?P<values>\d+(?: +\d+)*)")


def parse(text: str) -> Recording | None:
    """An entry `pmgr` with the tables in `text`; None where there are none."""
    found: dict[str, dict[str, list[int]]] = {}
    for line in map(str.strip, text.splitlines()):
        if match := _LINE.fullmatch(line):
            found.setdefault(match["name"], {})[match["kind"]] = [int(value) for value in match["values"].split()]
    tables = {name: table for name, of in found.items() if (table := _table(**of))}
    return entry(tables) if tables else None


def entry(properties: dict[str, object], name: str = "pmgr") -> Recording:
    """A Mac that has this power manager and nothing else."""
    recording = Recording(holds=["frequency tables"])
    recording.machine.nodes.append(Node(name, "AppleARMIODevice", properties))
    return recording


def _table(f: list[int] | None = None, v: list[int] | None = None) -> bytes:
    """Pairs of frequency and millivolts as they lie in the property; a voltage that was not printed is 0."""
    if not f or max(f) >= 2**32 or (v and len(v) != len(f)):
        return b""
    return b"".join(struct.pack("<II", *pair) for pair in zip(f, v or [0] * len(f), strict=True))
