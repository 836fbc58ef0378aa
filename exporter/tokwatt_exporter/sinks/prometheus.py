"""A snapshot as `/metrics` shows it: text 0.0.4 and OpenMetrics 1.0, each rendered at most once per snapshot."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

from prometheus_client import exposition
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics

from tokwatt_exporter.catalogue import CATALOGUE, Family, Histogram, Kind
from tokwatt_exporter.snapshot import Reading, Snapshot

#: Higher levels make hardly smaller bodies of metrics and take ten times as long.
GZIP_LEVEL = 1

#: How a unit (UCUM) is written at the end of a name; others are in no name.
UNIT_WORDS = {
    "s": "seconds", "By": "bytes", "J": "joules", "W": "watts", "Hz": "hertz", "Cel": "celsius", "1": "ratio",
    "rpm": "rpm",
}  # fmt: skip

_SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info"}
_TYPES = {Kind.COUNTER: "counter", Kind.HISTOGRAM: "histogram", Kind.INFO: "info"}
_RANGES = ("application/openmetrics-text", "text/plain", "text/*", "*/*")


class Format(Enum):
    """What a body is written in; the value is its content type."""

    TEXT = exposition.CONTENT_TYPE_PLAIN_0_0_4
    OPENMETRICS = openmetrics.CONTENT_TYPE_LATEST


class Choice(NamedTuple):
    """What a client gets."""

    format: Format
    gzip: bool


class Renderer:
    """Bodies of the newest snapshot. Thread-safe; a second call for the same body costs a look-up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._bodies: dict[Choice, bytes] = {}

    def render(self, snapshot: Snapshot, choice: Choice) -> bytes:
        """The body in the chosen format, gzipped where chosen."""
        with self._lock:
            if snapshot is not self._snapshot:
                self._snapshot, self._bodies = snapshot, {}
            return self._body(snapshot, choice)

    def _body(self, snapshot: Snapshot, choice: Choice) -> bytes:
        if choice not in self._bodies:
            if choice.gzip:
                plain = self._body(snapshot, Choice(choice.format, False))
                self._bodies[choice] = gzip.compress(plain, GZIP_LEVEL, mtime=0)
            else:
                self._bodies[choice] = _WRITERS[choice.format](_Collected(snapshot))
        return self._bodies[choice]


class _Collected:
    """What prometheus_client's writers ask a registry for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        values = self._snapshot.values
        for family in CATALOGUE.values():
            if isinstance(family, Histogram):
                if readings := [*family.ordered(values)]:
                    yield _metric(family, readings)
            elif rows := values.get(family):
                yield _metric(family, (Reading(family, labels, value) for labels, value in sorted(rows.items())))


def _metric(family: Family, readings: Iterable[Reading]) -> Metric:
    suffix = _SUFFIXES.get(family.kind, "")
    base = family.name.removesuffix(suffix)
    metric = Metric(base, family.help, _TYPES.get(family.kind, "gauge"), _unit(family, base))
    for series, labels, value in readings:
        metric.add_sample(series.name, {name: _encodable(text) for name, text in labels}, value)
    return metric


def _unit(family: Family, base: str) -> str:
    # OpenMetrics allows a UNIT only where it ends the name; the client library would append it.
    word = UNIT_WORDS.get(family.unit, "")
    return word if word and base.endswith(f"_{word}") else ""


def _encodable(text: str) -> str:
    # A name out of a file may hold bytes that are no UTF-8; one of them must not cost the whole scrape.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


_WRITERS: dict[Format, Callable[[Any], bytes]] = {
    Format.TEXT: exposition.generate_latest,
    # Our names need no escaping; looking at each of their letters would take as long as all the rest.
    Format.OPENMETRICS: partial(openmetrics.generate_latest, escaping=openmetrics.ALLOWUTF8),
}


def negotiate(accept: str, accept_encoding: str) -> Choice:
    """What the two headers ask for; text 0.0.4 for whatever cannot be read or is not known. Never raises."""
    best, best_rank = Format.TEXT, (0.0, 0)
    for media_range, parameters, quality in _items(accept):
        format = _format(media_range, parameters.get("version"))
        # A range that says what it wants goes before one with a star; then the first one wins.
        rank = quality, -media_range.count("*")
        if format and quality > 0 and (best_rank == (0.0, 0) or rank > best_rank):
            best, best_rank = format, rank
    return Choice(best, _wants_gzip(accept_encoding))


def _format(media_range: str, version: str | None) -> Format | None:
    if media_range == _RANGES[0]:
        return Format.OPENMETRICS if version in (None, "1.0.0") else None
    return Format.TEXT if media_range in _RANGES else None


def _wants_gzip(accept_encoding: str) -> bool:
    wanted = {coding: quality for coding, _, quality in _items(accept_encoding)}
    return wanted.get("gzip", wanted.get("*", 0.0)) > 0


def _items(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for item in header.split(","):
        value, *pieces = (piece.strip() for piece in item.split(";"))
        pairs = (piece.partition("=") for piece in pieces)
        parameters = {name.strip().lower(): text.strip().strip('"') for name, _, text in pairs}
        yield value.lower(), parameters, _quality(parameters.get("q", "1"))


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
