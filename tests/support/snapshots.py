"""What a collector gives, as tests ask for it."""

from __future__ import annotations

from tokwatt_exporter.catalogue import COLLECTOR_PROBLEM
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.snapshot import Snapshot


def sample(collector: Collector) -> Snapshot:
    """One read of one collector."""
    return Snapshot.of(0, collector.read())


def reasons(snapshot: Snapshot) -> list[str]:
    """Why something is not there."""
    return [dict(labels)["reason"] for labels in snapshot.values.get(COLLECTOR_PROBLEM, {})]
