"""From raw counters that wrap and reset to counters that only grow, and to means over the last interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tokwatt_exporter.clock import Clock


class Step(NamedTuple):
    """What a raw counter did since the last read; `rate` is None on the first read and after a rebase."""

    total: float
    rate: float | None


@dataclass(slots=True)
class _Series:
    raw: float
    awake: float
    total: float = 0.0
    based: bool = True


class Accumulator:
    """Grows one total per key, from 0 at the first read; survives wraps, resets and sleep.

    `wrap` is the raw value at which the source starts again from 0. A value that falls without a known wrap is a
    reset: the source counts from 0 again, so the new value itself is what was added.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._series: dict[object, _Series] = {}

    def add(self, key: object, raw: float, wrap: float | None = None) -> Step:
        """Take the raw value of `key` now; total and rate are in its unit and per awake second."""
        now = self._clock.awake()
        series = self._series.get(key)
        if series is None:
            self._series[key] = _Series(raw, now)
            return Step(0.0, None)
        if not series.based:
            series.raw, series.awake, series.based = raw, now, True
            return Step(series.total, None)
        grown = raw - series.raw
        if grown < 0:
            grown = grown + wrap if wrap is not None else raw
        seconds = now - series.awake
        series.total += grown
        series.raw, series.awake = raw, now
        return Step(series.total, grown / seconds if seconds > 0 else None)

    def integrate(self, key: object, rate: float) -> Step:
        """Grow the total of `key` by `rate` (per second, now) over the time since the last read, by trapezoid."""
        now = self._clock.awake()
        series = self._series.get(key)
        if series is None or not series.based:
            total = series.total if series else 0.0
            self._series[key] = _Series(rate, now, total)
            return Step(total, rate)
        series.total += (series.raw + rate) / 2 * (now - series.awake)
        series.raw, series.awake = rate, now
        return Step(series.total, rate)

    def rebase(self) -> None:
        """Keep the totals, forget the raw values: the next read starts a new interval."""
        for series in self._series.values():
            series.based = False
