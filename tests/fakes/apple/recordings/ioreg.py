"""The IORegistry as `ioreg` prints it: whole trees, parts with or without the tree's lines, and property lists.

An entry whose heading is missing is told by its properties.
"""

from __future__ import annotations

import re
from typing import Any

from fakes.apple.machine import Node
from fakes.apple.recordings import ioreg_values
from fakes.apple.recordings.recording import NoSensor, Recording

_HEADING = re.compile(r"(?P<tree>[ |]*)\+-o (?P<name>.*?) *<class (?P<class>[\w.:]+)(?P<rest>[^>]*)>")
_ID = re.compile(r"\bid (0x[0-9a-fA-F]+)")
_PROPERTY = re.compile(r'[ |]*"(?P<key>[^"]+)" = (?P<value>.*)')
_LOCATION = re.compile(r"@[0-9A-Fa-f,]+$")
#: Deeper is not a tree of a Mac.
_DEPTH = 60
_SUPERCLASSES = {"AppleSmartBattery": ("IOPMPowerSource",), "AppleANSDevice": ("IOBlockStorageDevice",)}
#: How an entry without a heading is known: a property, the class that has it, and its name where that is another.
_SIGNS = (
    (re.compile("PerformanceStatistics|AGCInfo|gpu-core-count"), "AGXAccelerator", ""),
    (re.compile("AppUsage"), "AGXDeviceUserClient", ""),
    (re.compile(r"voltage-states\d+(-sram)?|acc-clusters"), "AppleARMIODevice", "pmgr"),
    (re.compile("DesignCapacity|CycleCount|AppleRawMaxCapacity|CurrentCapacity"), "AppleSmartBattery", ""),
    (re.compile("BSD Name"), "IOMedia", ""),
)
#: Entries of which a sensor of ours is made, by class, or by name where the class has many.
_CLASSES = re.compile(
    r"AGXAccelerator\w*|IOAccelerator|AGXDeviceUserClient|AppleSmartBattery|IOBlockStorageDriver|IOMedia|AppleCLPC"
)
_NAMED = re.compile(r"pmgr(-child)?|cpus")
_WORDS = {"AGXDeviceUserClient": "GPU time by process, of which that of engines has series"}


def parse(text: str) -> Recording | None:
    """The entries in `text`; None where there is neither a heading nor a property."""
    roots: list[Node] = []
    path: list[tuple[int, Node]] = []
    loose: dict[str, Any] = {}
    seen = False
    for line in text.splitlines():
        if match := _HEADING.match(line):
            column = len(match["tree"])
            while path and path[-1][0] >= column:
                path.pop()
            node = _node(match["name"], match["class"], match["rest"], bool(path) and path[-1][1].plane != "IOService")
            (path[-1][1].children if path else roots).append(node)
            if len(path) < _DEPTH:
                path.append((column, node))
            seen = True
        elif match := _PROPERTY.fullmatch(line.rstrip()):
            _put(path[-1][1].properties if path else loose, match["key"], match["value"])
            seen = True
    return recording(roots + _entries(loose)) if seen else None


def _put(properties: dict[str, Any], key: str, text: str) -> None:
    try:
        value = ioreg_values.value(text)
    except (ioreg_values.Unreadable, RecursionError):
        return
    if value is not None:
        properties[key] = value


def _node(name: str, class_name: str, rest: str, in_device_tree: bool) -> Node:
    name = _LOCATION.sub("", name)
    found = _ID.search(rest)
    given = {"id": int(found[1], 16)} if found else {}
    return placed(Node(name, class_name, registered="!registered" not in rest, **given), in_device_tree)


def placed(node: Node, in_device_tree: bool = False) -> Node:
    """The entry with what `ioreg` does not print: its plane and what its class inherits from."""
    if node.class_name == "AppleARMIODevice":
        # A driver's entry, wherever it was printed from.
        node.plane = "IOService"
    elif in_device_tree or node.name in ("cpus", "product", "device-tree"):
        node.plane = "IODeviceTree"
    if node.class_name.startswith("AGXAccelerator") or "PerformanceStatistics" in node.properties:
        node.superclasses = ("IOAccelerator",)
    else:
        node.superclasses = _SUPERCLASSES.get(node.class_name, ())
    return node


def recording(roots: list[Node]) -> Recording:
    """A Mac with these entries; `NoSensor` where none of them is one that is read."""
    held = {node.name if _NAMED.fullmatch(node.name) else node.class_name for node in walk(roots)}
    known = sorted(what for what in held if _CLASSES.fullmatch(what) or _NAMED.fullmatch(what))
    if not known:
        names = ", ".join(sorted(held)[:3])
        raise NoSensor(f"ioreg without an entry that is read ({names})" if names else "ioreg's properties, none read")
    for node in walk(roots):
        placed(node, node.plane != "IOService")
    result = Recording(holds=[_WORDS.get(name, name) for name in known])
    result.machine.nodes = roots
    return result


def walk(nodes: list[Node]) -> list[Node]:
    """These entries and all below them."""
    found = []
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting += node.children
    return found


def tell_apart(nodes: list[Node]) -> None:
    """Give a new id to every entry, of those put together from several recordings, whose id another one has."""
    seen: set[int] = set()
    free = max((node.id for node in walk(nodes)), default=0)
    for node in walk(nodes):
        if node.id in seen:
            node.id = free = free + 1
        seen.add(node.id)


def _entries(properties: dict[str, Any]) -> list[Node]:
    """What the properties outside of any entry are of."""
    for sign, class_name, name in _SIGNS:
        if any(sign.fullmatch(key) for key in properties):
            given = properties.get("IOClass")
            kind = given if isinstance(given, str) and given.startswith(class_name) else class_name
            return [Node(name or kind, kind, properties)]
    statistics = properties.get("Statistics")
    if isinstance(statistics, dict) and "Bytes (Read)" in statistics:
        return [Node("IOBlockStorageDriver", "IOBlockStorageDriver", properties)]
    return [Node("properties", "IOService", properties)] if properties else []
