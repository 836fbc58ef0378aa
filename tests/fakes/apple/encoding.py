"""A machine as the fake takes it over: plain data in a row of bytes, structs as the kernel lays them out."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from fakes.apple.machine import Channel, Interface, Machine, Node, SimpleChannel, StateChannel

#: vm_statistics64, in order; macOS 26 and 26.6 append.
VM_FIELDS = {
    "free": "I", "active": "I", "inactive": "I", "wire": "I",
    "zero_fill": "Q", "reactivations": "Q", "pageins": "Q", "pageouts": "Q", "faults": "Q", "cow_faults": "Q",
    "lookups": "Q", "hits": "Q", "purges": "Q",
    "purgeable": "I", "speculative": "I",
    "decompressions": "Q", "compressions": "Q", "swapins": "Q", "swapouts": "Q",
    "compressor": "I", "throttled": "I", "external": "I", "internal": "I",
    "uncompressed_in_compressor": "Q", "swapped": "Q",
}  # fmt: skip

#: rusage_info: where each field of 64 bits is behind the 16 bytes of the identifier.
USAGE_FIELDS = {
    "user_time": 0, "system_time": 1, "pkg_idle_wkups": 2, "interrupt_wkups": 3, "pageins": 4, "wired_size": 5,
    "resident_size": 6, "phys_footprint": 7, "proc_start_abstime": 8, "diskio_bytesread": 16,
    "diskio_byteswritten": 17, "lifetime_max_phys_footprint": 28, "instructions": 29, "cycles": 30,
    "billed_energy": 31, "serviced_energy": 32, "user_ptime": 36, "system_ptime": 37, "pinstructions": 38,
    "pcycles": 39, "energy_nj": 40, "penergy_nj": 41, "neural_footprint": 44, "lifetime_max_neural_footprint": 45,
}  # fmt: skip
USAGE_SIZE = 464
#: Bytes of rusage_info by flavor.
_USAGE_SIZES = {4: 16 + 35 * 8, 6: USAGE_SIZE}

#: IOReportChannelUnit: quantity in the highest byte (1 time, 3 energy, 9 data, 100 events), then the scale.
UNITS = {
    "mJ": 3 << 56 | 124 << 32,
    "uJ": 3 << 56 | 121 << 32,
    "nJ": 3 << 56 | 118 << 32,
    "24Mticks": 72058115876454424,
    "events": 100 << 56,
    "B": 9 << 56,
    "": 0,
}


def encoded(value: Any) -> bytes:
    """What the fake's `decode` reads; entries of a dictionary that are None are left out."""
    match value:
        case bool():
            return b"t" if value else b"f"
        case int():
            # As in the registry, where unsigned numbers of 64 bits come out negative.
            return b"i" + struct.pack("<Q", value & (1 << 64) - 1)
        case float():
            return b"d" + struct.pack("<d", value)
        case str():
            text = value.encode()
            return b"s" + struct.pack("<I", len(text)) + text
        case bytes():
            return b"b" + struct.pack("<I", len(value)) + value
        case list() | tuple():
            return b"a" + struct.pack("<I", len(value)) + b"".join(map(encoded, value))
        case dict():
            there = {key: item for key, item in value.items() if item is not None}
            items = b"".join(encoded(key) + encoded(item) for key, item in there.items())
            return b"m" + struct.pack("<I", len(there)) + items
    raise TypeError(f"{value!r} is nothing that a Mac has")


def machine_data(machine: Machine) -> dict[str, Any]:
    """The parts by the names that the fake asks for."""
    return {
        "nodes": [_node(node) for node in [*machine.nodes, *_smc_services(machine)]],
        "channels": [_channel(channel) for channel in machine.channels],
        "units": _units(machine),
        "refused": sorted(machine.refused),
        "smc": _smc(machine.smc),
        "hid": None if machine.hid is None else [_sensor(*sensor) for sensor in machine.hid],
        "notify": machine.notify,
        "sysctls": machine.sysctls,
        "numbers": _numbers(machine.interfaces),
        "vm": None if machine.vm is None else _vm(machine.vm, machine.vm_count),
        "vm_cached": machine.vm_cached,
        "cpu_ticks": b"".join(_ticks(*ticks) for ticks in machine.cpu_ticks) or None,
        "processes": [{"pid": p.pid, "errno": p.errno, "usage": _usage(p.usage)} for p in machine.processes],
        "rusage": [_USAGE_SIZES.get(flavor, 0) for flavor in range(machine.rusage_flavor + 1)],
        "power_preferences": machine.power_preferences,
        "page_size": machine.page_size,
        "absolute_ticks": machine.absolute_ticks,
        "timebase": machine.timebase,
    }


