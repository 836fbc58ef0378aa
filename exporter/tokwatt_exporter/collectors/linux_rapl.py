"""Energy of the processor on Linux, from the RAPL counters under /sys/class/powercap (Intel and AMD)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tokwatt_exporter.catalogue import ENERGY, PACKAGE_ENERGY, POWER, SYSTEM_ENERGY, SYSTEM_POWER
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.delta import Accumulator
from tokwatt_exporter.collectors.linux_files import entries, number, text
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

#: A socket, or one die of it where each counts for itself.
_PACKAGE = re.compile(r"package-\d+(-die-\d+)?")
#: What the kernel calls the parts of a package, and what we do. The parts are disjoint.
_DEVICES = {"core": "cpu", "uncore": "uncore", "dram": "dram"}

_FORBIDDEN = (
    "energy_uj is readable by root only (CVE-2020-8694): let the exporter's group read it with a udev rule, "
    "see docs/collectors/rapl.md"
)


class _Zone(NamedTuple):
    energy: Path
    domain: str
    wrap: int | None


class LinuxRapl(Collector):
    """Joules of packages, cores, memory and, where the board measures it, the whole machine, since the start."""

    name = "rapl"

    def __init__(self, sys: Path = Path("/sys"), clock: Clock | None = None) -> None:
        self._folder = sys / "class/powercap"
        self._joules = Accumulator(clock or SystemClock())
        self._zones: list[_Zone] = []

    def read(self) -> Iterator[Reading]:
        """Joules since the first read, and mean watts since the last. `NotAvailable` where root alone may read."""
        self._zones = self._zones or list(_zones(self._folder))
        if not self._zones:
            raise NotAvailable("no RAPL counters in /sys/class/powercap")
        totals: dict[str, float] = defaultdict(float)
        watts: dict[str, float | None] = {}
        for zone in self._zones:
            raw = self._microjoules(zone)
            # A part that is not there (a disabled graphics unit, a board without psys) has a counter that stands at 0.
            if raw == 0 and zone not in self._joules:
                continue
            step = self._joules.add(zone, raw / 1e6, zone.wrap / 1e6 if zone.wrap else None)
            totals[zone.domain] += step.total
            before = watts.get(zone.domain, 0.0)
            watts[zone.domain] = before + step.rate if before is not None and step.rate is not None else None
        for domain, joules in totals.items():
            yield from _readings(domain, joules, watts[domain])

    def rebase(self) -> None:
        """The counters may have been reset while the machine slept."""
        self._joules.rebase()

    def _microjoules(self, zone: _Zone) -> int:
        try:
            return int(zone.energy.read_text())
        except PermissionError:
            raise NotAvailable(_FORBIDDEN) from None
        except FileNotFoundError:
            self._zones = []
            raise


def _readings(domain: str, joules: float, watts: float | None) -> Iterator[Reading]:
    if domain == "package":
        yield PACKAGE_ENERGY(joules)
    elif domain == "psys":
        yield SYSTEM_ENERGY(joules)
        if watts is not None:
            yield SYSTEM_POWER(watts)
    else:
        yield ENERGY(joules, device=_DEVICES[domain])
        if watts is not None:
            yield POWER(watts, device=_DEVICES[domain])


def _zones(folder: Path) -> Iterator[_Zone]:
    names = [name for name in entries(folder) if re.fullmatch(r"intel-rapl(-mmio|-tpmi)?(:\d+)+", name)]
    # The same package is there a second time through another interface: each domain is taken from the first one.
    taken: dict[str, str] = {}
    for name in names:
        zone, interface = folder / name, name.partition(":")[0]
        called = text(zone / "name") or ""
        domain = "package" if _PACKAGE.fullmatch(called) else called
        if domain not in (*_DEVICES, "package", "psys") or taken.setdefault(domain, interface) != interface:
            continue
        yield _Zone(zone / "energy_uj", domain, number(zone / "max_energy_range_uj"))
