"""Two sets of measurements held against each other: their ratio, its interval, and what may be said of it.

Everything is of logarithms, so that twice as slow and twice as fast are equally far from no difference. The mean is
that of the middle three fifths, its interval that of Yuen: a few requests that had a hiccup decide nothing, and ten
pairs find what rank tests, which cannot leave an outlier out of so few, do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tokwatt_bench.bootstrap import autocorrelation, by_chance, inflation, students_t
from tokwatt_bench.statistics import median

#: What is called equivalent where nobody says otherwise.
MARGIN = 0.02
EQUIVALENT, NO_DIFFERENCE = "equivalent", "no difference shown"
#: What a ratio below and above 1 is called.
SLOWER, FASTER, PLAIN = ("faster", "slower"), ("slower", "faster"), ("lower", "higher")
#: Pairs, or values of each: with fewer there is nothing to leave out at the ends.
FEWEST = 6
#: Of the values at each end, which are left out of the mean.
_TRIMMED = 0.2
#: An order of the values that chance gives one time in five may be a drift. It is not to be overlooked: a machine that
#: warms by 6 % makes whatever is measured second look slower.
_DRIFT_Z = 1.28


class Comparison(NamedTuple):
    """The second beside the first: `ratio` is second ÷ first, `ci95` holds it, `reason` is why there is no interval."""

    verdict: str | None
    ratio: float | None
    ci95: tuple[float, float] | None
    reason: str = ""
    #: By what share the values changed within a run, where they did so steadily.
    drift: float | None = None


class _Mean(NamedTuple):
    value: float
    variance: float
    freedom: int


class _Estimate(NamedTuple):
    """In logarithms."""

    middle: float
    low: float
    high: float
    drift: float = 0.0


def compare(
    a: Sequence[float], b: Sequence[float], *, paired: bool = False, margin: float = MARGIN,
    words: tuple[str, str] = PLAIN, confidence: float = 0.95, off: float = 0.0,
) -> Comparison:  # fmt: skip
    """Hold `b` against `a`, values above 0 in the order in which they were measured.

    `paired` says that those at the same place were measured in turns, so that what drifts hits both alike. Where they
    were not, a drift within either is added to the interval, for as much may have happened between them. `off` is by
    what share the clients of the two may differ.
    """
    if paired and len(a) != len(b):
        raise ValueError("pairs have two sides")
    if any(value <= 0 for value in (*a, *b)):
        return Comparison(None, None, None, "a value of 0 has no ratio")
    if not a or not b:
        return Comparison(None, None, None, "nothing was measured" if not (a or b) else "only one has it")
    first, second = [math.log(value) for value in a], [math.log(value) for value in b]
    if min(len(a), len(b)) < FEWEST:
        return _too_few(first, second, paired)
    found = _pairs(first, second, confidence) if paired else _apart(first, second, confidence)
    return _judged(found._replace(low=found.low - off, high=found.high + off), margin, words)


def compare_runs(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], *, margin: float = MARGIN,
    words: tuple[str, str] = PLAIN, confidence: float = 0.95,
) -> Comparison:  # fmt: skip
    """Hold runs against runs: how much the medians of runs differ from each other says what a difference is worth.

    It takes four runs in all; one on one side is enough where the other has three.
    """
    runs = [[math.log(median(run)) for run in side if run and min(run) > 0] for side in (a, b)]
    first, second = runs
    freedom = len(first) + len(second) - 2
    if not first or not second or freedom < 2:
        return Comparison(None, None, None, f"needs 4 runs, there are {len(first)} and {len(second)}")
    means = [sum(side) / len(side) for side in runs]
    off = sum((value - mean) ** 2 for side, mean in zip(runs, means, strict=True) for value in side)
    wide = _quantile(confidence, freedom) * math.sqrt(off / freedom * (1 / len(first) + 1 / len(second)))
    return _judged(_around(means[1] - means[0], wide), margin, words)


def compare_intervals(
    a: tuple[float, tuple[float, float]], b: tuple[float, tuple[float, float]], *, margin: float = MARGIN,
    words: tuple[str, str] = PLAIN, confidence: float = 0.95,
) -> Comparison:  # fmt: skip
    """Hold two medians with their 95 % intervals against each other, where nothing more is known of them."""
    if min(a[0], b[0], *a[1], *b[1]) <= 0:
        return Comparison(None, None, None, "a value of 0 has no ratio")
    wider = _quantile(confidence, 1000) / _quantile(0.95, 1000)
    (low_a, high_a), (low_b, high_b) = (
        ((math.log(middle / low) * wider), (math.log(high / middle) * wider)) for middle, (low, high) in (a, b)
    )
    middle = math.log(b[0] / a[0])
    # Each end of the difference is as far as the ends it is made of together (Zou and Donner).
    return _judged(
        _Estimate(middle, middle - math.hypot(low_b, high_a), middle + math.hypot(high_b, low_a)), margin, words
    )


def _too_few(first: Sequence[float], second: Sequence[float], paired: bool) -> Comparison:
    if paired:
        middle = median([y - x for x, y in zip(first, second, strict=True)])
        return Comparison(None, _exp(middle), None, f"needs {FEWEST} pairs, there are {len(first)}")
    needed = f"needs {FEWEST} requests of each, there are {len(first)} and {len(second)}"
    return Comparison(None, _exp(median(second) - median(first)), None, needed)


def _judged(found: _Estimate, margin: float, words: tuple[str, str]) -> Comparison:
    """What may be said: equivalent where all of it is within the margin, else different where it excludes 1."""
    low, high, limit = found.low, found.high, math.log1p(margin)
    verdict = NO_DIFFERENCE
    if -limit < low and high < limit:
        verdict = EQUIVALENT
    elif low > 0 or high < 0:
        verdict = words[low > 0]
    drift = _exp(found.drift) - 1 if found.drift else None
    return Comparison(verdict, _exp(found.middle), (_exp(low), _exp(high)), drift=drift)


def _pairs(first: Sequence[float], second: Sequence[float], confidence: float) -> _Estimate:
    off = [y - x for x, y in zip(first, second, strict=True)]
    mean = _trimmed(off)
    wide = _quantile(confidence, mean.freedom) * math.sqrt(mean.variance)
    return _around(mean.value, wide * _wider(autocorrelation(off), len(off)))


def _apart(first: Sequence[float], second: Sequence[float], confidence: float) -> _Estimate:
    a, b, count = _trimmed(first), _trimmed(second), len(first) + len(second)
    variance = a.variance + b.variance
    # Welch's: two that scatter differently are not one sample.
    shares = [mean.variance / variance if variance else 0.5 for mean in (a, b)]
    freedom = int(1 / (shares[0] ** 2 / a.freedom + shares[1] ** 2 / b.freedom))
    wide = _quantile(confidence, freedom) * math.sqrt(variance)
    rho = (len(first) * autocorrelation(first) + len(second) * autocorrelation(second)) / count
    drift = max(_drift(first), _drift(second))
    return _around(b.value - a.value, wide * _wider(rho, count) + drift)._replace(drift=drift)


def _around(middle: float, wide: float) -> _Estimate:
    return _Estimate(middle, middle - wide, middle + wide)


def _trimmed(logs: Sequence[float]) -> _Mean:
    """Mean of those in the middle, with its variance by those at the ends of the middle."""
    ordered, count = sorted(logs), len(logs)
    out = int(_TRIMMED * count)
    kept = ordered[out : count - out]
    drawn_in = [kept[0]] * out + kept + [kept[-1]] * out
    mean = sum(drawn_in) / count
    variance = sum((value - mean) ** 2 for value in drawn_in) / (len(kept) * (len(kept) - 1))
    return _Mean(sum(kept) / len(kept), variance, len(kept) - 1)


def _wider(rho: float, count: int) -> float:
    """What remembers the one before says less than as many independent values."""
    return inflation(min(rho, 0.95)) if rho >= by_chance(count) else 1.0


def _drift(logs: Sequence[float]) -> float:
    """From the first third to the last, where the order of the values is none of chance; 0 else."""
    count = len(logs)
    places = sorted(range(count), key=logs.__getitem__)
    off = sum((place - rank) ** 2 for rank, place in enumerate(places))
    spearman = 1 - 6 * off / (count * (count * count - 1))
    if abs(spearman) * math.sqrt(count - 1) < _DRIFT_Z:
        return 0.0
    # Of fewer than three, a hiccup is the middle.
    third = max(count // 3, 3)
    return abs(median(logs[-third:]) - median(logs[:third]))


def _exp(value: float) -> float:
    """A ratio, also of an interval that is wider than numbers are."""
    return math.exp(min(max(value, -700.0), 700.0))


def _quantile(confidence: float, freedom: int) -> float:
    return students_t(1 - (1 - confidence) / 2, freedom)
