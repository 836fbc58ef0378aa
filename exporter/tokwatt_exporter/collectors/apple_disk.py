"""Traffic of a Mac's disks, from the drivers of its block devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tokwatt_exporter.apple import iokit
from tokwatt_exporter.catalogue import DISK_READ, DISK_WRITTEN
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading


class _Traffic(NamedTuple):
    total: int
    read: int
    written: int


class AppleDisk(Collector):
    """Bytes of every whole disk since it was attached."""

    name = "disk"

    def read(self) -> Iterator[Reading]:
        """Bytes read and written. `NotAvailable` where no driver counts for a disk that has a name."""
        disks: dict[str, _Traffic] = {}
        for driver in iokit.services("IOBlockStorageDriver"):
            name, traffic = _disk(driver), _traffic(driver)
            # Their order changes, and a disk that shows up twice must not jump between two counts.
            if name is not None and traffic is not None:
                disks[name] = max(traffic, disks.get(name, traffic))
        if not disks:
            raise NotAvailable("no disk with statistics")
        for name in sorted(disks):
            yield DISK_READ(disks[name].read, device=name)
            yield DISK_WRITTEN(disks[name].written, device=name)


def _traffic(driver: iokit.Entry) -> _Traffic | None:
    statistics = driver.property("Statistics")
    if not isinstance(statistics, dict):
        return None
    read, written = statistics.get("Bytes (Read)"), statistics.get("Bytes (Write)")
    if not isinstance(read, int) or not isinstance(written, int):
        return None
    return _Traffic(read + written, read, written)


def _disk(driver: iokit.Entry) -> str | None:
    """The name of the disk below the driver; a card reader without a card has none."""
    for child in driver.children():
        with child:
            if child.property("Whole") is True and isinstance(name := child.property("BSD Name"), str):
                return name
    return None
