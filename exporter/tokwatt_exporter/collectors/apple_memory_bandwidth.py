"""Memory traffic of a Mac, from the counters of its memory controller."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from tokwatt_exporter.apple.ioreport import SIMPLE, Channel, Simple, Subscription
from tokwatt_exporter.catalogue import DRAM_READ, DRAM_WRITTEN
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.delta import Accumulator
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

_GROUP, _SUBGROUP = "AMC Stats", "Perf Counters"
#: The totals of a die. `ECPU DCS RD` and the like are parts of them.
_TOTAL = re.compile(r"(?:DIE_?\d+[_ ]|PRIM )?DCS (RD|WR)")
_FAMILIES = {"RD": DRAM_READ, "WR": DRAM_WRITTEN}


class AppleMemoryBandwidth(Collector):
    """Bytes read from and written to memory by the whole chip, since the exporter started."""

    name = "memory_bandwidth"

    def __init__(self, clock: Clock | None = None) -> None:
        self._bytes = Accumulator(clock or SystemClock())
        self._subscription: Subscription | None = None

    def read(self) -> Iterator[Reading]:
        """Bytes. `NotAvailable` on chips and macOS versions that count only in coarse steps, or for nobody."""
        # Later chips have histograms in their stead, which end at a traffic that they exceed; an estimate of it
        # would look like a measurement.
        self._subscription = self._subscription or Subscription.open(_GROUP, _SUBGROUP, _is_total)
        if self._subscription is None:
            raise NotAvailable("macOS does not count the bytes of memory traffic on this chip")
        totals: dict[str, float] = defaultdict(float)
        missing = set(self._subscription.channels)
        for sample in self._subscription.sample():
            if isinstance(sample, Simple):
                totals[_way(sample.channel)] += self._bytes.add(sample.channel, sample.value).total
                missing.discard(sample.channel)
        # The total without one of the dies would be a fall.
        for way in totals.keys() - {_way(channel) for channel in missing}:
            yield _FAMILIES[way](totals[way])

    def rebase(self) -> None:
        """Traffic during the sleep is not ours to count."""
        self._bytes.rebase()

    def close(self) -> None:
        """Give the subscription back."""
        if self._subscription:
            self._subscription.close()


def _is_total(channel: Channel) -> bool:
    return channel.format == SIMPLE and channel.unit == "B" and bool(_TOTAL.fullmatch(channel.name))


def _way(channel: Channel) -> str:
    found = _TOTAL.fullmatch(channel.name)
    assert found is not None
    return found[1]
