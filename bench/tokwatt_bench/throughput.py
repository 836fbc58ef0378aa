"""What streams side by side add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokwatt_bench import figures
from tokwatt_bench.load import Round
from tokwatt_bench.request import Request


def throughput(rounds: Sequence[Round], lanes: int | None) -> dict[str, Any]:
    """`{"generation_tokens_per_second", "requests_per_second", "seconds", "reason"}`, over the time in which every lane
    of a closed loop was busy, or all the time of an open one (`lanes` None). Failed requests are not in it; their time
    is.
    """
    found: dict[str, Any] = {
        "generation_tokens_per_second": None, "requests_per_second": None, "seconds": None, "reason": None
    }  # fmt: skip
    spans = [(one, one.took.started_ns, one.took.full_ns if lanes else one.took.ended_ns) for one in rounds]
    seconds = sum(max(end - start, 0) for _, start, end in spans) / 1e9
    if lanes == 1:
        return found | {"reason": "one stream at a time: see generation_tokens_per_second"}
    if not seconds or not any(one.requests for one in rounds):
        return found | {"reason": "the lanes were never all busy: it takes more requests than lanes" if lanes else
                        "nothing was measured"}  # fmt: skip
    good = [(request, start, end) for one, start, end in spans for request in one.requests if request.ok]
    if not good:
        return found | {"reason": "no request succeeded"}
    found["seconds"] = seconds
    found["requests_per_second"] = sum(_share(request, start, end) for request, start, end in good) / seconds
    if any(request.generated_tokens is None for request, _, _ in good):
        return found | {"reason": figures.NO_COUNT}
    tokens = sum((request.generated_tokens or 0) * _share(request, start, end) for request, start, end in good)
    return found | {"generation_tokens_per_second": tokens / seconds}


def span_seconds(rounds: Sequence[Round]) -> float | None:
    """Seconds from the first request to the last answer, without the pauses between rounds."""
    return sum(max(one.took.ended_ns - one.took.started_ns, 0) for one in rounds) / 1e9 or None


def _share(request: Request, start_ns: int, end_ns: int) -> float:
    """The part of the answer's chunks that came in the span."""
    times = [chunk.at_ns for chunk in request.chunks]
    return sum(start_ns <= time <= end_ns for time in times) / len(times)
