"""What a recording leaves out and a collector cannot do without: a CPU that counts, pages, a GPU.

A series must not come from it. Every number in it is made of a salt, so that a series in which it has a part is another
one with another salt, and is left out of what the recording is said to hold.
"""

from __future__ import annotations

import re
import struct
from copy import deepcopy
from typing import Any

from fakes.apple.machine import Node, StateChannel
from fakes.apple.recordings import ioreg
from fakes.apple.recordings.recording import TICKS, Recording
from tokwatt_exporter.apple.mach import VmStatistics

#: The name of a disk whose driver was recorded without the disk.
UNNAMED = "unnamed"
#: Kinds of cores, slowest first, and the tables of their clocks.
_CORES = "CPU Core Performance States"
_CORE = re.compile(r"(?:DIE_?\d+[_ ]|PRIM )?([EMP])CPU")
_TABLES = {"E": (1,), "M": (22, 23), "P": (5, 13)}


def complete(recording: Recording, salt: int) -> Recording:
    """A copy in which every collector finds what it needs."""
    whole = deepcopy(recording)
    nodes = ioreg.walk(whole.machine.nodes)
    _memory(whole, salt)
    _cpu(whole, nodes, salt)
    _gpu(whole, nodes, salt)
    # A name that was never posted answers 0, which would be a reading; no macOS has this level.
    whole.machine.notify.setdefault("com.apple.system.thermalpressurelevel", 30 + salt)
    for node in nodes:
        if node.class_name == "IOBlockStorageDriver" and not node.children:
            node.children.append(Node(UNNAMED, "IOMedia", {"BSD Name": UNNAMED, "Whole": True}))
    ioreg.tell_apart(whole.machine.nodes)
    return whole


def _memory(whole: Recording, salt: int) -> None:
    pages = whole.machine.vm or {}
    made_up = {field: (salt + place) * 97 for place, field in enumerate(VmStatistics._fields)}
    whole.machine.vm = made_up | pages


def _cpu(whole: Recording, nodes: list[Node], salt: int) -> None:
    machine = whole.machine
    tables = _kinds(nodes)
    channels = [channel for channel in machine.channels if channel.subgroup == _CORES]
    if not channels:
        for kind in tables:
            _states(whole, "CPU Stats", _CORES, f"{kind}CPU000", ("IDLE", "V0P1", "V1P0"), salt)
    letters, counts = _letters(nodes), _levels(machine.sysctls)
    if not counts and "hw.nperflevels" not in machine.sysctls:
        kinds = {match[1] for channel in channels if (match := _CORE.match(channel.name))} | set(tables) | set(letters)
        if kinds == {"E", "P"}:
            # Levels without names, as before macOS 13, for two tables that are always of the same two kinds.
            machine.sysctls["hw.nperflevels"] = struct.pack("<i", 2)
            counts = [salt, salt]
    if counts and not letters:
        machine.nodes.append(_device_tree(counts))
    if not machine.cpu_ticks:
        told = _integer(machine.sysctls, "hw.logicalcpu") or _integer(machine.sysctls, "hw.ncpu")
        cpus = len(letters) or sum(counts) or told or salt
        machine.cpu_ticks = [(salt, salt, 900, 0)] * cpus
        whole.cpu_growth = [(salt, 0, 300, 0)] * cpus


def _gpu(whole: Recording, nodes: list[Node], salt: int) -> None:
    if not any("IOAccelerator" in node.superclasses for node in nodes):
        properties: dict[str, Any] = {"PerformanceStatistics": {}}
        node = Node("AGXAccelerator", "AGXAccelerator", properties, superclasses=("IOAccelerator",))
        whole.machine.nodes.append(node)
    if not any(channel.name == "GPUPH" for channel in whole.machine.channels):
        _states(whole, "GPU Stats", "GPU Performance States", "GPUPH", ("OFF", "P1", "P2"), salt)


def _states(whole: Recording, group: str, subgroup: str, name: str, states: tuple[str, ...], salt: int) -> None:
    """Every state took a part of the time that only this salt gives."""
    share = round(whole.seconds * TICKS) // (100 * len(states))
    channel = StateChannel(group, subgroup, name, [(state, TICKS) for state in states])
    whole.machine.channels.append(channel)
    whole.growth[channel.channel_id] = [share * (salt + place**2) for place in range(len(states))]


def _levels(sysctls: dict[str, bytes]) -> list[int]:
    """Logical CPUs by performance level, fastest first; empty where the recording does not have all of them."""
    levels = range(_integer(sysctls, "hw.nperflevels") or 0)
    counts = [
        _integer(sysctls, f"hw.perflevel{n}.logicalcpu") or _integer(sysctls, f"hw.perflevel{n}.physicalcpu") or 0
        for n in levels
    ]
    # All levels have names, or none has (before macOS 13): anything between is cut.
    named = {f"hw.perflevel{n}.name" in sysctls for n in levels}
    return counts if 0 not in counts and len(named) == 1 and len(counts) <= 3 and sum(counts) <= 128 else []


def _device_tree(counts: list[int]) -> Node:
    """The CPUs of these levels; macOS numbers those of the slowest first."""
    letters = {1: "P", 2: "PE", 3: "PME"}[len(counts)]
    cpus = Node("cpus", "IOService", plane="IODeviceTree")
    for letter, count in reversed(list(zip(letters, counts, strict=True))):
        for _ in range(count):
            number = len(cpus.children)
            properties = {"logical-cpu-id": struct.pack("<I", number), "cluster-type": letter.encode() + b"\0"}
            cpus.children.append(Node(f"cpu{number}", "IOService", properties, plane="IODeviceTree"))
    return cpus


def _letters(nodes: list[Node]) -> list[str]:
    """The kind of each CPU in a device tree that was recorded."""
    cpus = next((node.children for node in nodes if node.name == "cpus"), [])
    found = (cpu.properties.get("cluster-type") for cpu in cpus if "logical-cpu-id" in cpu.properties)
    return [value.decode("ascii", "replace").rstrip("\0") for value in found if isinstance(value, bytes)]


def _kinds(nodes: list[Node]) -> list[str]:
    """Kinds of cores for which the recording has a table of clocks."""
    numbers = {
        int(match[1])
        for node in nodes
        for key in node.properties
        if (match := re.fullmatch(r"voltage-states(\d+)(?:-sram)?", key))
    }
    return [kind for kind, tables in _TABLES.items() if numbers & set(tables)]


def _integer(sysctls: dict[str, bytes], name: str) -> int | None:
    value = sysctls.get(name, b"")
    return int.from_bytes(value, "little") if len(value) in (4, 8) else None
