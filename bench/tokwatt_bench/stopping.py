"""When there are enough warm-ups, and when there are enough runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tokwatt_bench.statistics import median, steady_interval

#: Looks at most: each is another chance to stop at an interval that is narrow by luck.
MOST_LOOKS = 6
_STEP = 1.5
#: A warm-up that is quicker than the one before by no more than this share is a warm one.
_SETTLED = 0.10


class Decision(NamedTuple):
    """Whether to stop and why; `half_width` is that of the interval, as a share of the median, where there is one."""

    stop: bool
    why: str
    half_width: float | None


class Stopping:
    """Ends a run when the interval of the median is no wider than `precision` (half of it, as a share of the median).

    Who looks after every request stops as soon as the interval is too narrow by chance, and then claims too much. So
    there are few looks, at numbers of runs that are fixed before, and what is asked of each is the interval that would
    hold at all of them together. The 95 % interval of what was measured then keeps its promise.
    """

    def __init__(self, precision: float = 0.03, least: int = 8, most: int = 100) -> None:
        self._precision, self._most = precision, most
        self.looks = looks(least, most)
        #: Of the interval at each look.
        self.confidence = 1 - 0.05 / len(self.looks)

    def look(self, values: Sequence[float]) -> Decision:
        """Whether these values, in the order in which they were measured, are enough."""
        count, half_width = len(values), relative_half_width(values, self.confidence)
        if half_width is not None and half_width <= self._precision:
            return Decision(True, f"the median of {count} is known to {half_width:.1%}", half_width)
        known = "is not known yet" if half_width is None else f"is known to {half_width:.1%} only"
        if count >= self._most:
            return Decision(True, f"the median {known} after {count}, the most that were allowed", half_width)
        return Decision(False, f"the median of {count} {known}", half_width)


def looks(least: int, most: int) -> tuple[int, ...]:
    """The numbers of runs after which to look: the first, the last, and some between, ever further apart."""
    if most <= least:
        return (most,)
    step = max(_STEP, (most / least) ** (1 / (MOST_LOOKS - 1)))
    found: list[int] = []
    at = float(least)
    while round(at) < most and len(found) < MOST_LOOKS - 1:
        found.append(round(at))
        at *= step
    return (*found, most)


def relative_half_width(values: Sequence[float], confidence: float = 0.95) -> float | None:
    """Half of the width of the interval of the median, as a share of the median; None where there is no interval."""
    interval, middle = steady_interval(values, confidence), median(values) if values else 0.0
    return (interval[1] - interval[0]) / 2 / middle if interval and middle > 0 else None


def warm(values: Sequence[float], at_a_time: int = 1) -> bool:
    """Whether warm-ups no longer get quicker: the last `at_a_time` seconds beside as many before them."""
    if len(values) < 2 * at_a_time:
        return False
    last, before = median(values[-at_a_time:]), median(values[-2 * at_a_time : -at_a_time])
    return last >= before * (1 - _SETTLED)
