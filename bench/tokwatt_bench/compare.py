"""Two sets of runs held against each other, figure by figure, and whether they may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tokwatt_bench import comparison, measured
from tokwatt_bench.comparison import FASTER, PLAIN, SLOWER, Comparison
from tokwatt_bench.explain import BY_NAME, lookup
from tokwatt_bench.measured import Measured
from tokwatt_bench.quality.score import wilson
from tokwatt_bench.statistics import median

Row = Mapping[str, Any]
Runs = Sequence[Measured]


class Figure(NamedTuple):
    """A figure that two runs are compared by: its name in a result, what a smaller and a larger one is called, and its
    value of one request.
    """

    name: str
    words: tuple[str, str]
    value: Callable[[Row], float | None]
    #: What is compared where that is not the figure itself: the engine's own times are not kept of each request.
    instead: str = ""

    @property
    def label(self) -> str:
        """What it is called."""
        return BY_NAME[self.name].title + (f" ({self.instead})" if self.instead else "")


def _prompt_speed(row: Row) -> float | None:
    seconds, prompt = row["time_to_first_token_seconds"], row["prompt_tokens"]
    tokens = prompt - (row["cached_tokens"] or 0) if prompt is not None else 0
    return tokens / seconds if seconds and tokens > 0 else None


FIGURES = (
    Figure("time_to_first_token_seconds", SLOWER, lambda r: r["time_to_first_token_seconds"]),
    Figure("inter_token_latency_seconds", SLOWER, measured.token_gap),
    Figure("generation_tokens_per_second", FASTER, measured.decode_speed),
    Figure("prompt_tokens_per_second", FASTER, _prompt_speed, "by time to first token"),
    Figure("request_duration_seconds", SLOWER, lambda r: r["duration_seconds"]),
    Figure("load_seconds", SLOWER, lambda r: r.get("load_seconds")),
    Figure("energy_per_token_joules", PLAIN, lambda r: None),
)
#: What must be the same for a difference to be one of what is compared; names within a result.
CONDITIONS = (
    "model", "scenario", "concurrency", "host", "tool_version", "load.mode", "load.rate_per_second",
    "settings.max_tokens", "settings.api", "settings.temperature", "settings.cold", "settings.warm_prefix",
    "settings.prompt_characters", "settings.scenario_version", "settings.prompt_tokens",
    "conditions.before.power_source_state", "conditions.before.power_mode_state", "conditions.before.thermal_state",
)  # fmt: skip


def compared(first: Runs, second: Runs, *, margin: float = comparison.MARGIN) -> dict[str, Any]:
    """`{"first", "second", "paired", "unmatched", "warnings", "figures"}`; a ratio is second ÷ first.

    With several runs on a side the runs' medians are compared; with one on each their requests, in pairs where they
    were measured in turns.
    """
    pairs = _pairs(first[0], second[0]) if len(first) == len(second) == 1 else []
    return {
        "first": _identity(first[0]), "second": _identity(second[0]), "runs": [len(first), len(second)],
        "paired": bool(pairs), "unmatched": unmatched(first[0], second[0]),
        "warnings": list(_warnings(first, second)),
        "figures": [_figure(figure, first, second, pairs, margin) for figure in FIGURES],
    }  # fmt: skip


def unmatched(first: Measured, second: Measured) -> list[dict[str, Any]]:
    """`{"name", "first", "second"}` of each condition that both know and that differs."""
    found = []
    for name in CONDITIONS:
        values = [lookup(one.result, name)[1] for one in (first, second)]
        if None not in values and values[0] != values[1]:
            found.append({"name": name, "first": values[0], "second": values[1]})
    return found


def failed_more(first: Runs, second: Runs) -> bool:
    """Whether a larger share of the second's requests failed than chance explains."""
    (bad_a, all_a), (bad_b, all_b) = (
        (sum(one.result["failed"] for one in side), sum(one.result["runs"] for one in side)) for side in (first, second)
    )
    return bool(all_a and all_b) and wilson(bad_b, all_b)[0] > wilson(bad_a, all_a)[1]


def comparison_table(found: Mapping[str, Any]) -> None:
    """A row a figure, and what to know before believing it."""
    from tokwatt_bench.report import print_line
    from tokwatt_bench.report.rows import short, shown_unit
    from tokwatt_exporter.show import table

    for side in ("first", "second"):
        one = found[side]
        version = f" {one['version']}" if one["version"] else ""
        print_line(f"{side}: {one['engine']}{version}, {one['model']}, {one['scenario']} ({one['run_id'][:8]})")
    for warning in found["warnings"]:
        print_line(f"note: {warning}")
    for one in found["unmatched"]:
        print_line(f"note: {one['name']} differs: {one['first']} and {one['second']}")
    rows = []
    for one in found["figures"]:
        sides = one["first"], one["second"]
        if sides != (None, None):
            scale, unit = shown_unit(BY_NAME[one["name"]])
            medians = (short(value and value * scale) for value in sides)
            said = one["verdict"] or one["reason"]
            rows.append((one["label"], *medians, unit, _percent(one["ratio"]), _interval(one["ci95"]), said))
    names = ("figure", "first", "second", "unit", "second is", "95 % interval", "verdict")
    table(names, rows, right=("first", "second", "second is"))
    if found["paired"]:
        print_line("compared in pairs that were measured in turns")