def _node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "class": node.class_name,
        "superclasses": node.superclasses,
        "plane": node.plane,
        "registered": node.registered,
        "id": node.id,
        "properties": node.properties,
        "children": [_node(child) for child in node.children],
    }


def _smc_services(machine: Machine) -> list[Node]:
    if machine.smc is None or any(node.name == "AppleSMCKeysEndpoint" for node in machine.nodes):
        return []
    # Always the same entries, so that what a program holds stays valid. The first one found is the wrong one.
    return [
        Node("SMCEndpoint1", "AppleSMCEndpoint", superclasses=("AppleSMC",), id=0x1_0000_0001),
        Node("AppleSMCKeysEndpoint", "AppleSMCKeysEndpoint", superclasses=("AppleSMC",), id=0x1_0000_0002),
    ]


def _unit_code(label: str) -> int:
    return UNITS.get(label, zlib.crc32(label.encode()))


def _units(machine: Machine) -> list[tuple[int, str]]:
    labels = {*UNITS, *(channel.unit for channel in machine.channels if channel.unit is not None)}
    return [(_unit_code(label), label.ljust(8) if label else "") for label in sorted(labels)]


def _channel(channel: Channel) -> dict[str, Any]:
    data: dict[str, Any] = {
        "group": channel.group,
        "subgroup": channel.subgroup,
        "name": channel.name,
        "unit": None if channel.unit is None else _unit_code(channel.unit),
        "driver": channel.driver,
        "driver_id": channel.driver_id,
        "channel_id": channel.channel_id,
    }
    if isinstance(channel, SimpleChannel):
        own = {"format": 1, "values": [channel.value], "published": channel.published, "hidden": channel.hidden}
    elif isinstance(channel, StateChannel):
        names = [False if name is None else name for name, _ in channel.states]
        own = {"format": 2, "states": names, "values": [ticks for _, ticks in channel.states]}
    else:
        own = {"format": channel.format, "values": channel.values}
    return data | own


def _smc(keys: dict[str, tuple[str, bytes]] | None) -> list[tuple[str, str, bytes]] | None:
    if keys is None:
        return None
    count = len(keys) + ("#KEY" not in keys)
    every = keys | {"#KEY": ("ui32", count.to_bytes(4, "big"))}
    return [(key, *value) for key, value in sorted(every.items())]


def _sensor(product: str, degrees: float | None) -> list[str | float]:
    return [product] if degrees is None else [product, float(degrees)]


def _vm(fields: dict[str, int], count: int) -> bytes:
    if unknown := fields.keys() - VM_FIELDS.keys():
        raise KeyError(f"vm_statistics64 has no {sorted(unknown)}")
    packed = struct.pack("<" + "".join(VM_FIELDS.values()), *(fields.get(name, 0) for name in VM_FIELDS))
    return packed.ljust(count * 4, b"\0")[: count * 4]


def _ticks(*ticks: int) -> bytes:
    return struct.pack("<4I", *(tick & 0xFFFFFFFF for tick in ticks))


def _usage(fields: dict[str, int]) -> bytes:
    buffer = bytearray(USAGE_SIZE)
    for name, value in fields.items():
        struct.pack_into("<Q", buffer, 16 + 8 * USAGE_FIELDS[name], value)
    return bytes(buffer)


def _numbers(interfaces: list[Interface]) -> dict[str, bytes]:
    """Answers of sysctl by number: how many rows ifmib has, and its rows from 1."""
    rows = {f"4.18.0.2.{index}.1": _ifmib(interface) for index, interface in enumerate(interfaces, 1)}
    return {"4.18.0.1.1": struct.pack("<i", len(interfaces)), **rows}


def _ifmib(interface: Interface) -> bytes:
    row = bytearray(180)
    row[:16] = interface.name.encode().ljust(16, b"\0")
    struct.pack_into("<Q", row, 76, interface.received_packets)
    struct.pack_into("<Q", row, 92, interface.sent_packets)
    struct.pack_into("<QQ", row, 116, interface.received, interface.sent)
    return bytes(row)
