"""Goodput: the answers that were as quick as somebody said they have to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tokwatt_bench import figures
from tokwatt_bench.request import Request
from tokwatt_exporter import parse


class Objective(NamedTuple):
    """The longest times an answer may take, in seconds; None where it does not matter."""

    first_token: float | None = None
    #: The mean between the tokens of an answer.
    token_gap: float | None = None
    duration: float | None = None

    def as_json(self) -> dict[str, float | None]:
        """`{"ttft", "itl", "e2e"}`, the names of `objective`."""
        return {name: getattr(self, field) for name, field in _NAMES.items()}


_NAMES = {"ttft": "first_token", "itl": "token_gap", "e2e": "duration"}


def objective(text: str) -> Objective:
    """`ttft=500ms,itl=50ms,e2e=10s`, one of them or more; `ValueError` says what is wrong."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, given, value = part.strip().partition("=")
        if name not in _NAMES or not given:
            raise ValueError(f"{part.strip()!r} is not NAME=DURATION with a name of {', '.join(_NAMES)}")
        found[_NAMES[name]] = parse.duration(value)
    return Objective(**found)


def goodput(requests: Sequence[Request], wanted: Objective, seconds: float | None) -> dict[str, Any]:
    """`{"objective", "met", "ratio", "requests_per_second", "reason"}` over all measured requests: one that failed is
    not good. `seconds` is the time they took in all, None where it is not known.
    """
    verdicts = [met(request, wanted) for request in requests]
    found: dict[str, Any] = {
        "objective": wanted.as_json(), "met": None, "ratio": None, "requests_per_second": None, "reason": None
    }  # fmt: skip
    if None in verdicts:
        return found | {"reason": figures.NO_COUNT}
    if not verdicts:
        return found | {"reason": "nothing was measured"}
    good = sum(map(bool, verdicts))
    found |= {"met": good, "ratio": good / len(verdicts)}
    return found | ({"requests_per_second": good / seconds} if seconds else {})


def met(request: Request, wanted: Objective) -> bool | None:
    """Whether an answer kept the limits; None where that is not known."""
    if not request.ok:
        return False
    times = [(request.first_token_seconds, wanted.first_token), (request.duration_seconds, wanted.duration)]
    # A single token has nothing between.
    if wanted.token_gap is not None and len(request.chunks) > 1:
        times.append((figures.mean_token_gap(request).value, wanted.token_gap))
    if any(limit is not None and time is None for time, limit in times):
        return None
    return all(limit is None or (time is not None and time <= limit) for time, limit in times)
