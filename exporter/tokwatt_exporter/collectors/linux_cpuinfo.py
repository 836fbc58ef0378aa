"""What Linux calls the processor, from /proc/cpuinfo."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}


class CpuIdentity(NamedTuple):
    """Vendor, model name and number of physical cores; None for what the kernel does not say."""

    vendor: str | None
    model: str | None
    cores: int | None


def cpu_identity(proc: Path) -> CpuIdentity:
    """The identity of the machine's processors (all sockets: the first one's name, everyone's cores)."""
    try:
        blocks = (proc / "cpuinfo").read_text("utf-8", "replace").split("\n\n")
    except OSError:
        return CpuIdentity(None, None, None)
    cpus = [_fields(block) for block in blocks]
    merged = {key: value for cpu in reversed(cpus) for key, value in cpu.items()}
    vendor = merged.get("vendor_id")
    cores = {(cpu["physical id"], cpu["core id"]) for cpu in cpus if cpu.keys() >= {"physical id", "core id"}}
    return CpuIdentity(
        _VENDORS.get(vendor or "", vendor),
        merged.get("model name") or merged.get("Hardware"),
        len(cores) or sum("processor" in cpu for cpu in cpus) or None,
    )


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in block.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}
