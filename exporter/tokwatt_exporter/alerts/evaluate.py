"""What an expression says at a time, over series in memory, as Prometheus would say it."""

from __future__ import annotations

import itertools
import math
import operator
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from tokwatt_exporter.alerts.promql import COMPARISONS, SETS, Aggregate, Binary, Call, Node, Number, Selector, Text
from tokwatt_exporter.errors import TokwattError

#: How old a sample may be to be the present value, as in Prometheus.
LOOK_BACK_MS = 300_000

Labels = tuple[tuple[str, str], ...]


class NotEvaluated(TokwattError):
    """The expression says nothing now, since its sides cannot be matched; the text says why."""


class Series(NamedTuple):
    """Labels, and samples by time in Unix milliseconds, oldest first."""

    labels: Mapping[str, str]
    times: Sequence[int]
    values: Sequence[float]

    def at(self, time_ms: int) -> float | None:
        """The newest value that is not too old."""
        index = bisect_right(self.times, time_ms) - 1
        return self.values[index] if index >= 0 and self.times[index] > time_ms - LOOK_BACK_MS else None

    def within(self, after_ms: int, until_ms: int) -> tuple[Sequence[int], Sequence[float]]:
        """The samples after one time and up to another."""
        first, last = bisect_right(self.times, after_ms), bisect_right(self.times, until_ms)
        return self.times[first:last], self.values[first:last]


class Source(Protocol):
    """Where series are from."""

    def series(self, selector: Selector) -> Iterable[Series]:
        """Those of the metric, with samples for all times that are asked for; matchers are not looked at."""
        ...


Vector = dict[Labels, float]
Value = float | Vector


def evaluate(tree: Node, time_ms: int, source: Source) -> Vector:
    """The value of each series that the expression gives; `NotEvaluated` where it cannot be told."""
    found = _value(tree, time_ms, source)
    return found if isinstance(found, dict) else {(): found}


def _value(tree: Node, time_ms: int, source: Source) -> Value:
    if isinstance(tree, Number):
        return tree.value
    if isinstance(tree, Selector):
        return _now(tree, time_ms, source)
    if isinstance(tree, Call):
        return _call(tree, time_ms, source)
    if isinstance(tree, Aggregate):
        return _aggregate(tree, _vector(tree.inner, time_ms, source))
    if isinstance(tree, Binary):
        return _binary(tree, _value(tree.left, time_ms, source), _value(tree.right, time_ms, source))
    raise NotEvaluated("a string is no value")


def _vector(tree: Node, time_ms: int, source: Source) -> Vector:
    found = _value(tree, time_ms, source)
    if not isinstance(found, dict):
        raise NotEvaluated("a number stands where series should")
    return found


def _matching(selector: Selector, source: Source) -> Iterable[Series]:
    for series in source.series(selector):
        if all(matcher.fits(series.labels.get(matcher.label, "")) for matcher in selector.matchers):
            yield series


def _now(selector: Selector, time_ms: int, source: Source) -> Vector:
    if selector.window is not None:
        raise NotEvaluated("a window stands where values should")
    at = time_ms - round(selector.offset * 1000)
    found = ((_labels(series.labels), series.at(at)) for series in _matching(selector, source))
    return {labels: value for labels, value in found if value is not None}


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def _call(call: Call, time_ms: int, source: Source) -> Value:
    if call.name == "time":
        return time_ms / 1000
    if call.name == "vector":
        [inner] = call.arguments
        value = _value(inner, time_ms, source)
        return {(): value} if isinstance(value, float) else value
    if call.name == "label_replace":
        return _label_replace(call, time_ms, source)
    [selector] = call.arguments
    assert isinstance(selector, Selector) and selector.window is not None
    until = time_ms - round(selector.offset * 1000)
    after = until - round(selector.window * 1000)
    found = {}
    for series in _matching(selector, source):
        times, values = series.within(after, until)
        told = _over(call.name, times, values, after, until) if times else None
        if told is not None:
            found[_labels(series.labels)] = told
    return found


def _over(name: str, times: Sequence[int], values: Sequence[float], after: int, until: int) -> float | None:
    if name in ("rate", "increase"):
        grown = _growth(times, values, after, until)
        return grown / ((until - after) / 1000) if grown is not None and name == "rate" else grown
    if name == "avg_over_time":
        return math.fsum(values) / len(values)
    if name == "count_over_time":
        return float(len(values))
    return values[-1] if name == "last_over_time" else max(values) if name == "max_over_time" else min(values)


