"""What the machine was like while it was measured: a strip for each state, a line for each number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tokwatt_bench.measured import Measured
from tokwatt_bench.report import drawing, points

if TYPE_CHECKING:
    import altair as alt

#: From good to bad, and the colour of a word that is not among them.
STATES = {
    "nominal": "#2a9d6f", "normal": "#2a9d6f", "ac": "#2a9d6f", "high": "#3fb6c6", "automatic": "#2a9d6f",
    "fair": "#d4a017", "warning": "#d4a017", "battery": "#d4a017", "low": "#d4a017", "serious": "#e07b1a",
    "critical": "#d1495b",
}  # fmt: skip
UNKNOWN = "#8a8f98"
_UNITS = {"celsius": ("°C", 1.0), "watts": ("W", 1.0), "bytes": ("GB", 1e-9), "hertz": ("GHz", 1e-9),
          "cores": ("cores", 1.0), "ratio": ("%", 100.0)}  # fmt: skip


def timelines(named: Sequence[tuple[str, Measured]]) -> Iterable[drawing.Plot]:
    """The charts of the conditions, or the reason why there are none."""
    samples = [sample for name, one in named for sample in points.conditions(name, one.result)]
    if not samples:
        yield drawing.Plot("Conditions", "", None, "no sample of the machine's conditions is in this document")
        return
    for key in dict.fromkeys(key for one in samples for key in one):
        # What never changed is said by a word, not by a picture.
        changed = len({one[key] for one in samples if key in one}) > 1
        if key == "thermal_state" or (key.endswith("_state") and changed):
            yield _states(samples, key)
        elif key.endswith(tuple(_UNITS)) and changed:
            yield _line(samples, key)


def _states(samples: list[points.Point], key: str) -> drawing.Plot:
    import altair as alt

    states = points.spans(samples, key)
    said = {one["state"] for one in states}
    colours = {state: STATES.get(state, UNKNOWN) for state in [*STATES, *sorted(said - set(STATES))] if state in said}
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    rows = len({one["result"] for one in states})
    chart = alt.Chart(drawing.inline(states), height=max(60, 34 * rows)).mark_bar(size=22).encode(
        _time(), alt.X2("until"),
        alt.Y("result:N", title=None, sort=None, axis=alt.Axis(labelLimit=220)),
        alt.Color("state:N", title=None, scale=scale, legend=alt.Legend(orient="bottom")),
        tooltip=drawing.tips(("time", "at"), ("state", "state")),
    )  # fmt: skip
    return drawing.Plot(f"Conditions: {_words(key)[0]}", "What the machine said meanwhile.", drawing.bare(chart))


def _line(samples: list[points.Point], key: str) -> drawing.Plot:
    import altair as alt

    words, unit, scale = _words(key)
    data = [{"result": one["result"], "time": one["time"], "value": one[key] * scale} for one in samples if key in one]
    chart = drawing.canvas(data).mark_line(strokeWidth=2, point={"size": 18}).encode(
        _time(), alt.Y("value:Q", title=unit, scale=alt.Scale(zero=False)),
        tooltip=drawing.tips(("time", "at"), ("value", unit)),
    )  # fmt: skip
    series = list(dict.fromkeys(one["result"] for one in data))
    return drawing.Plot(f"Conditions: {words}", "What the machine said meanwhile.", drawing.coloured(chart, series))


def _time() -> alt.X:
    import altair as alt

    return alt.X("time:T", title=None, axis=alt.Axis(format="%H:%M:%S", tickCount=5))


def _words(key: str) -> tuple[str, str, float]:
    """What a key of the conditions is called, its unit, and by what it is multiplied to have it."""
    name, _, last = key.rpartition("_")
    unit, scale = _UNITS.get(last, ("", 1.0))
    return (name if unit not in ("", "cores") else key).replace("_", " "), unit, scale
