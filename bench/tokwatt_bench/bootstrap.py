"""Intervals by the block bootstrap: the requests of a run are drawn anew, in blocks that keep together what depends on
each other, and the statistic is computed again each time.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import TypeVar

T = TypeVar("T")

#: With fewer values the draws are all alike.
FEWEST = 8
#: Nor are so few blocks a sample.
_FEWEST_BLOCKS = 5
#: Values drawn in all, and the fewest draws that have a 2.5 % quantile.
_DRAWN, _FEWEST_DRAWS, _MOST_DRAWS = 400_000, 400, 1000
#: More pairs than this are added up, some at a time, before anything is drawn.
_MOST_PARTS = 1000
#: A tail that is made of fewer groups, by their weight, is theirs and not that of all; where there are not many groups,
#: most of them must be in it.
_FEWEST_BEYOND, _SHARE_BEYOND, _MANY_GROUPS = 6, 0.8, 20
#: Less than this is a tail, whose far end is as many times further away.
_TAIL, _FURTHER = 0.25, 1.3
#: Wider is everything; numbers end there.
_WIDEST = 500.0
_NORMAL = NormalDist()


def interval(
    values: Sequence[T], statistic: Callable[[Sequence[T]], float | None], *, blocks: int | None = None, seed: int = 0,
    confidence: float = 0.95, most: int = _MOST_DRAWS,
) -> tuple[float, float] | None:  # fmt: skip
    """The interval that holds a statistic of such values with that confidence, or None where they are too few.

    `values` are in the order in which they were measured; `blocks` is how many after each other depend on each other
    (default: what their autocorrelation says, or the cube root of their number where they are no numbers). They are
    drawn `most` times, less often where they are many. The same values and seed give the same interval.
    """
    count = len(values)
    length = blocks or block_length(values)
    if count < FEWEST or count // length < _FEWEST_BLOCKS:
        return None
    found = [statistic([values[place] for place in draw]) for draw in _draws(count, length, seed, most)]
    known = [value for value in found if value is not None]
    # A statistic that some draws do not have is not known well enough for an interval.
    if len(known) < len(found):
        return None
    return _middle(known, count, length, 0.0 if blocks else memory(values), confidence)


def pooled_quantile_interval(
    groups: Sequence[Sequence[float]], q: float, confidence: float = 0.95
) -> tuple[float, float] | None:  # fmt: skip
    """The interval of the q-quantile of all the values together, where those of a group (the gaps of an answer) depend
    on each other; None where the groups are too few, or only a few of them reach beyond the quantile.

    Nothing is drawn here: how much the share beyond the quantile differs between groups says how sure it is.
    """
    pooled = sorted(value for group in groups for value in group)
    count, size, tail = len(groups), len(pooled), min(q, 1 - q)
    if count < FEWEST or size * tail < 1:
        return None
    at = _at(pooled, q)
    beyond = [
        sum([value >= at for value in group] if q >= 0.5 else [value <= at for value in group]) for group in groups
    ]
    # Kish's number of equal groups that would say as much.
    alike = sum(beyond) ** 2 / sum(number * number for number in beyond)
    if tail < _TAIL and alike < max(_FEWEST_BEYOND, _SHARE_BEYOND * count if count < _MANY_GROUPS else 0):
        return None
    off = sum((number - tail * len(group)) ** 2 for number, group in zip(beyond, groups, strict=True))
    spread = max(math.sqrt(off * count / (count - 1)) / size, math.sqrt(tail * (1 - tail) / size))
    rho = memory([_middle_of(group) for group in groups if group])
    # On the log odds, for a share of a hundredth cannot fall by two.
    t = students_t(1 - (1 - confidence) / 2, max(min(round(alike), count) - 1, 1))
    wide = min(t * inflation(rho) * spread / (tail * (1 - tail)), _WIDEST)
    odds = math.log(tail / (1 - tail))
    # Who has not seen the slowest groups knows neither how far the tail goes nor how much it differs.
    further = _FURTHER if tail < _TAIL else 1.0
    less, more = 1 / (1 + math.exp(wide * further - odds)), 1 / (1 + math.exp(-odds - wide))
    if less * size < 1:
        return None
    low, high = (1 - more, 1 - less) if q >= 0.5 else (less, more)
    return _around(pooled, low, high)


def _around(ordered: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """Values outside of both quantiles: where a tail begins there may be nothing for long."""
    last = len(ordered) - 1
    return ordered[max(math.floor(low * last) - 1, 0)], ordered[min(math.ceil(high * last) + 1, last)]


def ratio_interval(parts: Sequence[tuple[float, float]], together: int = 1) -> tuple[float, float] | None:
    """The interval of the sum of the first ÷ the sum of the second (joules and tokens, tokens and seconds) of so many
    pairs, of which `together` after each other belong together; None where they are too few.
    """
    paces = [first / second for first, second in parts if second]
    at_once = -(-len(parts) // _MOST_PARTS) or 1
    length = max(together, block_length(paces))
    sums = [
        (sum(first for first, _ in some), sum(second for _, second in some))
        for some in (parts[place : place + at_once] for place in range(0, len(parts), at_once))
    ]
    return interval(sums, _ratio, blocks=-(-length // at_once))


def _ratio(parts: Sequence[tuple[float, float]]) -> float | None:
    below = sum(second for _, second in parts)
    return sum(first for first, _ in parts) / below if below else None


def block_length(values: Sequence[object]) -> int:
    """How many values after each other depend on each other: 1 where the next says nothing of the one before."""
    count = len(values)
    if any(not isinstance(value, int | float) for value in values):
        return max(round(math.pow(count, 1 / 3)), 1)
    rho = memory(values)
    if count < FEWEST or rho < by_chance(count):
        return 1
    # Carlstein's length, which is right for a value that remembers the one before.
    length = math.pow(math.sqrt(6) * rho / (1 - rho * rho), 2 / 3) * math.pow(count, 1 / 3)
    return max(min(round(length), count // _FEWEST_BLOCKS), 1)


def by_chance(count: int) -> float:
    """The autocorrelation that a tenth of all samples of so many independent values has."""
    return 1.28 / math.sqrt(count)


def inflation(rho: float, length: int = 1) -> float:
    """By what intervals from blocks of that length are too narrow where values remember the one before; 1 or more."""
    inside = 1 + 2 * sum((1 - step / length) * rho**step for step in range(1, length))
    return math.sqrt(max((1 + rho) / (1 - rho) / inside, 1.0))


def memory(values: Sequence[object]) -> float:
    """The autocorrelation, 0 where it is less or not known, and at most 0.95."""
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return min(max(autocorrelation(numbers), 0.0), 0.95) if len(numbers) == len(values) else 0.0


def autocorrelation(values: Sequence[float]) -> float:
    """Of a value with the next, -1 to 1; 0 where there are too few or they are all the same.

    That of few values comes out too low, which is put right here.
    """
    count = len(values)
    if count < 4:
        return 0.0
    mean = sum(values) / count
    off = [value - mean for value in values]
    total = sum(one * one for one in off)
    if total <= 1e-24 * mean * mean * count:
        return 0.0
    found = sum(one * other for one, other in itertools.pairwise(off)) / total
    return max(min(found + (1 + 4 * found) / count, 0.99), -0.99)


def _draws(count: int, length: int, seed: int, most: int) -> list[list[int]]:
    """Places of the values of each draw. Blocks may begin anywhere, and go on at the front behind the last."""
    chance = random.Random(seed)
    times = min(max(_DRAWN // count, _FEWEST_DRAWS), most)
    places = range(count)
    if length == 1:
        return [chance.choices(places, k=count) for _ in range(times)]
    ring = [*places, *range(length)]
    needed = -(-count // length)
    return [
        [place for start in chance.choices(places, k=needed) for place in ring[start : start + length]][:count]
        for _ in range(times)
    ]


def _middle(found: list[float], count: int, length: int, rho: float, confidence: float) -> tuple[float, float]:
    """The middle of what was drawn. Few values vary less when drawn from themselves than when measured anew, by
    n - 1 to n; their spread is not known better than Student's distribution says; and what depends on each other over
    the ends of blocks is torn apart.
    """
    found.sort()
    blocks = max(count / length, 2.0)
    t = students_t(1 - (1 - confidence) / 2, max(round(blocks) - 1, 1))
    tail = _NORMAL.cdf(-t * math.sqrt(blocks / (blocks - 1)))
    low, middle, high = _at(found, tail), _at(found, 0.5), _at(found, 1 - tail)
    wider = inflation(rho, length)
    return middle - wider * (middle - low), middle + wider * (high - middle)


def _at(ordered: Sequence[float], q: float) -> float:
    position = q * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def _middle_of(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def students_t(probability: float, freedom: int) -> float:
    """The quantile of Student's distribution; that of the normal one from 200 degrees of freedom on."""
    if freedom >= 200:
        return _NORMAL.inv_cdf(probability)
    low, high = 0.0, 1e4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _students_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _students_cdf(t: float, freedom: int) -> float:
    """For t of 0 or more; the sums of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    term, total = (1.0, 1.0) if freedom % 2 == 0 else (math.cos(angle), math.cos(angle))
    first = 2 if freedom % 2 == 0 else 3
    for step in range(first, freedom - 1, 2):
        term *= square * (step - 1) / step
        total += term
    if freedom % 2 == 0:
        return 0.5 + sine * total / 2
    return 0.5 + (angle + (sine * total if freedom > 1 else 0.0)) / math.pi