def _growth(times: Sequence[int], values: Sequence[float], after: int, until: int) -> float | None:
    """What a counter grew in the window, stretched to its ends as Prometheus does it; None of a single sample."""
    if len(times) < 2 or times[0] == times[-1]:
        return None
    grown = values[-1] - values[0]
    for before, value in itertools.pairwise(values):
        if value < before:
            grown += before
    sampled = (times[-1] - times[0]) / 1000
    apart = sampled / (len(times) - 1)
    to_start, to_end = (times[0] - after) / 1000, (until - times[-1]) / 1000
    # Where a series begins or ends within the window, it is taken to have gone on for half an interval.
    to_start, to_end = (apart / 2 if gap >= apart * 1.1 else gap for gap in (to_start, to_end))
    if grown > 0 and values[0] >= 0:
        to_start = min(to_start, sampled * values[0] / grown)
    return grown * (sampled + to_start + to_end) / sampled


def _label_replace(call: Call, time_ms: int, source: Source) -> Vector:
    inner, *texts = call.arguments
    if len(texts) != 4 or not all(isinstance(text, Text) for text in texts):
        raise NotEvaluated("label_replace() takes a vector and four strings")
    target, replacement, origin, pattern = (text.value for text in texts if isinstance(text, Text))
    found: Vector = {}
    for labels, value in _vector(inner, time_ms, source).items():
        names = dict(labels)
        if match := re.fullmatch(pattern, names.get(origin, ""), re.DOTALL):
            names[target] = match.expand(re.sub(r"\$\{?(\d)\}?", r"\\g<\1>", replacement.replace("\\", r"\\")))
        if (made := _labels(names)) in found:
            raise NotEvaluated("label_replace() makes several series one")
        found[made] = value
    return found


_AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum, "min": min, "max": max, "count": lambda values: float(len(values)),
    "avg": lambda values: math.fsum(values) / len(values),
}  # fmt: skip


def _aggregate(tree: Aggregate, inner: Vector) -> Vector:
    groups: dict[Labels, list[float]] = {}
    for labels, value in inner.items():
        groups.setdefault(_kept(labels, tree.labels, tree.by), []).append(value)
    return {labels: _AGGREGATIONS[tree.name](values) for labels, values in groups.items()}


def _kept(labels: Labels, names: Sequence[str], keep: bool) -> Labels:
    return tuple(pair for pair in labels if (pair[0] in names) == keep)


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": lambda a, b: a / b if b else _by_zero(a),
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def _by_zero(value: float) -> float:
    return math.copysign(math.inf, value) if value else math.nan


def _binary(tree: Binary, left: Value, right: Value) -> Value:
    sign = tree.sign
    if sign in SETS:
        if not isinstance(left, dict) or not isinstance(right, dict):
            raise NotEvaluated(f"{sign} is between series")
        return _set(tree, left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return _matched(tree, left, right)
    if isinstance(left, dict):
        assert isinstance(right, float)
        return _each(sign, left, lambda value: (value, right))
    if isinstance(right, dict):
        return _each(sign, right, lambda value: (left, value))
    if sign in COMPARISONS:
        raise NotEvaluated("two numbers are compared")
    return _ARITHMETIC[sign](left, right)


def _each(sign: str, vector: Vector, sides: Callable[[float], tuple[float, float]]) -> Vector:
    found = {labels: (value, _ARITHMETIC[sign](*sides(value))) for labels, value in vector.items()}
    if sign in COMPARISONS:
        return {labels: value for labels, (value, holds) in found.items() if holds}
    return {labels: result for labels, (_, result) in found.items()}


def _set(tree: Binary, left: Vector, right: Vector) -> Vector:
    ours = {labels: _kept(labels, tree.labels, tree.on) for labels in left}
    theirs = {labels: _kept(labels, tree.labels, tree.on) for labels in right}
    if tree.sign == "or":
        keys = set(ours.values())
        return left | {labels: value for labels, value in right.items() if theirs[labels] not in keys}
    keys = set(theirs.values())
    return {labels: value for labels, value in left.items() if (ours[labels] in keys) == (tree.sign == "and")}


def _matched(tree: Binary, left: Vector, right: Vector) -> Vector:
    sides: list[dict[Labels, float]] = []
    for vector in (left, right):
        by_key: dict[Labels, float] = {}
        for labels, value in vector.items():
            key = _kept(labels, tree.labels, tree.on)
            if key in by_key:
                raise NotEvaluated(f"several series are one beside {tree.sign}")
            by_key[key] = value
        sides.append(by_key)
    pairs = {key: (value, sides[1][key]) for key, value in sides[0].items() if key in sides[1]}
    found = {key: _ARITHMETIC[tree.sign](*pair) for key, pair in pairs.items()}
    if tree.sign in COMPARISONS:
        return {key: pairs[key][0] for key, holds in found.items() if holds}
    return found
