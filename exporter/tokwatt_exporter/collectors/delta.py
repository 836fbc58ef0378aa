"""From raw counters that wrap and reset to counters that only grow, and to means over the last interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tokwatt_exporter.clock import Clock


class Step(NamedTuple):
    """What a source did since the last read; `rate` is None where there is no interval to take a mean over."""

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

    def __contains__(self, key: object) -> bool:
        return key in self._series

    def add(self, key: object, raw: float, wrap: float | None = None) -> Step:
        """Take the raw value of `key` now; total and mean rate are in its unit and per awake second."""
        now = self._clock.awake()
        series = self._interval(key, raw, now)
        if series is None:
            return Step(self._series[key].total, None)
        return _grow(series, _growth(series.raw, raw, wrap), raw, now)

    def integrate(self, key: object, rate: float) -> Step:
        """Grow the total of `key` by `rate` (per second, now) over the time since the last read, by trapezoid."""
        now = self._clock.awake()
        series = self._interval(key, rate, now)
        if series is None:
            return Step(self._series[key].total, rate)
        return _grow(series, max((series.raw + rate) / 2 * (now - series.awake), 0.0), rate, now)

    def rebase(self, *keys: object) -> None:
        """Keep the totals, forget the raw values: the next read of these keys (of all) starts a new interval."""
        for key in keys or self._series:
            if key in self._series:
                self._series[key].based = False

    def _interval(self, key: object, raw: float, now: float) -> _Series | None:
        """The series with the start of its interval in it, or None when one starts only now."""
        series = self._series.get(key)
        if series is not None and series.based:
            return series
        self._series[key] = _Series(raw, now, series.total if series else 0.0)
        return None


class Monotone:
    """Totals that their source keeps, made safe: they start at its value and a fall of the source adds nothing."""

    def __init__(self) -> None:
        self._last: dict[object, float] = {}
        self._total: dict[object, float] = {}

    def add(self, key: object, raw: float) -> float:
        """Take the source's value of `key` now and give the total that never falls, in its unit."""
        last = self._last.get(key)
        self._last[key] = raw
        self._total[key] = raw if last is None else self._total[key] + max(raw - last, 0.0)
        return self._total[key]

    def total(self, key: object) -> float:
        """What `add` last gave for `key`: a source that is away for a while has not lost what it counted."""
        return self._total[key]


def _growth(before: float, now: float, wrap: float | None) -> float:
    if now >= before:
        return now - before
    if wrap is not None and before <= wrap:
        return now - before + wrap
    return max(now, 0.0)


def _grow(series: _Series, grown: float, raw: float, now: float) -> Step:
    seconds = now - series.awake
    series.total += grown
    series.raw, series.awake = raw, now
    return Step(series.total, grown / seconds if seconds > 0 else None)
