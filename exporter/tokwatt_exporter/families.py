"""What a metric can be: gauge, counter, histogram, info or state set. Which metrics there are is in `catalogue.py`."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tokwatt_exporter.snapshot import Labels, Reading

#: What the names of a histogram's parts end in: buckets, count and sum.
PARTS = "_bucket", "_count", "_sum"


class Kind(StrEnum):
    """What a family is to Prometheus and OTLP; info and state sets are gauges in text format."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    INFO = "info"
    STATES = "states"


class Family:
    """A metric's name, unit (UCUM), labels, help and semantic-convention alias. Identity is equality."""

    kind: Kind

    def __init__(self, name: str, unit: str, help: str, labels: tuple[str, ...], semconv: str | None) -> None:
        self.name = sys.intern(name)
        self.unit = unit
        self.help = help
        self.labels = labels
        self.semconv = semconv

    def __repr__(self) -> str:
        return self.name

    def _reading(self, value: float, labels: Mapping[str, str]) -> Reading:
        return Reading(self, tuple((name, labels[name]) for name in self.labels if name in labels), float(value))

    def _check(self, labels: Mapping[str, str | None]) -> None:
        if len(labels) != len(self.labels) or any(name not in labels for name in self.labels):
            raise TypeError(f"{self.name} takes the labels {self.labels}, not {tuple(labels)}")


class Gauge(Family):
    """A value that goes up and down."""

    kind = Kind.GAUGE

    def __call__(self, value: float, **labels: str) -> Reading:
        self._check(labels)
        return self._reading(value, labels)


class Counter(Gauge):
    """A value that only grows. `ours` says that it counts from the exporter's start, not from the source's."""

    kind = Kind.COUNTER

    def __init__(
        self, name: str, unit: str, help: str, labels: tuple[str, ...], semconv: str | None, *, ours: bool = False
    ) -> None:
        super().__init__(name, unit, help, labels, semconv)
        self.ours = ours


class Info(Family):
    """Constant 1 with identity in the labels; what is not known is left out."""

    kind = Kind.INFO

    def __call__(self, **labels: str | None) -> Reading:
        if unknown := labels.keys() - set(self.labels):
            raise TypeError(f"{self.name} has no label {', '.join(sorted(unknown))}")
        return self._reading(1, {name: value for name, value in labels.items() if value})


class States(Family):
    """One series per state, 1 for the current one; called with the current state it gives all of them."""

    kind = Kind.STATES

    def __init__(self, name: str, help: str, states: tuple[str, ...], labels: tuple[str, ...] = ()) -> None:
        super().__init__(name, "", help, (*labels, "state"), None)
        self.states = states

    def __call__(self, current: str, **labels: str) -> tuple[Reading, ...]:
        if current not in self.states:
            raise ValueError(f"{self.name} has no state {current!r}")
        self._check({**labels, "state": current})
        return tuple(self._reading(state == current, {**labels, "state": state}) for state in self.states)


class Part(Counter):
    """One of the counters that a histogram is made of: what snapshot and history hold of it."""

    def __init__(self, whole: Histogram, suffix: str, unit: str, labels: tuple[str, ...]) -> None:
        super().__init__(whole.name + suffix, unit, whole.help, labels, None, ours=whole.ours)
        self.whole = whole


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram's series: how many values were up to each bound, ascending to infinity, and their sum."""

    buckets: tuple[tuple[float, float], ...]
    sum: float

    @property
    def count(self) -> float:
        """How many values there were."""
        return self.buckets[-1][1]


class Histogram(Family):
    """How often a value was up to each of some bounds. In a snapshot it is its three parts, as in Prometheus."""

    kind = Kind.HISTOGRAM

    def __init__(
        self, name: str, unit: str, help: str, labels: tuple[str, ...], semconv: str | None, *, ours: bool = False
    ) -> None:
        super().__init__(name, unit, help, labels, semconv)
        self.ours = ours
        bucket, count, sum = PARTS
        self.bucket = Part(self, bucket, "", (*self.labels, "le"))
        self.count = Part(self, count, "", self.labels)
        self.sum = Part(self, sum, unit, self.labels)
        self.parts = self.bucket, self.count, self.sum

    def __call__(self, distribution: Distribution, **labels: str | None) -> Iterator[Reading]:
        """The readings of one series: buckets, count and sum; a label that is None is left out."""
        self._check(labels)
        return self._readings(
            tuple((name, text) for name in self.labels if (text := labels[name]) is not None), distribution
        )

    def ordered(self, values: Mapping[Family, Mapping[Labels, float]]) -> Iterator[Reading]:
        """The readings in a snapshot's values, series by series, bounds ascending."""
        for labels, distribution in sorted(self.distributions(values).items()):
            yield from self._readings(labels, distribution)

    def _readings(self, labels: Labels, distribution: Distribution) -> Iterator[Reading]:
        for bound, count in distribution.buckets:
            yield Reading(self.bucket, (*labels, ("le", _bound(bound))), float(count))
        yield Reading(self.count, labels, float(distribution.count))
        yield Reading(self.sum, labels, float(distribution.sum))

    def distributions(self, values: Mapping[Family, Mapping[Labels, float]]) -> dict[Labels, Distribution]:
        """The series of a snapshot's values; one that lacks a part is left out."""
        buckets: dict[Labels, list[tuple[float, float]]] = {}
        for labels, count in values.get(self.bucket, {}).items():
            *rest, (_, bound) = labels
            buckets.setdefault(tuple(rest), []).append((float(bound), count))
        counts, sums = values.get(self.count, {}), values.get(self.sum, {})
        return {
            labels: Distribution(tuple(sorted(rows)), sums[labels])
            for labels, rows in buckets.items()
            if labels in sums and (math.inf, counts.get(labels)) in rows
        }


def _bound(bound: float) -> str:
    return "+Inf" if bound == math.inf else repr(float(bound))
