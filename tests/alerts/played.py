"""The series of promtool's rule tests, as its notation has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tokwatt_exporter import parse
from tokwatt_exporter.alerts.evaluate import Series
from tokwatt_exporter.alerts.promql import Selector, read

_NUMBER = r"[+-]?\d+(?:\.\d+)?(?:e\d+)?"


class Played:
    """A source of the series of one test."""

    def __init__(self, test: Mapping[str, Any]) -> None:
        step = round(parse.duration(test["interval"]) * 1000)
        self._series: dict[str, list[Series]] = {}
        for row in test["input_series"]:
            selector = read(row["series"])
            assert isinstance(selector, Selector)
            points = [(n * step, value) for n, value in enumerate(values(str(row["values"]))) if value is not None]
            labels = {matcher.label: matcher.value for matcher in selector.matchers}
            made = Series(labels, [time for time, _ in points], [value for _, value in points])
            self._series.setdefault(selector.metric, []).append(made)

    def series(self, selector: Selector) -> Iterable[Series]:
        """Those of the metric."""
        return self._series.get(selector.metric, ())


def values(text: str) -> Iterator[float | None]:
    """`0+300x40` is 41 values that grow by 300, `0x4` five of the same, `_x3` none three times."""
    for word in text.split():
        gap = re.fullmatch(r"_(?:x(\d+))?", word)
        if gap:
            yield from [None] * int(gap[1] or 1)
            continue
        match = re.fullmatch(rf"({_NUMBER})(?:([+-]\d+(?:\.\d+)?(?:e\d+)?))?(?:x(\d+))?", word)
        assert match, word
        first, more, count = float(match[1]), float(match[2] or 0), int(match[3] or 0)
        yield from (first + number * more for number in range(count + 1))
