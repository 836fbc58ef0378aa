"""Comments of server-sent events in which engines say how far the prompt is, and how fast they were."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tokwatt_exporter.engines.answers import mapping
from tokwatt_exporter.streams.answer import Prefill
from tokwatt_exporter.streams.values import count, positive

_KEEPALIVE = re.compile(rb"\s*keepalive (\d{1,9})/(\d{1,9})\s*$")
_NAMED = re.compile(rb"\s*(prefill_progress|generation_stats) (\{.*\})\s*$", re.DOTALL)
#: Of the prompt, between the first report and the last: less would be the speed of its end only.
LEAST_SHARE = 0.5


class Comments:
    """`keepalive P/T` of mlx-lm, `prefill_progress {…}` and `generation_stats {…}` of Exo."""

    def __init__(self) -> None:
        #: Prompt tokens that mlx-lm prefills: those that it had not cached.
        self.uncached: int | None = None
        self._stats: Mapping[str, Any] = {}
        self._reports: list[tuple[int, int]] = []
        self._total = 0

    def take(self, at_ns: int, data: bytes) -> None:
        """A comment; most only keep the connection open."""
        if found := _KEEPALIVE.match(data):
            self.uncached = int(found[2])
            self._report(at_ns, int(found[1]), int(found[2]))
        elif found := _NAMED.match(data):
            try:
                body = mapping(json.loads(found[2]))
            except (ValueError, RecursionError):
                return
            if found[1] == b"generation_stats":
                self._stats = body
            else:
                self._report(at_ns, count(body.get("processed_tokens")), count(body.get("total_tokens")))

    def prefill(self, uncached: int | None) -> Prefill | None:
        """The engine's speed over so many prompt tokens, else the speed between its reports; None without either."""
        speed = positive(self._stats.get("prompt_tps"))
        if speed and uncached:
            return Prefill(uncached, uncached / speed, "generation_stats.prompt_tps")
        if not self._reports:
            return None
        (began, before), (ended, after) = self._reports[0], self._reports[-1]
        enough = after - before >= LEAST_SHARE * self._total and ended > began
        return Prefill(after - before, (ended - began) / 1e9, "prefill progress") if enough else None

    def _report(self, at_ns: int, done: int | None, total: int | None) -> None:
        if done is None or not total or done > total:
            return
        # Another prompt, or one that began anew: its reports are not of one prefill.
        if self._reports and (total != self._total or done < self._reports[-1][1]):
            self._reports = []
        self._total = total
        self._reports = [*self._reports[:1], (at_ns, done)]