def _figure(
    figure: Figure,
    first: Sequence[Measured],
    second: Sequence[Measured],
    pairs: Sequence[tuple[Row, Row]],
    margin: float,
) -> dict[str, Any]:
    result = _compare(figure, first, second, pairs, margin)
    return {
        "name": figure.name, "label": figure.label, "first": _median(first, figure), "second": _median(second, figure),
        "ratio": result.ratio, "ci95": list(result.ci95) if result.ci95 else None, "verdict": result.verdict,
        "reason": result.reason or None, "drift": result.drift,
    }  # fmt: skip


def _compare(
    figure: Figure,
    first: Sequence[Measured],
    second: Sequence[Measured],
    pairs: Sequence[tuple[Row, Row]],
    margin: float,
) -> Comparison:
    if pairs:
        known = [(a, b) for a, b in ((_value(figure, x, first[0]), _value(figure, y, second[0])) for x, y in pairs)
                 if a is not None and b is not None]  # fmt: skip
        return comparison.compare(
            [a for a, _ in known], [b for _, b in known], paired=True, margin=margin, words=figure.words
        )
    sides = [[_values(figure, one) for one in side] for side in (first, second)]
    if all(len(side) == 1 for side in sides):
        (one,), (other,) = sides
        if one and other:
            off = _client_off(figure, first[0], second[0])
            return comparison.compare(one, other, margin=margin, words=figure.words, off=off)
        return _of_intervals(figure, first[0], second[0], margin)
    return comparison.compare_runs(sides[0], sides[1], margin=margin, words=figure.words)


def _of_intervals(figure: Figure, first: Measured, second: Measured, margin: float) -> Comparison:
    """Of results whose requests were not kept."""
    summaries = [one.result.get(figure.name) for one in (first, second)]
    known = [(s["p50"], tuple(s["ci95"])) for s in summaries if isinstance(s, Mapping) and s["p50"] and s["ci95"]]
    if len(known) < 2:
        return Comparison(None, None, None, "not known for both, or without an interval")
    return comparison.compare_intervals(known[0], known[1], margin=margin, words=figure.words)


def _values(figure: Figure, one: Measured) -> list[float]:
    values = [_value(figure, row, one) for row in measured.counted(one)]
    return [value for value in values if value is not None]


def _value(figure: Figure, row: Row, one: Measured) -> float | None:
    if figure.name != "energy_per_token_joules":
        return figure.value(row)
    return measured.energy_per_token(row, one.result["energy"]["idle_watts"])


def _median(side: Runs, figure: Figure) -> float | None:
    found = [median(values) for one in side if (values := _values(figure, one))]
    if not found:
        summaries = [one.result.get(figure.name) for one in side]
        found = [s["p50"] for s in summaries if isinstance(s, Mapping) and s["p50"] is not None]
    return median(found) if found else None


def _pairs(first: Measured, second: Measured) -> list[tuple[Row, Row]]:
    """The requests that were measured next to each other."""
    sides = [
        {row["block"]: row for row in measured.counted(one) if row.get("block") is not None} for one in (first, second)
    ]
    return [(sides[0][block], sides[1][block]) for block in sorted(sides[0].keys() & sides[1].keys())]


def _client_off(figure: Figure, first: Measured, second: Measured) -> float:
    """By what share the clients of two runs may differ, as their calibrations say."""
    known = [one.result.get("calibration") for one in (first, second)]
    if None in known or figure.name not in ("time_to_first_token_seconds", "inter_token_latency_seconds"):
        return 0.0
    if figure.name == "inter_token_latency_seconds":
        return float(sum(abs(one["inter_token_latency_error_ratio"]) for one in known if one))
    late = [one["time_to_first_token_error_seconds"]["p50"] for one in known if one]
    least = min(_median([one], figure) or 0.0 for one in (first, second))
    return abs(late[0] - late[1]) / least if least else 0.0


def _warnings(first: Runs, second: Runs) -> Iterator[str]:
    for name, side in (("first", first), ("second", second)):
        for one in side:
            yield from (f"{name}: {why}" for why in one.result.get("client_bound") or ())
            yield from (f"{name}: {why}" for why in (one.result.get("conditions") or {}).get("problems") or ())
            for problem in one.result.get("answer_problems") or ():
                yield f"{name}: {problem['count']} answers {problem['kind']}: {problem['detail']}"
            if one.result["failed"]:
                yield f"{name}: {one.result['failed']} of {one.result['runs']} requests failed"


def _identity(one: Measured) -> dict[str, Any]:
    names = ("engine", "kind", "version", "model", "scenario", "concurrency", "host", "run_id")
    return {name: one.result.get(name) for name in names}


def _percent(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio - 1:+.1%}"


def _interval(ends: Sequence[float] | None) -> str:
    return f"{ends[0] - 1:+.1%} to {ends[1] - 1:+.1%}" if ends else ""
