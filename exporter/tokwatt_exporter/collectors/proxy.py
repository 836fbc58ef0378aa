"""What the proxies that run have counted, from the files in which they say it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.engines.answers import clean, mapping, number, rows
from tokwatt_exporter.engines.distributions import MAX_BOUNDS
from tokwatt_exporter.families import Counter, Distribution
from tokwatt_exporter.proxy.counts import REASONS, STATUSES
from tokwatt_exporter.proxy.state import living
from tokwatt_exporter.snapshot import Reading

log = logging.getLogger(__name__)

_TOKENS = {
    "prompt": c.PROXY_PROMPT_TOKENS,
    "cached": c.PROXY_CACHED_PROMPT_TOKENS,
    "generation": c.PROXY_GENERATION_TOKENS,
}
_SPREADS = {"ttft": c.PROXY_TIME_TO_FIRST_TOKEN, "itl": c.PROXY_INTER_TOKEN_LATENCY}


class Proxy(Collector):
    """`data_dir` is where the proxies write."""

    name = "proxy"

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._logged: frozenset[tuple[str, str]] = frozenset()

    def read(self) -> Iterator[Reading]:
        """Sums since each proxy started; those of one that ended are gone. One that has just started is seen at once,
        so that its absence is a row and not `NotAvailable`, after which nobody would look for a minute.
        """
        states, problems = living(self._data_dir)
        for state in states:
            yield from _readings(state)
        found = frozenset(problems)
        for name, why in found - self._logged:
            log.warning("proxy/%s %s", name, why)
        self._logged = found
        if problems:
            reason = f"a file in proxy/ {min(problems).why}"
            yield c.COLLECTOR_PROBLEM(collector=self.name, problem="failed", reason=reason)
        elif not states:
            yield c.COLLECTOR_PROBLEM(collector=self.name, problem="not_available", reason="no tokwatt proxy runs")


def _readings(state: Mapping[str, Any]) -> Iterator[Reading]:
    engine = clean(state["engine"])
    if engine is None:
        return
    if (connections := number(state.get("connections"))) is not None:
        yield c.PROXY_CONNECTIONS(connections, engine=engine)
    unobserved = mapping(state.get("unobserved"))
    for reason in REASONS:
        if (count := number(unobserved.get(reason))) is not None:
            yield c.PROXY_UNOBSERVED(count, engine=engine, reason=reason)
    for row in rows(state.get("models"))[: c.MODELS_PER_ENGINE + 1]:
        yield from _model(row, engine, clean(row.get("model")))


def _model(row: Mapping[str, Any], engine: str, model: str | None) -> Iterator[Reading]:
    requests, tokens, durations = (mapping(row.get(key)) for key in ("requests", "tokens", "durations"))
    for status in STATUSES:
        if (count := number(requests.get(status))) is not None:
            yield _counted(c.PROXY_REQUESTS, count, engine, model, ("status", status))
        if found := _distribution(durations.get(status)):
            yield from c.PROXY_REQUEST_DURATION(found, engine=engine, model=model, status=status)
    for kind, family in _TOKENS.items():
        if (count := number(tokens.get(kind))) is not None:
            yield _counted(family, count, engine, model)
    for key, histogram in _SPREADS.items():
        if found := _distribution(row.get(key)):
            yield from histogram(found, engine=engine, model=model)


def _counted(family: Counter, value: float, engine: str, model: str | None, *more: tuple[str, str]) -> Reading:
    # Of a request that failed before anybody named a model there is no such label.
    named = (("engine", engine), ("model", model)) if model else (("engine", engine),)
    return Reading(family, (*named, *more), value)


def _distribution(value: object) -> Distribution | None:
    """A histogram as the proxy keeps it; None where a part of it cannot be right."""
    spread = mapping(value)
    bounds, counts, total = spread.get("bounds"), spread.get("counts"), number(spread.get("sum"))
    if not isinstance(bounds, list) or not isinstance(counts, list) or total is None:
        return None
    edges, held = [number(bound) for bound in bounds], [number(count) for count in counts]
    known = [edge for edge in edges if edge is not None]
    if len(held) != len(edges) + 1 or not 0 < len(edges) <= MAX_BOUNDS or None in edges or None in held:
        return None
    if known != sorted(set(known)):
        return None
    sums = accumulate(count for count in held if count is not None)
    return Distribution(tuple(zip((*known, math.inf), sums, strict=True)), total)
