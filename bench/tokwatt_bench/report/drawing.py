"""How charts are drawn: in the colours of their results, as wide as their place, with the numbers under the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import altair as alt

    from tokwatt_bench.report.points import Point

HEIGHT = 260
#: Told apart by people who do not see all colours, on white and on black.
COLOURS = ("#3b82c4", "#e07b1a", "#2a9d6f", "#c2549d", "#b59a00", "#7a6fd0", "#d1495b", "#6b7785", "#3fb6c6", "#9c6b3f")
_CHART_KEYS = {"$schema", "config"}
_WORDS = ("result", "state", "ended")
_CHOSEN = "chosen.length === 0 || indexof(chosen, datum.result) >= 0"


class Plot(NamedTuple):
    """A chart in Vega-Lite, or None with the reason."""

    title: str
    text: str
    chart: dict[str, Any] | None
    why: str = ""


def inline(points: list[Point]) -> Any:
    """Data that is in the chart itself."""
    import altair as alt

    return alt.Data(values=points)  # type: ignore[no-untyped-call]


def canvas(points: list[Point]) -> alt.Chart:
    """A chart of these points, as high as the others."""
    import altair as alt

    return alt.Chart(inline(points), height=HEIGHT)


def tips(*lines: tuple[str, ...]) -> list[alt.Tooltip]:
    """What stands under the pointer: the result, and of each line the field, what it is called, and its format."""
    return [_tip("result", "result"), *(_tip(*line) for line in lines)]


def _tip(field: str, title: str, format: str = ",.4~f") -> alt.Tooltip:
    import altair as alt

    if field == "time":
        return alt.Tooltip("time:T", title=title, format="%H:%M:%S")
    if field in _WORDS:
        return alt.Tooltip(f"{field}:N", title=title)
    return alt.Tooltip(f"{field}:Q", title=title, format=format)


def coloured(
    chart: alt.Chart | alt.LayerChart, series: list[str], *, legend: bool = False, zoom: bool = False
) -> dict[str, Any]:
    """The chart in the colours of its results; the page says by `chosen` which ones stand out.

    One that can be zoomed cuts off what stands at the ends of its axes.
    """
    import altair as alt

    shown = alt.Legend(orient="bottom", columns=1, labelLimit=520, title=None) if legend and len(series) > 1 else None
    colour = alt.Color("result:N", scale=alt.Scale(domain=series, range=colours(len(series))), legend=shown)
    layers = chart.layer if isinstance(chart, alt.LayerChart) else [chart]
    for layer in layers:
        full = 0.18 if layer.to_dict()["mark"]["type"] == "area" else 1.0
        layer.encoding.color = colour
        if not legend:
            layer.encoding.opacity = alt.condition(_CHOSEN, alt.value(full), alt.value(full / 12))
    if zoom:
        chart = chart.add_params(alt.selection_interval(bind="scales", zoom="wheel![event.ctrlKey]"))
    return bare(chart)


def bare(chart: alt.Chart | alt.LayerChart) -> dict[str, Any]:
    """As the page wants it: as wide as its place, in the page's colours."""
    found: dict[str, Any] = chart.properties(width="container").to_dict()
    params = [*found.get("params", ()), {"name": "chosen", "value": []}]
    return {name: part for name, part in found.items() if name not in _CHART_KEYS} | {
        "background": None, "params": params
    }  # fmt: skip


def colours(count: int) -> list[str]:
    """A colour for each result."""
    return [COLOURS[number % len(COLOURS)] for number in range(count)]
