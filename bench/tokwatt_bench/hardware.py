"""Which machine it was: chip, model, memory and system, never a serial number or a name that somebody gave it."""

from __future__ import annotations

from pathlib import Path

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors import registry
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import TokwattError
from tokwatt_exporter.snapshot import Reading

COLLECTORS = ("host", "memory")
_NAMES = ("chip", "machine_model", "os_version")


def hardware(procfs: Path = Path("/proc"), sysfs: Path = Path("/sys")) -> dict[str, str]:
    """`{"chip", "machine_model", "memory", "os_version"}` of this machine; what is not known is not in it."""
    paths = {"proc": procfs, "sys": sysfs}
    built = registry.build(lambda name, default: name in COLLECTORS, paths=paths)
    try:
        return _named([reading for collector in built for reading in read(collector)])
    finally:
        for collector in built:
            collector.close()


def read(collector: Collector) -> list[Reading]:
    """What a collector reads now; nothing where it cannot."""
    try:
        return list(collector.read())
    except (TokwattError, OSError):
        return []


def _named(readings: list[Reading]) -> dict[str, str]:
    host = next((dict(labels) for family, labels, _ in readings if family == c.HOST_INFO), {})
    found = {name: host[name] for name in _NAMES if host.get(name)}
    size = next((value for family, _, value in readings if family == c.MEMORY_SIZE), None)
    if size:
        # What the firmware keeps for itself is missing in what the system counts.
        found["memory"] = f"{size / 2**30:.3g} GiB"
    return found
