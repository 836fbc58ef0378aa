"""Quantiles, and the interval of a median that assumes nothing about how the values are distributed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: Fewer samples than this say nothing about that quantile: below 20 the p95 is just the slowest one or two.
FEWEST = {"p50": 1, "p95": 20, "p99": 100}
_QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
#: Below 6 no pair of order statistics holds the median with 95 %.
FEWEST_FOR_INTERVAL = 6


@dataclass(frozen=True, slots=True)
class Summary:
    """Quantiles of some samples and the 95 % interval of their median; what is None has its reason under its name."""

    count: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    ci95: tuple[float, float] | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """`{"p50", "p95", "p99", "ci95", "count"}`."""
        interval = list(self.ci95) if self.ci95 else None
        return {"p50": self.p50, "p95": self.p95, "p99": self.p99, "ci95": interval, "count": self.count}


def summarise(samples: Sequence[float], units: Sequence[float] | None = None, why_none: str = "") -> Summary:
    """Quantiles of the samples; the interval is that of the median of `units` where the samples depend on each other.

    `units` are the independent values (one a request); `why_none` is the reason where there are no samples at all.
    """
    if not samples:
        return Summary(0, reasons={"": why_none or "nothing was measured"})
    units = samples if units is None else units
    reasons = {
        name: f"needs {fewest} samples, there are {len(samples)}"
        for name, fewest in FEWEST.items()
        if len(samples) < fewest
    }
    if len(units) < FEWEST_FOR_INTERVAL:
        reasons["ci95"] = f"needs {FEWEST_FOR_INTERVAL} requests, there are {len(units)}"
    found = {name: quantile(samples, q) for name, q in _QUANTILES.items() if name not in reasons}
    return Summary(len(samples), **found, ci95=median_interval(units), reasons=reasons)


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


def _rank(count: int, confidence: float) -> int:
    """The largest k with P(fewer than k of `count` fair coins show heads) at most half of what may be missed."""
    missed = (1 - confidence) / 2 * 2.0**count if count < 1000 else None
    if missed is None:
        # The normal approximation, which is exact to a rank by then and does not overflow.
        return max(math.floor(count / 2 - 1.96 * math.sqrt(count) / 2), 0)
    ways, below, rank = 1, 0, 0
    while rank < count // 2 and below + ways <= missed:
        below += ways
        rank += 1
        ways = ways * (count - rank + 1) // rank
    return rank
