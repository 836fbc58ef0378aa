"""A card to share: one result on 1200 by 630 pixels, as SVG, and as PNG where `vl_convert` is installed."""

from __future__ import annotations

from importlib import resources
from string import Template
from xml.sax.saxutils import escape

from tokwatt_bench.explain import BY_NAME
from tokwatt_bench.report.rows import Result, Row, hardware, load, rows, shown

WIDTH, HEIGHT = 1200, 630
#: The big figure, and those below it.
MAIN = "generation_tokens_per_second"
BELOW = (
    "time_to_first_token_seconds", "inter_token_latency_seconds", "prompt_tokens_per_second", "energy_per_token_joules",
)  # fmt: skip
DASH = "\N{EN DASH}"
_FONT = "Inter, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


def svg(result: Result) -> str:
    """The card; a figure that is not known has a dash, and a name that is too long its beginning."""
    found = {row.metric.name: row for row in rows(result)}
    template = Template(resources.files(__package__).joinpath("card.svg").read_text(encoding="utf-8"))
    main = found[MAIN]
    big, unit, interval = _figure(main)
    version = f" {result['version']}" if result.get("version") else ""
    good = result["runs"] - result["failed"]
    said = f"{good} of {result['runs']} requests" if result["failed"] else f"{result['runs']} requests"
    return template.substitute(
        width=WIDTH, height=HEIGHT, font=_FONT, model=_text(result["model"], 34),
        engine=_text(f"{result['engine']}{version}", 60), hardware=_text(hardware(result), 70),
        big=escape(big), unit=escape(unit), below=_text(_below(main, interval, result), 90),
        tiles="".join(_tile(place, name, found.get(name)) for place, name in enumerate(BELOW)),
        runs=_text(f"{said}, {load(result)}, scenario {result['scenario']}", 80),
        tool=_text(result["tool_version"], 20),
    )  # fmt: skip


def _below(main: Row, interval: str, result: Result) -> str:
    if main.p50 is None:
        return f"no {main.metric.title}: {main.why}"
    why = result["reasons"].get(f"{MAIN}.ci95", "not known")
    return f"{main.metric.title}, {_between(interval) or f'no interval: {why}'}"


def _between(interval: str) -> str:
    return f"95 % between {interval.replace(' to ', ' and ')}" if interval else ""


def png(result: Result) -> bytes:
    """The card in pixels; `ModuleNotFoundError` where the extra `report` is not installed."""
    import vl_convert

    return bytes(vl_convert.svg_to_png(svg(result), scale=1.0))


def _figure(row: Row | None) -> tuple[str, str, str]:
    if row is None or row.p50 is None:
        return DASH, "", ""
    p50, interval, *_, unit = shown(row)
    return p50, unit, interval


def _tile(place: int, name: str, row: Row | None) -> str:
    value, unit, interval = _figure(row)
    left = 64 + place * 272
    return (
        f'<text x="{left}" y="452" class="soft" font-size="21">{escape(BY_NAME[name].title)}</text>'
        f'<text x="{left}" y="500" class="text" font-size="40" font-weight="700">{escape(value)}'
        f'<tspan font-size="21" font-weight="400" dx="8" class="soft">{escape(unit)}</tspan></text>'
        f'<text x="{left}" y="532" class="soft" font-size="17">{escape(interval)}</text>'
    )


def _text(text: str, longest: int) -> str:
    text = " ".join(text.split())
    return escape(text if len(text) <= longest else text[: longest - 1] + "…")
