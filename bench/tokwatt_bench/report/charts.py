"""The charts of a report: what each is of, and its drawing, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tokwatt_bench.explain import lookup
from tokwatt_bench.measured import Measured, chunk_gaps, counted
from tokwatt_bench.report import drawing, points
from tokwatt_bench.report.rows import names, series
from tokwatt_bench.report.timeline import timelines

Named = Sequence[tuple[str, Measured]]


def plots(measured: Sequence[Measured]) -> list[drawing.Plot]:
    """All charts that results have, in the order of the page."""
    named = list(zip(names([one.result for one in measured]), measured, strict=True))
    return [draw(named) for draw in _PLOTS] + list(timelines(named))


def _first_token(named: Named) -> drawing.Plot:
    return _distribution(
        named, "Time to first token", "Share of requests whose first token had come by then.",
        lambda one: points.seconds_ms(one, "time_to_first_token_seconds"), "time to first token (ms)",
    )  # fmt: skip


def _duration(named: Named) -> drawing.Plot:
    return _distribution(
        named, "Requests, end to end", "Share of requests that were complete by then.",
        lambda one: points.seconds_ms(one, "duration_seconds"), "from sending to the end (ms)",
    )  # fmt: skip


def _gaps(named: Named) -> drawing.Plot:
    def values(one: Measured) -> list[float]:
        return [max(gap * 1e3, points.LEAST_GAP_MS) for request in counted(one) for gap in chunk_gaps(request)]

    return _distribution(
        named, "Gaps between chunks", "Share of all gaps that were no longer; a stall is the far right end.", values,
        "gap (ms, logarithmic)", log=True,
    )  # fmt: skip


def _distribution(
    named: Named, title: str, text: str, values: Callable[[Measured], list[float]], axis: str, *, log: bool = False
) -> drawing.Plot:  # fmt: skip
    data = [point for name, one in named for point in points.curve(name, values(one))]
    if not data:
        return drawing.Plot(title, text, None, "no request that succeeded is in this document with its times")
    import altair as alt

    scale = alt.Scale(type="log") if log else alt.Scale(zero=False)
    chart = drawing.canvas(data).mark_line(interpolate="step-after", strokeWidth=2).encode(
        alt.X("value:Q", title=axis, scale=scale, axis=alt.Axis(tickCount=5)),
        alt.Y("share:Q", title="share (%)", scale=alt.Scale(domain=[0, 100])),
        tooltip=drawing.tips(("value", "ms"), ("share", "share %", ".1f"), ("of", "of")),
    )  # fmt: skip
    return drawing.Plot(title, text, drawing.coloured(chart, [name for name, _ in named], zoom=True))


def _position(named: Named) -> drawing.Plot:
    title, text = (
        "Gaps over the answer",
        "Median gap before each chunk, and the middle half of them: does it slow down?",
    )
    data = [point for name, one in named for point in points.positions(name, one)]
    if not data:
        return drawing.Plot(title, text, None, "no answer with two chunks is in this document")
    import altair as alt

    base = drawing.canvas(data).encode(
        alt.X("position:Q", title="chunk of the answer", scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=8))
    )
    tips = drawing.tips(
        ("position", "chunk"), ("median", "median ms"), ("low", "25 % ms"), ("high", "75 % ms"), ("of", "answers")
    )
    band = base.mark_area(opacity=0.18).encode(alt.Y("low:Q", title="gap (ms)"), alt.Y2("high:Q"))
    line = base.mark_line(strokeWidth=2).encode(alt.Y("median:Q"), tooltip=tips)
    return drawing.Plot(title, text, drawing.coloured(band + line, [name for name, _ in named], zoom=True))


def _throughput(named: Named) -> drawing.Plot:
    return _against_concurrency(
        named, "Throughput against concurrency", "Tokens a second of all requests together.",
        "throughput.generation_tokens_per_second", 1.0, "tokens/s",
    )  # fmt: skip


def _waiting(named: Named) -> drawing.Plot:
    return _against_concurrency(
        named, "Time to first token against concurrency", "Median and its 95 % interval.",
        "time_to_first_token_seconds", 1e3, "ms",
    )  # fmt: skip


def _against_concurrency(named: Named, title: str, text: str, figure: str, scale: float, unit: str) -> drawing.Plot:
    # What an open loop has at a time is not what it was asked for.
    results = [one.result for _, one in named if (one.result.get("load") or {}).get("mode") != "open"]
    results = [result for result in results if result["concurrency"] > 0]
    if len({result["concurrency"] for result in results}) < 2:
        return drawing.Plot(title, text, None, "all of it was measured at one concurrency")
    data = [
        {"result": name, "concurrency": result["concurrency"], **_value(lookup(result, figure)[1], scale)}
        for name, result in zip(series(results), results, strict=True)
    ]
    data = [point for point in data if point["value"] is not None]
    if len({point["concurrency"] for point in data}) < 2:
        return drawing.Plot(title, text, None, "it is known at fewer than two concurrencies")
    import altair as alt

    steps = sorted({point["concurrency"] for point in data})
    base = drawing.canvas(data).encode(
        alt.X("concurrency:Q", title="requests at a time", scale=alt.Scale(type="log", base=2, padding=12),
              axis=alt.Axis(values=steps))
    )  # fmt: skip
    tips = drawing.tips(("concurrency", "concurrency"), ("value", unit), ("low", "from"), ("high", "to"))
    y = alt.Y("value:Q", title=unit, scale=alt.Scale(zero=True))
    line = base.mark_line(point=True, strokeWidth=2).encode(y, tooltip=tips)
    bars = base.mark_rule(strokeWidth=2).encode(alt.Y("low:Q"), alt.Y2("high:Q"))
    drawn = bars + line if any(point["low"] is not None for point in data) else line
    return drawing.Plot(
        title, text, drawing.coloured(drawn, list(dict.fromkeys(point["result"] for point in data)), legend=True)
    )


def _energy(named: Named) -> drawing.Plot:
    title, text = "Energy against speed", "Down and to the right is better: more tokens a second for fewer joules each."
    data = []
    for name, one in named:
        speed, joules = _value(one.result["generation_tokens_per_second"], 1.0), one.result["energy_per_token_joules"]
        joules = _value(joules, 1.0)["value"]
        if speed["value"] is not None and joules is not None:
            data.append({"result": name, "joules": joules, **speed})
    if not data:
        return drawing.Plot(title, text, None, "no result has both a decode speed and an energy per token")
    import altair as alt

    base = drawing.canvas(data)
    y = alt.Y("joules:Q", title="energy per token (J)", scale=alt.Scale(zero=True))
    tips = drawing.tips(("value", "tokens/s"), ("low", "from"), ("high", "to"), ("joules", "J/token"))
    x = alt.Scale(zero=True)
    dots = base.mark_point(filled=True, size=110, opacity=1).encode(
        alt.X("value:Q", title="decode speed (tokens/s)", scale=x), y, tooltip=tips
    )
    bars = base.mark_rule(strokeWidth=2).encode(alt.X("low:Q", scale=x), alt.X2("high:Q"), y)
    drawn = bars + dots if any(point["low"] is not None for point in data) else dots
    return drawing.Plot(title, text, drawing.coloured(drawn, [name for name, _ in named]))


def _order(named: Named) -> drawing.Plot:
    title = "Request by request"
    text = "Duration in the order they were sent: a drift, and every outlier. A cross on the ground is one that failed."
    data = [point for name, one in named for point in points.in_order(name, one.requests)]
    if not data:
        return drawing.Plot(title, text, None, "no measured request is in this document")
    import altair as alt

    x = alt.X("number:Q", title="request", axis=alt.Axis(tickMinStep=1), scale=alt.Scale(zero=False))
    tips = drawing.tips(
        ("number", "request"), ("duration", "seconds"), ("first", "first token, s"), ("tokens", "tokens"),
        ("ended", "ended"),
    )  # fmt: skip
    good = [point for point in data if point["ended"] == "ok"]
    bad = [{**point, "duration": 0} for point in data if point["ended"] != "ok"]
    y = alt.Y("duration:Q", title="duration (s)", scale=alt.Scale(zero=True) if good else alt.Scale(domain=[0, 1]))
    dots = drawing.canvas(good).mark_line(point=True, strokeWidth=1).encode(x, y, tooltip=tips)
    crosses = drawing.canvas(bad).mark_point(shape="cross", size=80, filled=True).encode(x, y, tooltip=tips)
    drawn = dots + crosses if good and bad else dots if good else crosses
    return drawing.Plot(title, text, drawing.coloured(drawn, [name for name, _ in named]))


def _value(figure: Any, scale: float) -> points.Point:
    """Median and interval of a summary, or a plain number; None where there is none."""
    found = figure if isinstance(figure, dict) else {"p50": figure}
    low, high = found.get("ci95") or (None, None)
    return {
        name: None if x is None else x * scale for name, x in (("value", found["p50"]), ("low", low), ("high", high))
    }


_PLOTS: tuple[Callable[[Named], drawing.Plot], ...] = (
    _first_token, _gaps, _position, _duration, _order, _throughput, _waiting, _energy
)  # fmt: skip
