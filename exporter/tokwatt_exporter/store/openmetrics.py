"""Samples as OpenMetrics with timestamps, as `promtool tsdb create-blocks-from openmetrics` takes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import NamedTuple

from tokwatt_exporter.catalogue import SERIES, Family, Kind
from tokwatt_exporter.families import PARTS, Part
from tokwatt_exporter.store.text import Block, Series

#: What a kind is called, and what a series' name has more than its family's.
_TYPES = {Kind.COUNTER: ("counter", "_total"), Kind.INFO: ("info", "_info"), Kind.HISTOGRAM: ("histogram", "")}


class OpenMetrics:
    """A block a family, each series with the labels that only who scrapes it knows: `job`, `instance` and the like."""

    # Whole seconds and three digits, which is what a float of them would round.
    line = "text || value || ' ' || epoch_ms(time) // 1000 || '.' || lpad((epoch_ms(time) % 1000)::VARCHAR, 3, '0')" \
           " || chr(10)"  # fmt: skip
    separator = ""
    tail = "# EOF\n"

    def __init__(self, external: Mapping[str, str], port: int | None = None) -> None:
        """With a port, `instance` is that and the host of a series."""
        self._external = external
        self._port = port

    def blocks(self, series: list[Series]) -> Iterable[Block]:
        """A series of a histogram is its parts, which belong together at each time."""
        for heading, members in groupby(sorted(map(_placed, series)), lambda one: one.family):
            yield Block(
                heading.text(),
                [[(one.series.series_id, self._text(one.series)) for one in group]
                 for _, group in groupby(members, lambda one: one.group)],
            )  # fmt: skip

    def _text(self, series: Series) -> str:
        labels = {**self._external, **series.labels}
        if self._port is not None and "instance" not in self._external:
            labels["instance"] = f"{series.host}:{self._port}"
        pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        return f"{series.metric}{{{pairs}}} " if pairs else f"{series.metric} "


class _Heading(NamedTuple):
    name: str
    type: str
    help: str

    def text(self) -> str:
        help = f"# HELP {self.name} {_escaped(self.help)}\n" if self.help else ""
        return f"# TYPE {self.name} {self.type}\n{help}"


class _Placed(NamedTuple):
    """A series with where it belongs."""

    family: _Heading
    group: tuple[str, tuple[tuple[str, str], ...]]
    place: tuple[int, float]
    series: Series


def _placed(series: Series) -> _Placed:
    family = SERIES.get(series.metric)
    if isinstance(family, Part):
        suffix = series.metric.removeprefix(family.whole.name)
        rest = tuple(pair for pair in sorted(series.labels.items()) if pair[0] != "le" or suffix != PARTS[0])
        place = PARTS.index(suffix), _bound(series.labels.get("le", ""))
        return _Placed(_heading(family.whole), (series.host, rest), place, series)
    heading = _Heading(series.metric, "unknown", "") if family is None else _heading(family)
    return _Placed(heading, (series.host, tuple(sorted(series.labels.items()))), (0, 0.0), series)


def _heading(family: Family) -> _Heading:
    type, suffix = _TYPES.get(family.kind, ("gauge", ""))
    return _Heading(family.name.removesuffix(suffix), type, family.help)


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
