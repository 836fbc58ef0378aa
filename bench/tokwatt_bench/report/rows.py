"""What every kind of report shows: a row a figure, names for results, and units that people read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tokwatt_bench.explain import SECONDS, Metric, figures
from tokwatt_bench.statistics import FEWEST

Result = Mapping[str, Any]

#: What tells results apart, and how it is said.
_DISTINCT = ("engine", "version", "model", "scenario", "load")
#: Settings that stand elsewhere, and one that is called like something else.
_SAID = ("rate_per_second", "arrivals")
_CALLED = {"prompt_tokens": "prompt tokens, wanted"}
#: Seconds that are milliseconds for people: all but these.
_LONG = ("load_seconds",)


class Row(NamedTuple):
    """A figure of a result in its own unit; what is None has its reason in `why`."""

    metric: Metric
    p50: float | None
    low: float | None
    high: float | None
    p95: float | None
    p99: float | None
    most: float | None
    of: int | None
    why: str
    #: Of the other quantiles, where the samples support one.
    intervals: Mapping[str, Sequence[float]] = {}


def rows(result: Result) -> list[Row]:
    """The figures of a result, in the order of their definitions; a figure that is one number has it as `p50`."""
    return [_row(metric, value, result) for metric, value in figures(result)]


def _row(metric: Metric, value: Any, result: Result) -> Row:
    reasons, found = result["reasons"], value if isinstance(value, Mapping) else {"p50": value}
    low, high = found.get("ci95") or (result.get("intervals") or {}).get(metric.name) or (None, None)
    # The parts of the energy have its reason.
    near = "energy_per_token_joules" if "energy" in metric.name or "joule" in metric.name else metric.name.split(".")[0]
    why = next((reasons[name] for name in (metric.name, f"{metric.name}.p50", near) if name in reasons), metric.null)
    why = why if found["p50"] is None else ""
    p95, p99, most, count = (found.get(name) for name in ("p95", "p99", "max", "count"))
    # The client's errors have one of however many there are.
    p95 = None if count is not None and count < FEWEST["p95"] else p95
    return Row(metric, found["p50"], low, high, p95, p99, most, count, why, found.get("intervals") or {})


def names(results: Sequence[Result]) -> list[str]:
    """A name for each result, by what is not the same in all of them; no two are equal."""
    parts = [_parts(result) for result in results]
    varying = [key for key in _DISTINCT if len({one[key] for one in parts}) > 1]
    # Two engines have two versions anyway.
    if len({one["engine"] for one in parts}) == len({(one["engine"], one["version"]) for one in parts}):
        varying = [key for key in varying if key != "version"]
    if "engine" not in varying and "model" not in varying:
        varying = ["model", *varying]
    found = [", ".join(one[key] for key in varying if one[key]) for one in parts]
    twice = {name for name in found if found.count(name) > 1}
    seen: dict[str, int] = {}
    for place, name in enumerate(found):
        if name in twice:
            seen[name] = seen.get(name, 0) + 1
            found[place] = f"{name}, run {seen[name]}"
    return found


def series(results: Sequence[Result]) -> list[str]:
    """The same without the load: results that differ in nothing but that belong together."""
    bare = [{**result, "concurrency": None, "load": None} for result in results]
    return [name.rpartition(", run ")[0] or name for name in names(bare)]


def _parts(result: Result) -> dict[str, str]:
    return {key: str(result.get(key) or "") for key in _DISTINCT[:-1]} | {"load": load(result)}


def load(result: Result) -> str:
    """How many requests at a time, or how many a second; empty where that is not told."""
    rate = (result.get("load") or {}).get("rate_per_second")
    if rate:
        return f"{rate:g} requests/s"
    return f"{result['concurrency']} at a time" if result["concurrency"] else ""


def title(result: Result) -> str:
    """Engine, version and model."""
    version = f" {result['version']}" if result.get("version") else ""
    return f"{result['engine']}{version}, {result['model']}"


def shown_unit(metric: Metric, value: float | None = None) -> tuple[float, str]:
    """By what a figure (of about that value) is multiplied for people, and the unit it has then."""
    if metric.unit == SECONDS and metric.name not in _LONG:
        return 1e3, "ms"
    if metric.unit == "bytes" and value is not None and value < 1e9:
        return 1e-6, "MB"
    return {"bytes": (1e-9, "GB"), "ratio": (100.0, "%")}.get(metric.unit, (1.0, metric.unit))


def short(value: float | None) -> str:
    """Four digits, or more where there are more before the point; nothing for None."""
    if value is None:
        return ""
    return (
        f"{value:#.4g}".rstrip(".")
        if 1e-4 <= abs(value) < 1e4
        else f"{value:,.4g}"
        if abs(value) < 1
        else f"{value:,.0f}"
    )


def shown(row: Row) -> tuple[str, str, str, str, str, str, str]:
    """Median, interval, p95, p99, the largest, of how many samples, and unit, as people read them; empty where there
    is none.
    """
    scale, unit = shown_unit(row.metric, row.p50)
    p50, low, high, p95, p99, most = ("" if x is None else short(x * scale) for x in row[1:7])
    return p50, f"{low} to {high}" if low else "", p95, p99, most, "" if row.of is None else str(row.of), unit


def tail(row: Row, name: str) -> str:
    """The interval of p95 or p99 as people read it; empty where there is none."""
    scale, _ = shown_unit(row.metric, row.p50)
    return " to ".join(short(end * scale) for end in row.intervals.get(name, ()))


def shown_with_tails(row: Row) -> tuple[str, str, str, str, str, str, str]:
    """The same as `shown`, and p95 and p99 with their intervals."""
    p50, interval, p95, p99, most, count, unit = shown(row)
    return p50, interval, _with_tail(row, "p95", p95), _with_tail(row, "p99", p99), most, count, unit


def _with_tail(row: Row, name: str, text: str) -> str:
    ends = tail(row, name)
    return f"{text} ({ends})" if ends else text


def facts(result: Result) -> Iterator[tuple[str, str]]:
    """What was measured and how, as name and text."""
    yield "engine", f"{result['engine']} {result.get('version') or ''}".strip()
    yield from ((name, str(result[name])) for name in ("kind", "model", "scenario"))
    arrivals = (result.get("load") or {}).get("arrivals")
    yield "load", load(result) + (f", {arrivals}" if arrivals else "")
    yield from (("hardware", text) for text in [hardware(result)] if text)
    stopped = ", stopped early" if result["aborted"] else ""
    yield "requests", f"{result['runs']} measured, {result['failed']} failed{stopped}"
    yield from (("ended", text) for text in [(result.get("load") or {}).get("stopped")] if text)
    tokens = result["tokens"]
    for name in ("prompt", "generated", "cached"):
        if tokens[name] is not None:
            yield f"{name} tokens", f"{tokens[name]:,}"
    if tokens["source"]:
        yield "tokens counted by", tokens["source"]
    for name, value in result["settings"].items():
        if value not in (None, False, "") and name not in _SAID:
            yield _CALLED.get(name, name.replace("_", " ")), _said(value)
    yield "run", result["run_id"]
    yield "tokwatt", result["tool_version"]


def warnings(result: Result) -> list[str]:
    """What makes a result say less than it seems to: a client at its limit, a machine in no good condition."""
    bounded = [f"bounded by the client: {why}" for why in result.get("client_bound") or ()]
    return bounded + [f"conditions: {why}" for why in (result.get("conditions") or {}).get("problems") or ()]


def hardware(result: Result) -> str:
    """Chip and machine, where the result says so."""
    found = result.get("hardware") or {}
    parts = (found.get(name) for name in ("chip", "machine_model", "memory", "os_version"))
    return ", ".join(str(part) for part in parts if part)


def absent(result: Result) -> dict[str, str]:
    """Why figures are not there: name → reason, without the quantiles that only want more samples."""
    parts = (".p95", ".p99", ".ci95")
    return {name: why for name, why in result["reasons"].items() if not name.endswith(parts)}


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_said(part) for part in value)
    return "yes" if value is True else str(value)
