"""What charts are drawn from: the requests of results, boiled down to as many points as a picture can show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tokwatt_bench.measured import Measured, chunk_gaps, counted
from tokwatt_bench.statistics import quantile

Point = dict[str, Any]

#: Points of a curve, and places in an answer that get a point of their own.
CURVE, PLACES = 200, 128
#: A gap of less has no place on a logarithmic axis: tokens of one read have one time.
LEAST_GAP_MS = 0.001


def curve(name: str, values: Sequence[float]) -> Iterator[Point]:
    """The share of values up to each of them, in percent; at most `CURVE` points, both ends included."""
    ordered = sorted(values)
    count = len(ordered)
    places = range(count) if count <= CURVE else sorted({round(i * (count - 1) / (CURVE - 1)) for i in range(CURVE)})
    if ordered:
        yield {"result": name, "value": ordered[0], "share": 0.0, "of": count}
    yield from (
        {"result": name, "value": ordered[place], "share": 100 * (place + 1) / count, "of": count} for place in places
    )


def seconds_ms(one: Measured, column: str) -> list[float]:
    """A column of seconds in milliseconds, of the measured requests that have it."""
    return [request[column] * 1e3 for request in counted(one) if request[column] is not None]


def positions(name: str, one: Measured) -> Iterator[Point]:
    """Median gap and the middle half of the gaps at each place in the answer, which in a long one is several chunks."""
    answers = [chunk_gaps(request) for request in counted(one)]
    longest = max((len(gaps) for gaps in answers), default=0)
    width = max(1, -(-longest // PLACES))
    for first in range(0, longest, width):
        # A place that few answers reach says more about which ones those are.
        here = [gaps[first : first + width] for gaps in answers if len(gaps) > first]
        if 2 * len(here) < len(answers):
            return
        pooled = [gap * 1e3 for gaps in here for gap in gaps]
        low, middle, high = (quantile(pooled, q) for q in (0.25, 0.5, 0.75))
        yield {"result": name, "position": first + 1, "low": low, "median": middle, "high": high, "of": len(here)}


def in_order(name: str, requests: Sequence[Mapping[str, Any]]) -> Iterator[Point]:
    """Each measured request in the order they were sent: its duration in seconds, or how it failed."""
    sent = sorted((request for request in requests if request["phase"] == "measured"), key=_order)
    for number, request in enumerate(sent, 1):
        yield {
            "result": name, "number": number, "duration": request["duration_seconds"],
            "first": request["time_to_first_token_seconds"], "tokens": request["generated_tokens"],
            "ended": "ok" if request["ok"] else str(request["failure"] or "failed"),
        }  # fmt: skip


def _order(request: Mapping[str, Any]) -> tuple[str, int]:
    return str(request.get("started") or ""), int(request["request_index"])


def conditions(name: str, result: Mapping[str, Any]) -> list[Point]:
    """The samples of a run's conditions with their time: states and numbers, by what their names say they are."""
    samples = (result.get("conditions") or {}).get("samples") or ()
    found = [(time, sample) for sample in samples if (time := iso(sample["time"]))]
    return [
        {
            key: value
            for key, value in sample.items()
            if isinstance(value, str if key.endswith("_state") else int | float)
        }
        | {"result": name, "time": time}
        for time, sample in found
    ]


def spans(samples: Sequence[Point], key: str) -> list[Point]:
    """From when until when each sample said the same: a sample holds until the next one of its result."""
    said = [one for one in samples if one.get(key)]
    found: list[Point] = []
    for one in said:
        state = str(one[key])
        if found and found[-1]["result"] == one["result"]:
            found[-1]["until"] = one["time"]
            if found[-1]["state"] == state:
                continue
        found.append({"result": one["result"], "time": one["time"], "until": one["time"], "state": state})
    return found


def iso(time_ms: int) -> str | None:
    """ISO 8601 in UTC; None for a time that is none of ours."""
    if not 1e11 < time_ms < 1e13:
        return None
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()
