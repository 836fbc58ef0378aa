"""The board *Fleet*: every machine in a row, what all of them take and give, and what is down."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueTextMode

from frame import RED, board, filled
from panels import NO_DATA, NO_REPORT, NO_SENSOR, Column, Q, graph, number, sheet, states, timeline
from promql import BOARD, ON_TARGET, by
from tokwatt_exporter import catalogue as c

THERMAL = ("green", "yellow", "orange", "red")
TOKENS_PER_SECOND = "suffix: tok/s"
ALL = "all machines"
#: Where a machine's name leads; the values of the variables and the shown time go along.
CHOSEN = "${datasource:queryparam}&${job:queryparam}&var-instance=${__data.fields.Machine}&${__url_time_range}"
HOST, ENGINES = f"/d/tokwatt-host?{CHOSEN}", f"/d/tokwatt-engines?{CHOSEN}"

SEEN = by("max", f"max_over_time({BOARD.series(c.BUILD_INFO)}[$__range])")
HERE = by("max", BOARD.series(c.BUILD_INFO))
#: A machine and its chip; one row each, also where a name was given to another machine.
MACHINES = f"topk by (job, instance) (1, {by('max', f'max_over_time({BOARD.series(c.HOST_INFO)}[$__range])', 'chip')})"


def fleet() -> builders.Dashboard:
    """The board."""
    made = board(
        "tokwatt-fleet",
        "tokwatt: Fleet",
        "All machines that run language models: which are up, what they do, what they take. Choose a machine in the "
        "table to see it on its own.",
        "1h",
    )
    return filled(made, (("Now", now()), ("Machines", machines()), ("Course", [*course(), *state()])))


def now() -> list[Any]:
    """The answers, and what is down."""
    return [present().span(4).height(5), *totals(), what_is_down().span(8).height(5)]


def present() -> Any:
    """How many there are, and how many are none."""
    panel = number(
        "Machines",
        "Machines that are there now, and those of the shown time that are not. Red: machines that are a demo, "
        "nothing of them was measured.",
        units.Short,
        Q(f"count({HERE})", "up"),
        Q(f"count({SEEN}) - (count({HERE}) or vector(0))", "down"),
        Q(f"count({by('max', BOARD.series(c.DEMO_INFO))})", "DEMO"),
        empty=NO_DATA,
        digits=0,
    )
    panel = panel.override_by_query("C", [RED]).color_mode(BigValueColorMode.VALUE)
    return panel.text_mode(BigValueTextMode.VALUE_AND_NAME)


def totals() -> list[Any]:
    """What all of them take and give."""
    tokens = by("sum", BOARD.rate(c.GENERATION_TOKENS))
    generating = f"({BOARD.machine_joules()}) and {ON_TARGET} ({tokens} > 0)"
    measured = f"({tokens} > 0) and {ON_TARGET} ({BOARD.machine_joules()})"
    return [
        number(
            "Power",
            "Of all machines that measure it; where the whole machine is not measured, the least it can be.",
            units.Watt,
            Q(f"sum({BOARD.machine_joules()})", ALL),
            empty=NO_SENSOR,
            digits=0,
        )
        .span(4)
        .height(5),
        number(
            "Generation",
            "Tokens generated per second, by all engines that count them.",
            TOKENS_PER_SECOND,
            Q(f"sum({BOARD.rate(c.GENERATION_TOKENS)})", ALL),
            empty=NO_REPORT,
            digits=1,
        )
        .span(4)
        .height(5),
        number(
            "Energy per token",
            "Power over tokens per second, of the machines that generate now and measure their power.",
            units.Joule,
            Q(f"sum({generating}) / sum({measured})", ALL),
            empty="Nothing is generated now, or no power is measured",
        )
        .span(4)
        .height(5),
    ]


def what_is_down() -> Any:
    """Machines, engines and collectors that should be looked after."""
    down = (
        by("max", f"{SEEN} unless {ON_TARGET} {HERE}"),
        by("max", f"{BOARD.series(c.ENGINE_UP)} == 0", "engine"),
        by("max", f"{BOARD.series(c.COLLECTOR_SUCCESS)} == 0", "collector"),
    )
    return sheet(
        "What is down",
        "Machines that were there in the shown time and are not now, engines that do not answer, collectors that "
        "fail. A machine alone in its row is down as a whole.",
        [Column("", " or ".join(down), "none")],
        keys=[("instance", "Machine"), ("engine", "Engine"), ("collector", "Collector")],
        empty="Nothing is down where machines are listed",
        links={"Machine": ("Show this machine", HOST)},
    )


def machines() -> list[Any]:
    """One row each."""
    used = f"{by('sum', BOARD.series(c.MEMORY_USED))} / {ON_TARGET} {BOARD.series(c.MEMORY_SIZE)}"
    columns = (
        Column("State", f"{HERE} or {ON_TARGET} 0 * {SEEN}", "none", [("down", "red"), ("up", "green")]),
        Column("Power", BOARD.machine_joules(), units.Watt),
        Column("GPU busy", by("max", BOARD.rate(c.GPU_BUSY)), units.PercentUnit),
        Column("Memory used", used, units.PercentUnit),
        Column("Memory", BOARD.series(c.MEMORY_SIZE), units.BytesIEC),
        Column("Thermal", BOARD.state(c.THERMAL_STATE), "none", states(c.THERMAL_STATE, *THERMAL)),
        Column("Models", by("sum", BOARD.series(c.ENGINE_MODELS_LOADED)), units.Short),
        Column("Generation", by("sum", BOARD.rate(c.GENERATION_TOKENS)), TOKENS_PER_SECOND),
        Column("Waiting", by("sum", BOARD.series(c.REQUESTS_WAITING)), units.Short),
        Column("Battery", BOARD.series(c.BATTERY_CHARGE), units.PercentUnit),
    )
    return [
        sheet(
            "All machines",
            "What was there in the shown time. 'Memory used' is what cannot be handed out, 'Waiting' the requests that "
            "are queued, 'Battery' its charge. A machine's name leads to its own board.",
            [column._replace(expr=by("max", in_row(column.expr), "chip")) for column in columns],
            keys=[("instance", "Machine"), ("chip", "Chip")],
            empty=NO_DATA,
            links={"Machine": ("Show this machine", HOST), "Models": ("Show its engines", ENGINES)},
            wide=["Chip"],
        )
        .span(24)
        .height(9),
    ]


def in_row(value: str) -> str:
    """The value in the row of its machine; NaN where it is not known, or its column would vanish."""
    return f"({value}) * {ON_TARGET} group_left (chip) {MACHINES} or {ON_TARGET} NaN * {MACHINES}"


def course() -> list[Any]:
    """Everybody, over time."""
    return [
        graph(
            "Power of machines",
            "Mean power of each machine, stacked; where the whole machine is not measured, the least it can be.",
            units.Watt,
            Q(BOARD.machine_joules()),
            empty=NO_SENSOR,
            stack=True,
        )
        .span(8)
        .height(8),
        graph(
            "Generation by machine",
            "Tokens generated per second by each machine's engines, stacked.",
            TOKENS_PER_SECOND,
            Q(by("sum", BOARD.rate(c.GENERATION_TOKENS))),
            empty=NO_REPORT,
            stack=True,
        )
        .span(8)
        .height(8),
        graph(
            "Energy per token by machine",
            "All energy of a machine over all its tokens, while it generates.",
            units.Joule,
            Q(BOARD.joules_per_token()),
            empty="Nothing is generated, or no power is measured",
        )
        .span(8)
        .height(8),
    ]


def state() -> list[Any]:
    """Whether any of them is at its limit."""
    return [
        graph(
            "GPU busy",
            "The busiest GPU of each machine.",
            units.PercentUnit,
            Q(by("max", BOARD.rate(c.GPU_BUSY))),
            empty=NO_SENSOR,
        )
        .max(1)
        .span(8)
        .height(8),
        graph(
            "Requests that wait",
            "Requests queued on each machine. Dashed: those that run.",
            units.Short,
            Q(by("sum", BOARD.series(c.REQUESTS_WAITING)), "waiting {{instance}}"),
            Q(by("sum", BOARD.series(c.REQUESTS_RUNNING)), "running {{instance}}", line=True),
            empty=NO_REPORT,
        )
        .span(8)
        .height(8),
        timeline(
            "Thermal pressure",
            "As the OS of each machine sees it.",
            (Q(BOARD.state(c.THERMAL_STATE)), states(c.THERMAL_STATE, *THERMAL)),
            empty=NO_SENSOR,
        )
        .span(8)
        .height(8),
    ]
