"""How a made-up machine is used: courses that any time can be looked up in, and what has been done by then."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from itertools import accumulate, pairwise
from typing import NamedTuple

#: Counters of a demo began then, Unix time.
BEGAN = 1_790_000_000
STEP = 20.0


class Course(NamedTuple):
    """A value from 0 to 1 that goes from point to point every `STEP` seconds, and begins again after the last."""

    points: tuple[float, ...]
    #: The integral up to each point.
    sums: tuple[float, ...]

    def at(self, time: float) -> float:
        """The value then."""
        index, share = self._place(time)
        return self.points[index] + (self.points[index + 1] - self.points[index]) * share

    def done(self, time: float) -> float:
        """The integral from `BEGAN` to then, in seconds: what a counter of it says."""
        rounds = (time - BEGAN) // self._seconds
        index, share = self._place(time)
        part = (self.points[index] + self.at(time)) / 2 * share * STEP
        return rounds * self.sums[-1] + self.sums[index] + part

    @property
    def _seconds(self) -> float:
        return STEP * (len(self.points) - 1)

    def _place(self, time: float) -> tuple[int, float]:
        within = (time - BEGAN) % self._seconds / STEP
        index = min(int(within), len(self.points) - 2)
        return index, within - index


@cache
def course(seed: str, phases: tuple[tuple[float, float], ...], unrest: float = 0.25) -> Course:
    """Phases of (minutes, level), one after the other and over again, with some unrest that depends on the seed."""
    chance = random.Random(seed)
    levels = [level for minutes, level in phases for _ in range(int(minutes * 60 / STEP))]
    points = [min(max(level * (1 + chance.uniform(-unrest, unrest)), 0.0), 1.0) for level in _eased(levels)]
    return _course([*points, points[0]])


def _eased(levels: Sequence[float]) -> list[float]:
    # Nothing changes at once: two steps from one level to the next.
    return [(levels[i - 1] + level + levels[(i + 1) % len(levels)]) / 3 for i, level in enumerate(levels)]


def _course(points: Sequence[float]) -> Course:
    areas = [(a + b) / 2 * STEP for a, b in pairwise(points)]
    return Course(tuple(points), tuple(accumulate(areas, initial=0.0)))


class Range(NamedTuple):
    """What follows a course between two values: watts, hertz, degrees."""

    low: float
    high: float

    def at(self, follows: Course, time: float) -> float:
        """The value then."""
        return self.low + (self.high - self.low) * follows.at(time)

    def done(self, follows: Course, time: float) -> float:
        """Its integral, as a counter says it."""
        return self.low * (time - BEGAN) + (self.high - self.low) * follows.done(time)
