"""The board *Benchmarks*: what was measured last, how it was before, and what failed."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueTextMode

from frame import board, filled, label_choice, machines
from panels import NO_DATA, Column, Q, graph, known_or_nan, mapping, number, sheet, thresholds
from promql import BOARD, SHOWN, by
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.catalogue import Gauge

KEYS = ("engine", "model", "scenario")
CHOSEN = tuple(f'{key}=~"${key}"' for key in KEYS)
SERIES = "{{engine}} {{model}} {{scenario}} {{instance}}"
TOKENS_PER_SECOND = "suffix: tok/s"
NAMED = BigValueTextMode.VALUE_AND_NAME
NO_RESULT = "No results yet: tokwatt-bench run makes some"
NO_ENERGY = "Not known: no energy counter, or no results yet"


def benchmarks() -> builders.Dashboard:
    """The board."""
    made = board(
        "tokwatt-benchmarks",
        "tokwatt: Benchmarks",
        "Results of tokwatt-bench, the latest of each engine, model and scenario, and their course.",
        "30d",
    )
    for key, title in zip(KEYS, ("Engine", "Model", "Scenario"), strict=True):
        # What is chosen first narrows what can be chosen next.
        made = made.with_variable(label_choice(c.BENCHMARK_LAST_RUN, key, title, *CHOSEN[: KEYS.index(key)]))
    rows = (("Latest", latest()), ("Speed", speed()), ("Energy, memory and failures", cost()))
    return filled(made, rows)


def of(family: Gauge) -> str:
    """The series that are chosen."""
    return BOARD.series(family, *CHOSEN)


def latest() -> list[Any]:
    """What to compare engines by, and whether one is being measured now."""
    return [*best(), *running(), machines().span(6), results().span(24).height(9)]


def best() -> list[Any]:
    """The winners."""
    return [
        number(
            "Fastest decode",
            "The engine, model and scenario with the most tokens per second in its latest run.",
            TOKENS_PER_SECOND,
            Q(f"topk(1, {of(c.BENCHMARK_GENERATION_SPEED)})", SERIES),
            empty=NO_RESULT,
        )
        .text_mode(NAMED)
        .span(6)
        .height(4),
        number(
            "Least energy per token",
            "The engine, model and scenario that needs the least in its latest run, idle power subtracted.",
            units.Joule,
            Q(f"bottomk(1, {of(c.BENCHMARK_ENERGY_PER_TOKEN)})", SERIES),
            empty=NO_ENERGY,
        )
        .text_mode(NAMED)
        .span(6)
        .height(4),
    ]


def running() -> list[Any]:
    """Whether one runs now, and what went wrong."""
    return [
        number(
            "Running now",
            "Whether a benchmark is running: load and power are synthetic meanwhile.",
            "none",
            Q(BOARD.series(c.BENCHMARK_RUNNING)),
            empty=NO_DATA,
        )
        .mappings([mapping([("no", "text"), ("running", "purple")])])
        .color_mode(BigValueColorMode.VALUE)
        .span(3)
        .height(4),
        number(
            "Failed runs",
            "Runs in the shown time in which every request failed. Red from the first on. What happened before the "
            "exporter first saw an engine, model and scenario is not counted.",
            units.Short,
            Q(by("sum", SHOWN.increase(c.BENCHMARK_RUNS_FAILED, *CHOSEN))),
            empty=NO_RESULT,
            digits=0,
        )
        .thresholds(thresholds((1, "red")))
        .color_mode(BigValueColorMode.VALUE)
        .span(3)
        .height(4),
    ]


def results() -> Any:
    """The newest of each, side by side."""
    decode = of(c.BENCHMARK_GENERATION_SPEED)
    fastest = f"max_over_time({SHOWN.series(c.BENCHMARK_GENERATION_SPEED, *CHOSEN)}[$__range])"
    columns = (
        ("Decode", decode, TOKENS_PER_SECOND),
        ("Of its best", f"{decode} / {fastest}", units.PercentUnit),
        ("Prefill", of(c.BENCHMARK_PROMPT_SPEED), TOKENS_PER_SECOND),
        ("TTFT median", of(c.BENCHMARK_TTFT_MEDIAN), units.Seconds),
        ("TTFT 95th", of(c.BENCHMARK_TTFT_P95), units.Seconds),
        ("Energy/token", of(c.BENCHMARK_ENERGY_PER_TOKEN), units.Joule),
        ("Peak memory", of(c.BENCHMARK_PEAK_MEMORY), units.BytesIEC),
        ("Finished", f"{of(c.BENCHMARK_LAST_RUN)} * 1000", units.DateTimeFromNow),
    )
    rows = of(c.BENCHMARK_LAST_RUN)
    keys = [(key, key.capitalize()) for key in KEYS] + [("instance", "Machine")]
    return sheet(
        "Latest results",
        "The newest run of each engine, model and scenario. 'Of its best' compares its decode speed "
        "with the fastest run in the shown time.",
        [Column(title, by("max", known_or_nan(expr, rows, *KEYS), *KEYS), unit) for title, expr, unit in columns],
        keys=keys,
        empty=NO_RESULT,
        wide=["Model"],
    )


def speed() -> list[Any]:
    """How fast, over time; a step is a new run."""
    return [
        graph(
            "Decode",
            "Median tokens per second after the first token.",
            TOKENS_PER_SECOND,
            Q(of(c.BENCHMARK_GENERATION_SPEED), SERIES),
            empty=NO_RESULT,
        )
        .span(8)
        .height(9),
        graph(
            "Prefill",
            "Median prompt tokens per second, cached ones left out.",
            TOKENS_PER_SECOND,
            Q(of(c.BENCHMARK_PROMPT_SPEED), SERIES),
            empty=NO_RESULT,
        )
        .span(8)
        .height(9),
        graph(
            "Time to first token",
            "Median as the client sees it. Dashed: 95th percentile.",
            units.Seconds,
            Q(of(c.BENCHMARK_TTFT_MEDIAN), f"median {SERIES}"),
            Q(of(c.BENCHMARK_TTFT_P95), f"95th {SERIES}", line=True),
            empty=NO_RESULT,
        )
        .span(8)
        .height(9),
    ]


def cost() -> list[Any]:
    """What a token costs, and what went wrong."""
    return [
        graph(
            "Energy per token",
            "Joules per generated token, idle power subtracted.",
            units.Joule,
            Q(of(c.BENCHMARK_ENERGY_PER_TOKEN), SERIES),
            empty=NO_ENERGY,
        )
        .span(8)
        .height(9),
        graph(
            "Peak memory",
            "Highest memory of the engine during the run.",
            units.BytesIEC,
            Q(of(c.BENCHMARK_PEAK_MEMORY), SERIES),
            empty=NO_RESULT,
        )
        .span(8)
        .height(9),
        graph(
            "Runs",
            "Runs that finished, and those of them in which every request failed, per interval of the graph.",
            units.Short,
            Q(BOARD.increase(c.BENCHMARK_RUNS, *CHOSEN), f"finished {SERIES}"),
            Q(BOARD.increase(c.BENCHMARK_RUNS_FAILED, *CHOSEN), f"failed {SERIES}"),
            empty=NO_RESULT,
        )
        .span(8)
        .height(9),
    ]
