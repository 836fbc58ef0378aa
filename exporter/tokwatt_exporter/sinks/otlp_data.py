"""Snapshots as OTLP metrics: the catalogue's names verbatim, one data point for each value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tokwatt_exporter import __version__
from tokwatt_exporter.catalogue import Counter, Family, Kind, Part
from tokwatt_exporter.families import Distribution
from tokwatt_exporter.snapshot import Labels, Snapshot

#: The wire's word for "not known"; protobuf leaves a 0 out.
UNKNOWN_START = 0


def to_metrics_data(snapshots: Sequence[Snapshot], resource: Mapping[str, str], started_ns: int) -> MetricsData:
    """One metric for each family with the points of all snapshots; `started_ns` is when our own counters began."""
    points: dict[Family, list[Any]] = {}
    attributes: dict[Labels, dict[str, str]] = {}
    for snapshot in snapshots:
        time_ns = snapshot.time_ms * 1_000_000
        for family, rows in snapshot.values.items():
            start_ns = _start(family, time_ns, started_ns)
            if not isinstance(family, Part):
                points.setdefault(family, []).extend(
                    NumberDataPoint(_known(attributes, labels), start_ns, time_ns, value)
                    for labels, value in rows.items()
                )
            elif family is family.whole.bucket:
                points.setdefault(family.whole, []).extend(
                    _histogram_point(_known(attributes, labels), start_ns, time_ns, found)
                    for labels, found in family.whole.distributions(snapshot.values).items()
                )
    scope = InstrumentationScope("tokwatt", __version__)
    metrics = [
        Metric(family.name, family.help, family.unit, _data(family, found)) for family, found in points.items() if found
    ]
    return MetricsData([ResourceMetrics(Resource(dict(resource)), [ScopeMetrics(scope, metrics, "")], "")])


def _histogram_point(
    attributes: Mapping[str, str], start_ns: int, time_ns: int, found: Distribution
) -> HistogramDataPoint:
    bounds = tuple(bound for bound, _ in found.buckets[:-1])
    counts = [count for _, count in found.buckets]
    # Each bucket counts its own values only, where Prometheus counts those below it too.
    own = tuple(round(count - before) for count, before in zip(counts, [0.0, *counts], strict=False))
    # The smallest and largest value, which nobody knows: the encoder leaves out what is None.
    unknown: Any = None
    return HistogramDataPoint(
        dict(attributes), start_ns, time_ns, round(found.count), found.sum, own, bounds, unknown, unknown
    )


def _known(attributes: dict[Labels, dict[str, str]], labels: Labels) -> dict[str, str]:
    found = attributes.get(labels)
    if found is None:
        # As the history does it: the encoder would leave out a value that has a lone surrogate, and so merge series.
        found = {name: value.encode("utf-8", "replace").decode() for name, value in labels}
        attributes[labels] = found
    return found


def _start(family: Family, time_ns: int, started_ns: int) -> int:
    # A sample of an earlier run counted from that run's start, which nobody wrote down.
    ours = isinstance(family, Counter) and family.ours
    return started_ns if ours and started_ns <= time_ns else UNKNOWN_START


def _data(family: Family, points: list[Any]) -> Gauge | Sum | HistogramData:
    if family.kind is Kind.HISTOGRAM:
        return HistogramData(points, AggregationTemporality.CUMULATIVE)
    if family.kind is Kind.GAUGE:
        return Gauge(points)
    # Info and state sets become non-monotonic sums, as the specification maps them from OpenMetrics.
    return Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=family.kind is Kind.COUNTER)
