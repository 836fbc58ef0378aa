"""Property lists: what `ioreg -a` and `powermetrics -f plist` print."""

from __future__ import annotations

import plistlib
from typing import Any

from fakes.apple.machine import Node
from fakes.apple.recordings import ioreg
from fakes.apple.recordings.recording import NoSensor, Recording

#: What `ioreg -a` adds to the properties of an entry.
_HEADING = ("IOObjectClass", "IOObjectRetainCount", "IORegistryEntryChildren", "IORegistryEntryID",
            "IORegistryEntryLocation", "IORegistryEntryName", "IOServiceBusyState", "IOServiceBusyTime",
            "IOServiceState")  # fmt: skip
_POWERMETRICS = {"is_delta", "elapsed_ns", "hw_model"}


def parse(data: bytes) -> Recording | None:
    """What the property lists in `data` hold; None where there is none, `NoSensor` where they are damaged."""
    start = data.lstrip(b"\0 \t\r\n\xef\xbb\xbf")
    if not start.startswith((b"<?xml", b"<plist", b"<!DOCTYPE plist", b"bplist")):
        return None
    documents = [found for part in _parts(start) if (found := _load(part)) is not None]
    if not documents:
        raise NoSensor("a property list that is cut or damaged")
    if all(isinstance(document, dict) and document.keys() >= _POWERMETRICS for document in documents):
        return Recording(powermetrics=data, holds=["powermetrics"])
    entries = documents[0] if isinstance(documents[0], list) else [documents[0]]
    if entries and all(isinstance(entry, dict) and "IOObjectClass" in entry for entry in entries):
        return ioreg.recording([_node(entry) for entry in entries])
    raise NoSensor("a property list that is neither ioreg's nor powermetrics'")


def _parts(data: bytes) -> list[bytes]:
    """powermetrics puts a NUL between two lists; a binary one has NULs of its own."""
    return [data] if data.startswith(b"bplist") else [part for part in data.split(b"\0") if part.strip()]


def _load(part: bytes) -> Any:
    try:
        return plistlib.loads(part.strip())
    except Exception:
        return None


def _node(entry: dict[str, Any], in_device_tree: bool = False, depth: int = 0) -> Node:
    name, kind, number = (entry.get(key) for key in ("IORegistryEntryName", "IOObjectClass", "IORegistryEntryID"))
    properties = {key: value for key, value in entry.items() if key not in _HEADING}
    node = Node(str(name or kind), str(kind), _plain(properties))
    if isinstance(number, int):
        node.id = number
    # A user client is never registered; `ioreg -a` does not say so in words.
    node.registered = not node.class_name.endswith("UserClient")
    ioreg.placed(node, in_device_tree)
    children = entry.get("IORegistryEntryChildren")
    if isinstance(children, list) and depth < 60:
        below = node.plane != "IOService"
        node.children = [_node(child, below, depth + 1) for child in children if isinstance(child, dict)]
    return node


def _plain(value: Any) -> Any:
    """Without what the IORegistry cannot hold: dates and the like."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items() if _holds(item)}
    if isinstance(value, list):
        return [_plain(item) for item in value if _holds(item)]
    return value


def _holds(value: Any) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return isinstance(value, (str, float, bytes, list, dict))
