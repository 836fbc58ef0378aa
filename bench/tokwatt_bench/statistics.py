"""Quantiles, and the interval of a median that assumes nothing about how the values are distributed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from tokwatt_bench.bootstrap import FEWEST as FEWEST_GROUPS
from tokwatt_bench.bootstrap import by_chance, inflation, memory, pooled_quantile_interval

#: Fewer samples than this say nothing about that quantile: below 20 the p95 is just the slowest one or two.
FEWEST = {"p50": 1, "p95": 20, "p99": 100}
_QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
_TAILS = ("p95", "p99")
#: Below 6 no pair of order statistics holds the median with 95 %.
FEWEST_FOR_INTERVAL = 6


@dataclass(frozen=True, slots=True)
class Summary:
    """Quantiles of some samples and the 95 % interval of their median; what is None has its reason under its name.

    `intervals` are those of the other quantiles, where the samples support one; `max` is the largest, which is all that
    can be said of the tail of a few.
    """

    count: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    ci95: tuple[float, float] | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    max: float | None = None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """`{"p50", "p95", "p99", "ci95", "count", "max", "intervals"}`."""
        interval = list(self.ci95) if self.ci95 else None
        return {
            "p50": self.p50, "p95": self.p95, "p99": self.p99, "ci95": interval, "count": self.count, "max": self.max,
            "intervals": {name: list(pair) for name, pair in self.intervals.items()},
        }  # fmt: skip


def summarise(samples: Sequence[float], why_none: str = "") -> Summary:
    """Quantiles of samples of a request each, in the order in which they were measured, and their intervals.

    `why_none` is the reason where there are no samples at all.
    """
    if not samples:
        return Summary(0, reasons={"": why_none or "nothing was measured"})
    intervals = {name: quantile_interval(samples, _QUANTILES[name]) for name in _TAILS}
    reasons = {"ci95": _too_few(len(samples), FEWEST_FOR_INTERVAL)}
    return _summary(samples, steady_interval(samples), intervals, reasons)


def summarise_groups(groups: Sequence[Sequence[float]], why_none: str = "") -> Summary:
    """Quantiles of all the samples together, where those of a group depend on each other: the gaps of each request."""
    groups = [group for group in groups if group]
    if not groups:
        return Summary(0, reasons={"": why_none or "nothing was measured"})
    samples = [sample for group in groups for sample in group]
    middle, *tails = (pooled_quantile_interval(groups, q) for q in _QUANTILES.values())
    reasons = {"ci95": _too_few(len(groups), FEWEST_GROUPS)}
    return _summary(samples, middle, dict(zip(_TAILS, tails, strict=True)), reasons)


def _too_few(count: int, fewest: int) -> str:
    if count < fewest:
        return f"needs {fewest} requests, there are {count}"
    return "the requests differ too much from each other"


def _summary(
    samples: Sequence[float], middle: tuple[float, float] | None,
    intervals: Mapping[str, tuple[float, float] | None], no_interval: dict[str, str],
) -> Summary:  # fmt: skip
    reasons = {
        name: f"needs {fewest} samples, there are {len(samples)}"
        for name, fewest in FEWEST.items()
        if len(samples) < fewest
    }
    found = {name: quantile(samples, q) for name, q in _QUANTILES.items() if name not in reasons}
    return Summary(
        len(samples), **found, ci95=middle, reasons=reasons | ({} if middle else no_interval), max=max(samples),
        intervals={name: pair for name, pair in intervals.items() if pair and name in found},
    )  # fmt: skip


def quantile(samples: Sequence[float], q: float) -> float:
    """The q-quantile, interpolated between the two nearest samples (Hyndman and Fan's type 7, as NumPy does)."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    # Not low + (high - low) * part: rounding could lead outside of the two.
    return min(max(low + (high - low) * (position - below), low), high)


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the two middle ones."""
    return quantile(samples, 0.5)


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """The narrowest symmetric pair of samples that holds the true median with at least this confidence, or None.

    Each sample is below the median with probability 1/2, whatever its distribution: the number below is binomial.
    """
    count = len(samples)
    rank = _rank(count, confidence)
    if not rank:
        return None
    ordered = sorted(samples)
    return ordered[rank - 1], ordered[count - rank]


def steady_interval(samples: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """The interval of the median of samples in the order in which they were measured: wider where each is like the one
    before (a machine that warms up), for they then say less than as many independent ones.
    """
    plain = median_interval(samples, confidence)
    if plain is None or (rho := memory(samples)) < by_chance(len(samples)):
        return plain
    return quantile_interval(samples, 0.5, confidence, inflation(rho)) or (min(samples), max(samples))


def quantile_interval(
    samples: Sequence[float], q: float, confidence: float = 0.95, wider: float = 1.0
) -> tuple[float, float] | None:  # fmt: skip
    """A pair of samples that holds the true q-quantile with about this confidence, whatever their distribution; None
    where there are too few beyond it (p95 takes 72, p99 takes 368). `wider` makes it so many times as wide.
    """
    count = len(samples)
    off = NormalDist().inv_cdf(1 - (1 - confidence) / 2) * wider * math.sqrt(count * q * (1 - q))
    low, high = math.floor(count * q - off), math.ceil(count * q + off) + 1
    # The normal distribution has more in its tails than there is beyond the last sample.
    missed = math.log((1 - confidence) / 2) if wider == 1.0 else -math.inf
    if high > count and count * math.log(q) <= missed:
        high = count
    if low < 1 and count * math.log(1 - q) <= missed:
        low = 1
    if low < 1 or high > count:
        return None
    ordered = sorted(samples)
    return ordered[low - 1], ordered[high - 1]


def _rank(count: int, confidence: float) -> int:
    """The largest k with P(fewer than k of `count` fair coins show heads) at most half of what may be missed."""
    missed = (1 - confidence) / 2 * 2.0**count if count < 1000 else None
    if missed is None:
        # The normal approximation, which is exact to a rank by then and does not overflow.
        z = NormalDist().inv_cdf(1 - (1 - confidence) / 2)
        return max(math.floor(count / 2 - z * math.sqrt(count) / 2), 0)
    ways, below, rank = 1, 0, 0
    while rank < count // 2 and below + ways <= missed:
        below += ways
        rank += 1
        ways = ways * (count - rank + 1) // rank
    return rank
