"""IOReport channels as tools print them: inventories of energy counters, and dumps of states and counters.

These may stand in one file:

    CPU Energy<TAB>mJ[<TAB>watts]                                        an inventory; watts are - where it stands
    CPU Stats :: CPU Core Performance States :: ECPU000 (24Mticks) = [("IDLE", 12), ("V0P4", 3)]
    Energy Model ::  :: CPU Energy (mJ) = 0.05W                          the mean power of the dump's window
    AMC Stats :: Perf Counters :: DCS RD (B) = 4096                      what was counted in the window
    # refused: AMC Stats                                                 a group that takes no subscription
    Grp: GPU Stats   Subgrp: GPU Performance States   Chn: GPUPH   State: OFF   Res: 12
"""

from __future__ import annotations

import ast
import re

from fakes.apple.machine import Channel, SimpleChannel
from fakes.apple.recordings.recording import JOULES, Recording

#: An inventory has names and units only: each of its counters runs at this power.
WATTS = 1.0

_INVENTORY = re.compile(r"(?P<name>[^\t|]+)\t *(?P<unit>[A-Za-zµ]{0,3}J) *(?:\t *(?P<watts>\d+(?:\.\d+)?|-))?")
_CHANNEL = re.compile(
    r"(?P<group>[^:\t]+?) :: (?P<subgroup>.*?) ?:: (?P<name>.+?) \((?P<unit>[^()]*)\) = (?P<value>.+)"
)
_STATE = re.compile(
    r"Grp: (?P<group>.+?) +Subgrp: (?P<subgroup>.*?) +Chn: (?P<name>.+?) +State: (?P<state>.+?) +Res: (?P<ticks>\d+)"
)
_WATTS = re.compile(r"(?P<watts>-?\d+(?:\.\d+)?) ?W")
_REFUSED = re.compile(r"# refused: (?P<group>.+)")
_SECONDS = re.compile(r"# sampled for (?P<seconds>\d+(?:\.\d+)?) s")


def parse(text: str) -> Recording | None:
    """The channels in `text`; None where there are none."""
    recording = Recording()
    apart: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for line in map(str.strip, text.splitlines()):
        if match := _SECONDS.fullmatch(line):
            recording.seconds = float(match["seconds"])
        elif match := _REFUSED.fullmatch(line):
            _refuse(recording, match["group"])
        elif match := _STATE.fullmatch(line):
            key = match["group"], match["subgroup"], match["name"]
            apart.setdefault(key, []).append((match["state"], int(match["ticks"])))
        elif match := _CHANNEL.fullmatch(line):
            _channel(recording, **match.groupdict())
        elif not line.startswith("#") and (match := _INVENTORY.fullmatch(line)):
            recording.energy("Energy Model", "", match["name"].strip(), match["unit"], _inventory_watts(match["watts"]))
    for (group, subgroup, name), states in apart.items():
        recording.states(group, subgroup, name, states, "24Mticks")
    recording.holds = sorted({_what(channel) for channel in recording.machine.channels})
    return recording if recording.machine.channels else None


def _refuse(recording: Recording, group: str) -> None:
    """A group that is there and takes no subscription."""
    recording.machine.refused.add(group)
    recording.machine.channels.append(SimpleChannel(group, "Perf Counters", "DCS RD", "B"))


def _channel(recording: Recording, group: str, subgroup: str, name: str, unit: str, value: str) -> None:
    unit = unit.strip()
    if match := _WATTS.fullmatch(value):
        recording.energy(group, subgroup, name, unit, float(match["watts"]))
    elif value.isdecimal():
        recording.counter(group, subgroup, name, unit, grows=int(value))
    elif states := _states(value):
        recording.states(group, subgroup, name, states, unit)


def _inventory_watts(text: str | None) -> float | None:
    if text is None:
        return WATTS
    return None if text == "-" else float(text)


def _states(text: str) -> list[tuple[str, int]]:
    """`[("IDLE", 12), …]` as such; empty where it is anything else."""
    try:
        found = ast.literal_eval(text)
        return [(name, ticks) for name, ticks in found if isinstance(name, str) and type(ticks) is int]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return []


def _what(channel: Channel) -> str:
    if channel.unit in JOULES:
        return "energy counters"
    return channel.subgroup or channel.group
