"""A report as one page of HTML that needs nothing else: no network, no file beside it."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

from tokwatt_bench.explain import BY_NAME
from tokwatt_bench.report.charts import plots
from tokwatt_bench.report.drawing import Plot, colours
from tokwatt_bench.report.limits import MOST_RESULTS
from tokwatt_bench.report.rows import Result, Row, absent, facts, names, rows, shown, shown_unit, tail, title, warnings
from tokwatt_exporter.errors import UsageError

if TYPE_CHECKING:
    from tokwatt_bench.measured import Measured

#: What stands on top, where there is a single result.
_TILES = (
    "generation_tokens_per_second", "time_to_first_token_seconds", "inter_token_latency_seconds",
    "prompt_tokens_per_second", "energy_per_token_joules", "throughput.generation_tokens_per_second",
)  # fmt: skip


def page(measured: Sequence[Measured]) -> str:
    """The page; `ModuleNotFoundError` where the extra `report` is not installed, `UsageError` for too many results."""
    results = [one.result for one in measured]
    if len(results) > MOST_RESULTS:
        raise UsageError(
            f"{len(results)} results are too many for a page; name {MOST_RESULTS} or fewer, as with last=20"
        )
    drawn = plots(measured)
    template = Template(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    one = results[0] if len(results) == 1 else None
    heading = title(one) if one else f"{len(results)} benchmark results"
    parts = [
        _tiles(one) if one else _comparison(results), _plots(drawn, names(results)), "<h2>Results</h2>",
        *(_result(name, result, len(results) < 4) for name, result in zip(names(results), results, strict=True)),
        _definitions(results),
    ]  # fmt: skip
    return template.substitute(
        title=escape(f"{heading}: tokwatt"), heading=escape(heading), subtitle=escape(_subtitle(measured)),
        body="\n".join(parts), plots=_embedded([plot.chart for plot in drawn]), library=_library(),
        footer=f"Made by tokwatt-bench {escape(results[0]['tool_version'])}. Everything is in this file; it asks no "
        "network. Drag in a chart to move it, Ctrl and wheel to zoom, double click to go back.",
    )  # fmt: skip


@functools.cache
def _library() -> str:
    # It takes two seconds.
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed")


def _subtitle(measured: Sequence[Measured]) -> str:
    times = sorted(str(request["started"]) for one in measured for request in one.requests if request.get("started"))
    when = [f"measured {times[0][:16].replace('T', ' ')} UTC"] if times else []
    requests = sum(one.result["runs"] for one in measured)
    failed = sum(one.result["failed"] for one in measured)
    return ", ".join([*when, f"{requests} requests", f"{failed} failed" if failed else "none failed"])


def _embedded(data: Any) -> str:
    # A model may be called `</script>`.
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def _tiles(result: Result) -> str:
    known = {row.metric.name: row for row in rows(result) if row.p50 is not None}
    tiles = [_tile(known[name]) for name in _TILES if name in known]
    return f'<div class="tiles">{"".join(tiles[:5])}</div>' if tiles else ""


def _tile(row: Row) -> str:
    p50, interval, *_, unit = shown(row)
    below = f"95 % between {interval.replace(' to ', ' and ')}" if interval else "no interval"
    return (
        f'<div class="tile"><small>{escape(row.metric.title)}</small><b>{p50} <small>{escape(unit)}</small></b>'
        f"<small>{below}</small></div>"
    )


def _comparison(results: Sequence[Result]) -> str:
    """A row a figure, a column a result: median and interval."""
    found = [{row.metric.name: row for row in rows(result)} for result in results]
    some = [name for name in BY_NAME if any(name in one and one[name].p50 is not None for one in found)]
    heads = "".join(f'<th class="n">{escape(name)}</th>' for name in names(results))
    lines = [
        f"<tr><td>{_linked(BY_NAME[name])}, {escape(shown_unit(BY_NAME[name])[1])}</td>"
        + "".join(_cell(one.get(name)) for one in found) + "</tr>"
        for name in some
    ]  # fmt: skip
    return (
        '<h2>Side by side</h2><div class="box scroll"><p class="soft">Median, and the interval that holds it with '
        "95 %. Whether a difference is more than chance says <code>tokwatt-bench compare</code>.</p>"
        f"<table><tr><th>figure</th>{heads}</tr>{''.join(lines)}</table></div>"
    )


def _cell(row: Row | None) -> str:
    if row is None or row.p50 is None:
        return f'<td class="n soft" title="{escape(row.why if row else "not measured")}">&ndash;</td>'
    p50, interval, *_ = shown(row)
    return f'<td class="n">{_with(p50, interval)}</td>'


def _plots(drawn: Sequence[Plot], series: Sequence[str]) -> str:
    cards, missing = [], []
    for number, plot in enumerate(drawn):
        if plot.chart is None:
            missing.append(f"<li>{escape(plot.title)}: {escape(plot.why)}</li>")
        else:
            cards.append(
                f'<section class="plot"><h3>{escape(plot.title)}</h3><p class="soft">{escape(plot.text)}</p>'
                f'<div class="draw" id="plot-{number}"></div></section>'
            )
    absent = f'<div class="soft absent">Not drawn:<ul>{"".join(missing)}</ul></div>' if missing else ""
    return f'<h2>Charts</h2>{_legend(series)}<div class="plots">{"".join(cards)}</div>{absent}'


def _legend(series: Sequence[str]) -> str:
    """One for all charts; a click singles a result out."""
    if len(series) < 2:
        return ""
    chips = (
        f'<button type="button" aria-pressed="false" data-result="{escape(name)}">'
        f'<i style="background:{colour}"></i>{escape(name)}</button>'
        for name, colour in zip(series, colours(len(series)), strict=True)
    )
    return f'<div class="legend" id="legend">{"".join(chips)}</div>'


def _result(name: str, result: Result, opened: bool) -> str:
    shown_facts = "".join(f"<div><span>{escape(key)}</span> {escape(text)}</div>" for key, text in facts(result))
    return (
        f'<details class="box"{" open" if opened else ""}><summary>{escape(name)}</summary>{_failures(result)}'
        f'<div class="facts">{shown_facts}</div>'
        f'<div class="scroll"><table><tr><th>figure</th><th class="n">median</th><th class="n">95 % interval</th>'
        f'<th class="n">p95</th><th class="n">p99</th><th class="n">max</th><th class="n">of</th><th>unit</th></tr>'
        f"{''.join(_lines(rows(result)))}</table></div>{_remarks(result)}</details>"
    )


def _lines(found: Sequence[Row]) -> Iterator[str]:
    # What the same reason keeps away is one line.
    for why, some in itertools.groupby(found, lambda row: row.why):
        if why:
            linked = "<br>".join(_linked(row.metric) for row in some)
            yield f'<tr><td>{linked}</td><td colspan="7" class="why">none: {escape(why)}</td></tr>'
        else:
            yield from map(_line, some)


def _line(row: Row) -> str:
    p50, interval, p95, p99, *others, unit = shown(row)
    numbers = [p50, interval, _with(p95, tail(row, "p95")), _with(p99, tail(row, "p99")), *others]
    cells = "".join(f'<td class="n">{number}</td>' for number in numbers)
    return f"<tr><td>{_linked(row.metric)}</td>{cells}<td>{escape(unit)}</td></tr>"


def _with(number: str, interval: str) -> str:
    return f"{number}<br><small class=soft>{interval}</small>" if interval else number


def _failures(result: Result) -> str:
    lines = "".join(
        f'<li class="bad">{failure["count"]} of {result["runs"]} requests failed ({escape(failure["class"])}): '
        f"{escape(str(failure['detail']))}</li>"
        for failure in result["failures"]
    )
    lines += "".join(f'<li class="bad">{escape(warning)}</li>' for warning in warnings(result))
    return f"<ul>{lines}</ul>" if lines else ""


def _remarks(result: Result) -> str:
    shown = {row.metric.name for row in rows(result)}
    lines = [escape(note) for note in result["notes"]]
    lines += [f"no {escape(name)}: {escape(why)}" for name, why in absent(result).items() if name not in shown]
    return f'<ul class="soft">{"".join(f"<li>{line}</li>" for line in lines)}</ul>' if lines else ""


def _linked(metric: Any) -> str:
    return f'<a href="#{escape(metric.name)}">{escape(metric.title)}</a>'


def _definitions(results: Iterable[Result]) -> str:
    there = {row.metric.name for result in results for row in rows(result)}
    terms = "".join(
        f'<dt id="{escape(m.name)}">{escape(m.title)} <code>{escape(m.name)}</code></dt><dd>{_prose(m.definition)} '
        f'<span class="soft">None when: {_prose(m.null)}.</span></dd>'
        for name, m in BY_NAME.items() if name in there
    )  # fmt: skip
    return f'<h2>What the figures mean</h2><div class="box"><dl>{terms}</dl></div>'


def _prose(text: str) -> str:
    """Text with the few signs of Markdown that definitions have."""
    parts = escape(text).split("`")
    coded = "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
    return "".join(f"<b>{p}</b>" if place % 2 else p for place, p in enumerate(coded.split("**")))
