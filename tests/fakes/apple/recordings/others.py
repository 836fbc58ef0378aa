"""Recordings in which nothing is that a sensor of ours reads, and why."""

from __future__ import annotations

import json
import re
from typing import Any

from fakes.apple.recordings.recording import NoSensor

_PROFILER = "output of system_profiler: identity is read by sysctl and the IORegistry"
_ENGINE = "an engine's answer: no sensor of the machine in it"

#: A line in the text, and what has such lines.
_TEXTS = (
    (r"\*\*\* Sampled system activity|[EPSM]\d?-Cluster (Online|HW active)|\S+ (HW )?active residency: ",
     "powermetrics' text: its property list (-f plist) is what is read"),
    (r"powermetrics must be invoked as the superuser", "powermetrics without root"),
    (r"COMMAND +PID +USER +FD +TYPE|p\d+\n[cfn]", "output of lsof: no sensor in it"),
    (r"Processes: \d+ total,|PID +(COMMAND|POWER)", "output of top: figures of processes, no sensor in it"),
    (r",?(time,)?,?bytes_in,bytes_out", "output of nettop: traffic of processes; interfaces are read by sysctl"),
    (r" +KB/t +tps +MB/s", "output of iostat: rates only; disks are read from the IORegistry"),
    (r"(gui|user|system|pid|login)/\S* = \{", "output of launchctl: a service, no sensor in it"),
    (r" +phys_footprint: \d+", "output of footprint: one process, no sensor in it"),
    (r"The system has \d+|System-wide memory free percentage:",
     "output of memory_pressure: a summary of vm_stat's counts"),
    (r"(Hardware|Graphics/Displays|Software):$", _PROFILER),
    (r"# (HELP|TYPE) \w+ ", "metrics of an engine: no sensor of the machine in it"),
    (r"HTTP/\d\.\d \d+", "an answer over HTTP: no sensor of the machine in it"),
    (r"Filesystem +.*Mounted on", "output of df: no sensor in it"),
    (r" *(USER +)?PID .*COMMAND", "output of ps: figures of processes, no sensor in it"),
)  # fmt: skip
#: Keys of a JSON object, and what has them.
_OBJECTS = (
    (("all_power", "sys_power"), "output of macmon: another tool's figures, not the sensors they come from"),
    (("soc", "cpu_usage"), "output of another monitor: its figures, not the sensors they come from"),
    (("models",), _ENGINE),
    (("version",), _ENGINE),
    (("status",), _ENGINE),
    (("data", "object"), _ENGINE),
    (("default_generation_settings",), _ENGINE),
)  # fmt: skip


def of_json(text: str) -> None:
    """`NoSensor` for text that begins as JSON: none of it is a source of ours."""
    if not text.lstrip().startswith(("{", "[")):
        return
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        try:
            found = json.loads(text.lstrip().splitlines()[0])
        except (ValueError, RecursionError):
            raise NoSensor("JSON that is cut or damaged") from None
    first = found[0] if isinstance(found, list) and found else found
    keys = first.keys() if isinstance(first, dict) else set()
    if any(key.startswith("SP") and key.endswith("DataType") for key in keys):
        raise NoSensor(_PROFILER)
    for wanted, reason in _OBJECTS:
        if keys & set(wanted):
            raise NoSensor(reason)
    if isinstance(found, list) and {"id", "is_processing"} <= set(keys):
        raise NoSensor(_ENGINE)
    raise NoSensor("JSON that is no source of ours")


def of_text(text: str) -> None:
    """`NoSensor` for text of a tool that is known."""
    for pattern, reason in _TEXTS:
        if re.search(rf"^(?:{pattern})", text, re.MULTILINE):
            raise NoSensor(reason)
