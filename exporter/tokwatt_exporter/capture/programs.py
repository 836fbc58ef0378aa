"""What Apple's programs print, cut down to the lines that a recording is for."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence

#: Runs a program and gives what it printed; None where it could not be run or failed.
Run = Callable[[Sequence[str]], str | None]

_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
_LIMIT_SECONDS = 60.0

_NAMES = (
    "hw.model", "hw.targettype", "hw.memsize", "hw.memsize_usable", "hw.pagesize", "hw.ncpu", "hw.physicalcpu",
    "hw.logicalcpu", "hw.tbfrequency", "hw.nperflevels", "hw.perflevel0", "hw.perflevel1", "hw.perflevel2",
    "machdep.cpu.brand_string", "kern.osproductversion", "kern.osversion", "kern.osrelease", "kern.hv_vmm_present",
    "kern.memorystatus_vm_pressure_level", "kern.memorystatus_level", "vm.swapusage", "vm.compressor_input_bytes",
    "vm.compressor_compressed_bytes", "iogpu.wired_limit_mb", "debug.iogpu.wired_limit", "sysctl.proc_translated",
)  # fmt: skip
_PRESSURE = "com.apple.system.thermalpressurelevel"

#: File, program with its arguments, and the lines of its output that are kept.
_TEXTS = (
    ("sysctl.txt", ("/usr/sbin/sysctl", "-i", *_NAMES), rf"(?:{'|'.join(map(re.escape, _NAMES))})(?:\.\w+)?: .*"),
    ("vm_stat.txt", ("/usr/bin/vm_stat",), r'Mach Virtual Memory Statistics: .*|"?[A-Z][\w -]+"?: +\d+\.'),
    ("pmset.txt", ("/usr/bin/pmset", "-g", "custom"), r"(?:AC|Battery|UPS) Power:| \w[\w ]*\w +\d+"),
    ("notify.txt", ("/usr/bin/notifyutil", "-g", _PRESSURE), rf"{re.escape(_PRESSURE)}.*"),
    ("netstat.txt", ("/usr/sbin/netstat", "-ibn"), r"Name +Mtu .*|\w+\*? +\d+ +<Link#\d+>.*"),
)  # fmt: skip

_IOREG = ("/usr/sbin/ioreg", "-l", "-w0", "-r")
#: What to look for in the registry, and the properties that are kept of it and below it.
_ENTRIES = (
    (("-c", "IOAccelerator", "-d", "2"),
     r"PerformanceStatistics|AGCInfo|IOClass|IONameMatched|IOSourceVersion|model|gpu-core-count|GPUConfigurationVariable"
     r"|AppUsage|API|IOUserClientCreator"),
    (("-c", "AppleSmartBattery", "-d", "1"),
     r"AppleRaw(?:Max|Current)Capacity|(?:Current|Max|Design)Capacity|CycleCount"
     r"|Temperature|Voltage|(?:Instant)?Amperage|ExternalConnected|IsCharging|FullyCharged|BatteryInstalled|TimeRemaining"
     r"|AdapterDetails|PowerTelemetryData"),
    (("-c", "IOBlockStorageDriver", "-d", "2"), r"IOClass|Statistics|BSD Name|Whole|Size|Removable|Ejectable"),
    (("-n", "pmgr", "-d", "2"), r"voltage-states\d+(?:-sram)?|acc-clusters|compatible|name"),
    (("-p", "IODeviceTree", "-n", "cpus", "-d", "2"),
     r"[ep]-core-count|cluster-(?:type|id)|(?:logical-)?(?:cpu|cluster)-id|device_type|name|state|compatible"),
    (("-p", "IODeviceTree", "-n", "product", "-d", "1"), r"product-(?:name|description|soc-name)|name"),
)  # fmt: skip
_HEADING = re.compile(r"[ |]*\+-o .*<class [^>]*>")
_BRACE = re.compile(r"[ |]*[{}]?[ |]*")
_PROPERTY = re.compile(r'[ |]*"(?P<key>[^"]+)" = .*')


def run(command: Sequence[str]) -> str | None:
    """What the program prints; None where there is none such, it fails, or it takes longer than a minute."""
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_LIMIT_SECONDS, env=_ENVIRONMENT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")


def texts(run: Run) -> dict[str, tuple[str, str]]:
    """By file: what it is to hold (empty: nothing came) and which program printed it."""
    found = {name: (_lines(run(command), kept), " ".join(command[:2])) for name, command, kept in _TEXTS}
    entries = [_entries(run((*_IOREG, *where)), kept) for where, kept in _ENTRIES]
    return {**found, "ioreg.txt": ("\n".join(filter(None, entries)), " ".join(_IOREG))}


def _lines(text: str | None, kept: str) -> str:
    lines = [line.rstrip() for line in (text or "").splitlines()]
    return "".join(f"{line}\n" for line in lines if re.fullmatch(kept, line))


def _entries(text: str | None, kept: str) -> str:
    return "".join(f"{line}\n" for line in (text or "").splitlines() if _wanted(line, kept))


def _wanted(line: str, kept: str) -> bool:
    if match := _PROPERTY.fullmatch(line):
        return bool(re.fullmatch(kept, match["key"]))
    return bool(_HEADING.fullmatch(line) or _BRACE.fullmatch(line))
