"""Energy of prefill and decode apart: the counters' timeline, cut where the first token came."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from tokwatt_bench.energy import FEWEST_UPDATES, Use, Window, idle_watts
from tokwatt_bench.request import Request


class Part(NamedTuple):
    """Of a request: what one of its phases used."""

    joules: float
    seconds: float
    #: How often a counter was seen to have moved.
    updates: int


def phases(windows: Sequence[Window], idle: Use | None, why: str) -> dict[str, Any]:
    """`{"prefill_per_token_joules", "decode_per_token_joules", "reasons"}`, idle power subtracted: the first by prompt
    tokens that were not cached, the second by generated ones. `why` is the reason where the run's energy is not known.
    """
    names = ("prefill_per_token_joules", "decode_per_token_joules")
    found: dict[str, Any] = dict.fromkeys(names)
    watts, no_idle = idle_watts(idle)
    reason = why or no_idle
    if not reason and any(len(window.requests) != 1 for window in windows):
        reason = "streams ran side by side, so that one's prefill is another's decode"
    if reason or watts is None:
        return found | {"reasons": dict.fromkeys(names, reason)}
    apart = cut(windows)
    reasons = {}
    for name, parts, tokens in (
        (names[0], [before for _, before, _ in apart], [uncached(request) for request, _, _ in apart]),
        (names[1], [after for _, _, after in apart], [request.generated_tokens for request, _, _ in apart]),
    ):
        value = _per_token(parts, tokens, watts)
        if isinstance(value, str):
            reasons[name] = value
        else:
            found[name] = value
    return found | {"reasons": reasons}


def cut(windows: Sequence[Window]) -> list[tuple[Request, Part, Part]]:
    """The requests that ran alone and succeeded, with what their prefill used and what their decode used."""
    alone = [(window.requests[0], window.use) for window in windows if len(window.requests) == 1]
    return [(request, *_cut(request, use)) for request, use in alone if use and request.ok]


def _per_token(parts: Sequence[Part], tokens: Sequence[int | None], watts: float) -> float | str:
    known = [count for count in tokens if count]
    if not known or len(known) < len(tokens):
        return "the engine does not say how many tokens there were"
    updates = sum(part.updates for part in parts)
    if updates < FEWEST_UPDATES:
        return f"the counters moved only {updates} times in all of it; it takes {FEWEST_UPDATES}"
    net = sum(part.joules for part in parts) - watts * sum(part.seconds for part in parts)
    return net / sum(known) if net > 0 else "it used no more than the idle machine"


def _cut(request: Request, use: Use) -> tuple[Part, Part]:
    at = request.chunks[0].at_ns / 1e9
    line = use.timeline
    if len(line) < 2:
        return Part(0, 0, 0), Part(0, 0, 0)
    at = min(max(at, line[0][0]), line[-1][0])
    middle = joules_at(line, at)
    moved = [later for (_, low), (later, high) in itertools.pairwise(line) if high != low]
    early = sum(later <= at for later in moved)
    return (
        Part(middle - line[0][1], at - line[0][0], early),
        Part(line[-1][1] - middle, line[-1][0] - at, len(moved) - early),
    )


def joules_at(line: Sequence[tuple[float, float]], at: float) -> float:
    """Joules by then; between two looks the power is taken to be even."""
    for (before, low), (after, high) in itertools.pairwise(line):
        if before <= at <= after:
            return low + (high - low) * (at - before) / (after - before) if after > before else high
    return line[-1][1]


def uncached(request: Request) -> int | None:
    """Prompt tokens that were not cached, where their number is known."""
    return None if request.prompt_tokens is None else request.prompt_tokens - (request.cached_tokens or 0)
