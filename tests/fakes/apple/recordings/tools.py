"""What other tools print: `vm_stat`, `pmset`, `netstat -ib`, and our own of what no tool does: ticks of each CPU."""

from __future__ import annotations

import re

from fakes.apple.machine import Interface, Node
from fakes.apple.recordings.recording import NoSensor, Recording

_VM_HEADER = re.compile(r"Mach Virtual Memory Statistics: \(page size of (\d+) bytes\)")
_VM_LINE = re.compile(r'"?(?P<name>[^":]+)"?: +(?P<value>\d+)\.')
#: vm_stat's words to the fields of `vm_statistics64`.
_VM_FIELDS = {
    "Pages active": "active", "Pages inactive": "inactive", "Pages speculative": "speculative",
    "Pages throttled": "throttled", "Pages wired down": "wire", "Pages purgeable": "purgeable",
    "Translation faults": "faults", "Pages copy-on-write": "cow_faults", "Pages zero filled": "zero_fill",
    "Pages reactivated": "reactivations", "Pages purged": "purges", "File-backed pages": "external",
    "Anonymous pages": "internal", "Pages stored in compressor": "uncompressed_in_compressor",
    "Pages occupied by compressor": "compressor", "Decompressions": "decompressions", "Compressions": "compressions",
    "Pageins": "pageins", "Pageouts": "pageouts", "Swapins": "swapins", "Swapouts": "swapouts",
}  # fmt: skip
_PMSET_SOURCE = re.compile(r"Now drawing from '(?P<source>[^']+)'")
_PMSET_BATTERY = re.compile(r"-InternalBattery-\d+ \(id=\d+\)\t(?P<percent>\d+)%; (?P<state>[^;]+);.*present: true")
_PMSET_SETTING = re.compile(r"(?P<name>lowpowermode|powermode) +(?P<value>\d+)")
_PMSET_SECTION = re.compile(r"(?P<section>AC Power|Battery Power|UPS Power|Currently in use):")
_PMSET_NOTE = re.compile(r"Note: No (?:CPU power status|(?:thermal|performance) warning level) ")
_TICKS = re.compile(r"cpu\d+ user (\d+)\+(\d+) system (\d+)\+(\d+) idle (\d+)\+(\d+) nice (\d+)\+(\d+)")


def vm_stat(text: str) -> Recording | None:
    """The page counts of `vm_stat`; no line but the first has to be there."""
    header = _VM_HEADER.match(text)
    if not header:
        return None
    found = {m["name"]: int(m["value"]) for line in text.splitlines() if (m := _VM_LINE.fullmatch(line.strip()))}
    pages = {field: found[name] for name, field in _VM_FIELDS.items() if name in found}
    # The kernel's free pages have the speculative ones among them; vm_stat takes them out.
    if "Pages free" in found and "speculative" in pages:
        pages["free"] = found["Pages free"] + pages["speculative"]
    if not pages:
        raise NoSensor("vm_stat's heading without its lines")
    recording = Recording(holds=["vm_stat"])
    recording.machine.vm = pages
    recording.machine.page_size = int(header[1])
    if any(name.startswith("Pages tagged") for name in found):
        # With memory tagging comes a longer struct.
        recording.machine.vm_count = 62
    return recording


def pmset(text: str) -> Recording | None:
    """The battery of `pmset -g batt`, or the power mode of `pmset -g` and `pmset -g custom`."""
    lines = [line.strip() for line in text.splitlines()]
    if lines and _PMSET_SOURCE.fullmatch(lines[0]):
        return _battery(lines)
    if any(_PMSET_NOTE.match(line) for line in lines):
        raise NoSensor("pmset -g therm knows of no limit, which says nothing on Apple silicon")
    if any(line.startswith("CPU_Speed_Limit") for line in lines):
        raise NoSensor("pmset -g therm with limits of Intel's processors; thermal pressure is read by notify(3)")
    return _power_mode(lines)


def _battery(lines: list[str]) -> Recording:
    source = _PMSET_SOURCE.fullmatch(lines[0])
    battery = next((match for line in lines[1:] if (match := _PMSET_BATTERY.fullmatch(line))), None)
    if battery is None or source is None:
        raise NoSensor("pmset -g batt of a Mac without a battery")
    properties = {
        "BatteryInstalled": True, "CurrentCapacity": int(battery["percent"]), "MaxCapacity": 100,
        "ExternalConnected": source["source"] == "AC Power", "IsCharging": battery["state"] == "charging",
    }  # fmt: skip
    recording = Recording(holds=["the battery's charge"])
    recording.machine.nodes.append(Node("AppleSmartBattery", "AppleSmartBattery", properties))
    return recording


def _power_mode(lines: list[str]) -> Recording | None:
    found: dict[str, dict[str, int]] = {}
    sections: tuple[str, ...] = ()
    for line in lines:
        if match := _PMSET_SECTION.fullmatch(line):
            now = match["section"]
            sections = ("AC Power", "Battery Power") if now == "Currently in use" else (now,)
        elif sections and (match := _PMSET_SETTING.fullmatch(line)):
            for section in sections:
                found.setdefault(section, {})["LowPowerMode"] = int(match["value"])
    if not found:
        if sections:
            raise NoSensor("pmset's settings without a power mode")
        return None
    recording = Recording(holds=["the power mode"])
    recording.machine.power_preferences = found
    return recording


def netstat(text: str) -> Recording | None:
    """The interfaces of `netstat -ib`: their <Link#n> rows, for the rows of addresses repeat the counters."""
    lines = text.splitlines()
    heading = lines[0].split() if lines else []
    if heading[:4] != ["Name", "Mtu", "Network", "Address"] or not {"Ibytes", "Obytes"} <= set(heading):
        return None
    columns = heading[4:]
    recording = Recording(holds=["interfaces"])
    for line in lines[1:]:
        words = line.split()
        row = dict(zip(columns, words[-len(columns) :], strict=False))
        link = len(words) in (len(columns) + 3, len(columns) + 4) and re.fullmatch(r"<Link#\d+>", words[2])
        if not link or not all(row[name].isdecimal() for name in ("Ibytes", "Obytes", "Ipkts", "Opkts")):
            continue
        counts = (int(row[name]) for name in ("Ibytes", "Obytes", "Ipkts", "Opkts"))
        recording.machine.interfaces.append(Interface(words[0].rstrip("*"), *counts))
    if not recording.machine.interfaces:
        raise NoSensor("netstat -ib without a <Link#n> row")
    return recording


def processor_ticks(text: str) -> Recording | None:
    """Ticks of each CPU since boot, and what came on top in the time of the other recordings."""
    found = [
        [int(n) for n in match.groups()] for line in text.splitlines() if (match := _TICKS.fullmatch(line.strip()))
    ]
    if not found:
        return None
    recording = Recording(holds=["ticks of the CPUs"])
    recording.machine.cpu_ticks = [(row[0], row[2], row[4], row[6]) for row in found]
    recording.cpu_growth = [(row[1], row[3], row[5], row[7]) for row in found]
    return recording
