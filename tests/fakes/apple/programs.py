"""Apple's programs as `tokwatt capture` runs them: `ioreg` prints a machine's entries, others what is in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fakes.apple.machine import Machine, Node
from fakes.apple.recordings import ioreg

_FILES = {
    "/usr/sbin/sysctl": "sysctl.txt",
    "/usr/bin/vm_stat": "vm_stat.txt",
    "/usr/bin/pmset": "pmset.txt",
    "/usr/bin/notifyutil": "notify.txt",
    "/usr/sbin/netstat": "netstat.txt",
}


class Programs:
    """Called with a command, gives what it prints; None where the program is not there."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self._machine = machine
        files = {program: folder / name for program, name in _FILES.items()}
        self.prints = {program: path.read_text() for program, path in files.items() if path.is_file()}

    def __call__(self, command: Sequence[str]) -> str | None:
        if command[0] != "/usr/sbin/ioreg":
            return self.prints.get(command[0])
        options = dict(zip(command[4::2], command[5::2], strict=True))
        plane = options.get("-p", "IOService")
        found = [node for node in ioreg.walk(self._machine.nodes) if node.plane == plane and _matches(node, options)]
        return "\n".join(printed(node, int(options["-d"])) for node in found)


def _matches(node: Node, options: dict[str, str]) -> bool:
    if name := options.get("-n"):
        return node.name == name
    return options["-c"] in (node.class_name, *node.superclasses)


def printed(node: Node, depth: int, indent: str = "") -> str:
    """The entry as `ioreg -l -w0 -r -d DEPTH` prints it."""
    flag = "registered, matched" if node.registered else "!registered, !matched"
    bar = "| " if node.children and depth > 1 else "  "
    lines = [f"{indent}+-o {node.name}  <class {node.class_name}, id {node.id:#x}, {flag}, active, busy 0, retain 7>"]
    lines += [f"{indent}  {bar}{{"]
    lines += [f'{indent}  {bar}  "{key}" = {_text(value)}' for key, value in node.properties.items()]
    lines += [f"{indent}  {bar}}}", f"{indent}  {bar}"]
    below = node.children if depth > 1 else []
    return "\n".join([*lines, *(printed(child, depth - 1, f"{indent}  ") for child in below)]) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bytes):
        return f"<{value.hex()}>"
    if isinstance(value, list):
        return f"({','.join(map(_text, value))})"
    if isinstance(value, dict):
        return "{" + ",".join(f'"{key}"={_text(item)}' for key, item in value.items()) + "}"
    return str(value)
