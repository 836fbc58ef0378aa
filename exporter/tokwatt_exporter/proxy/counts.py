"""What a proxy has counted so far, by model; the daemon reads it as JSON."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tokwatt_exporter.catalogue import MODELS_PER_ENGINE

#: How a request ended; `docs/proxy.md` says what each is.
STATUSES = ("2xx", "3xx", "4xx", "5xx", "error", "cut", "disconnected", "unreachable")
#: Why something that passed is not in the figures, or not in all of them; `docs/proxy.md` has them too.
REASONS = ("path", "not_http", "upgrade", "encoded", "too_large", "backlog", "no_count", "model_limit")

TTFT_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ITL_BOUNDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0,
    2.5,
)  # fmt: skip
DURATION_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Seen(NamedTuple):
    """One request as it turned out; what is not known is None. `latency` is of its tokens, by `ITL_BOUNDS`."""

    model: str | None
    status: str
    first_token_seconds: float | None = None
    duration_seconds: float | None = None
    latency: Spread | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    generated_tokens: int | None = None


class Spread:
    """How many values were up to each bound, and their sum; the last count is of those above."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value, several times where it stands for several."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def merge(self, other: Spread) -> None:
        """Count all that another with the same bounds has counted."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def as_json(self) -> dict[str, Any]:
        """Bounds, counts of each bucket alone, and the sum."""
        return {"bounds": list(self.bounds), "counts": list(self.counts), "sum": self.sum}


@dataclass(slots=True)
class _Model:
    requests: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    ttft: Spread = field(default_factory=lambda: Spread(TTFT_BOUNDS))
    itl: Spread = field(default_factory=lambda: Spread(ITL_BOUNDS))
    durations: dict[str, Spread] = field(default_factory=dict)


class Counts:
    """Sums since the proxy started. `version` moves with each change."""

    def __init__(self) -> None:
        self.version = 0
        self.unobserved = dict.fromkeys(REASONS, 0)
        self._models: dict[str | None, _Model] = {}

    def miss(self, reason: str) -> None:
        """Something passed that the figures lack."""
        self.unobserved[reason] += 1
        self.version += 1

    def add(self, seen: Seen) -> None:
        """Count a request that is over."""
        self.version += 1
        found = self._model(seen.model, seen.status)
        found.requests[seen.status] = found.requests.get(seen.status, 0) + 1
        for kind, tokens in (("prompt", seen.prompt_tokens), ("cached", seen.cached_tokens),
                             ("generation", seen.generated_tokens)):  # fmt: skip
            if tokens is not None:
                found.tokens[kind] = found.tokens.get(kind, 0) + tokens
        if seen.first_token_seconds is not None:
            found.ttft.add(seen.first_token_seconds)
        if seen.latency:
            found.itl.merge(seen.latency)
        if seen.duration_seconds is not None:
            found.durations.setdefault(seen.status, Spread(DURATION_BOUNDS)).add(seen.duration_seconds)

    def as_json(self) -> dict[str, Any]:
        """A copy of everything, for `json.dumps`."""
        return {
            "unobserved": dict(self.unobserved),
            "models": [_row(name, found) for name, found in self._models.items()],
        }

    def _model(self, name: str | None, status: str) -> _Model:
        # A name that only failed may be anybody's typing: it takes no place from the models there are.
        if name not in self._models and status[0] in "345u":
            name = None
        known = len(self._models) - (None in self._models)
        if name is not None and name not in self._models and known >= MODELS_PER_ENGINE:
            self.unobserved["model_limit"] += 1
            name = None
        if name not in self._models:
            # So that the first failure is seen as one more, and not as where a series begins.
            self._models[name] = _Model(dict.fromkeys(STATUSES, 0))
        return self._models[name]


def _row(name: str | None, found: _Model) -> dict[str, Any]:
    spreads: Iterable[tuple[str, Spread]] = (("ttft", found.ttft), ("itl", found.itl))
    return {
        "model": name, "requests": dict(found.requests), "tokens": dict(found.tokens),
        **{key: spread.as_json() for key, spread in spreads if any(spread.counts)},
        "durations": {status: spread.as_json() for status, spread in found.durations.items()},
    }  # fmt: skip
