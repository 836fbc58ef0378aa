"""The board *Host*: what the machine does, what its engines do, and what a token costs."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BigValueTextMode

from frame import board, filled, label_choice, machine
from health import exporter
from panels import NO_DATA, NO_REPORT, NO_SENSOR, Q, graph, number, states, timeline
from promql import BOARD, SHOWN, by
from tokwatt_exporter import catalogue as c

DEVICE, ENGINE, MODEL = 'device=~"$device"', 'engine=~"$engine"', "{{engine}} {{model}} {{instance}}"
TOKENS_PER_SECOND = "suffix: tok/s"
JOULES_PER_KILOWATT_HOUR = "3.6e6"


def host() -> builders.Dashboard:
    """The board."""
    made = board(
        "tokwatt-host",
        "tokwatt: Host",
        "One machine that runs language models: power, heat, memory, engines "
        "and what a token costs. Choose several machines to compare them.",
        "3h",
    )
    made = made.with_variable(label_choice(c.DEVICE_INFO, "device", "Device"))
    made = made.with_variable(label_choice(c.ENGINE_UP, "engine", "Engine"))
    made = made.with_variable(
        builders.TextBoxVariable("price")
        .label("Price per kWh")
        .default_value("0.30")
        .description("In your currency; Cost today is in the same.")
    )
    rows = (
        ("Now", now()),
        ("Power and heat", power_and_heat()),
        ("CPU and memory", cpu_and_memory()),
        ("GPU", gpu()),
        ("Engines", engines()),
        ("Exporter health", exporter()),
    )
    return filled(made, rows)


def now() -> list[Any]:
    """The answers."""
    lower_bound = (
        "The whole machine where it is measured; elsewhere the larger of the CPU package and the sum of all "
        "devices, which is the least it can be."
    )
    joules = SHOWN.machine_joules("increase")
    kilowatt_hours = f"({joules}) / {JOULES_PER_KILOWATT_HOUR}"
    speed = by("sum", BOARD.rate(c.GENERATION_TOKENS, ENGINE))
    return [
        machine().span(5),
        number("Power", lower_bound, units.Watt, Q(BOARD.machine_joules()), empty=NO_SENSOR, digits=1)
        .span(4)
        .height(4),
        number(
            "Energy and cost today",
            f"Since midnight; cost is energy times the price per kWh above. {lower_bound}",
            "kwatth",
            Q(kilowatt_hours, "energy {{instance}}"),
            Q(f"({kilowatt_hours}) * $price", "cost {{instance}}", unit=units.Short),
            empty=NO_SENSOR,
            digits=2,
        )
        .time_from("now/d")
        .text_mode(BigValueTextMode.VALUE_AND_NAME)
        .span(6)
        .height(4),
        number(
            "Generation",
            "Tokens generated per second, by all engines that count them.",
            TOKENS_PER_SECOND,
            Q(speed),
            empty=NO_REPORT,
            digits=1,
        )
        .span(4)
        .height(4),
        number(
            "Energy per token",
            "Power over generated tokens per second, idle power included. Only there while tokens are generated and "
            "power is measured.",
            units.Joule,
            Q(BOARD.joules_per_token()),
            empty="Nothing is generated now, or no power is measured",
        )
        .span(5)
        .height(4),
    ]


def power_and_heat() -> list[Any]:
    """Where the energy goes, and how warm it gets."""
    return [
        graph(
            "Power by device",
            "Mean power from the energy counters. Dashed: the whole machine, and the CPU package with all its parts.",
            units.Watt,
            Q(BOARD.rate(c.ENERGY, DEVICE), "{{device}} {{instance}}"),
            Q(BOARD.rate(c.SYSTEM_ENERGY), "whole machine {{instance}}", line=True),
            Q(BOARD.rate(c.PACKAGE_ENERGY), "CPU package {{instance}}", line=True),
            empty=NO_SENSOR,
            stack=True,
        )
        .span(12)
        .height(8),
        graph(
            "Temperatures",
            "The hottest sensor of each device. Dashed: where the device slows itself down.",
            units.Celsius,
            Q(by("max", BOARD.series(c.TEMPERATURE, DEVICE), "device"), "{{device}} {{instance}}"),
            Q(
                by("min", BOARD.series(c.TEMPERATURE_LIMIT, DEVICE), "device"),
                "{{device}} limit {{instance}}",
                line=True,
            ),
            empty=NO_SENSOR,
        )
        .span(6)
        .height(8),
        graph(
            "Fans",
            "Speed of each fan. Dashed: its highest.",
            units.RevolutionsPerMinute,
            Q(BOARD.series(c.FAN_SPEED), "{{fan}} {{instance}}"),
            Q(BOARD.series(c.FAN_SPEED_MAX), "{{fan}} highest {{instance}}", line=True),
            empty=NO_SENSOR,
        )
        .span(6)
        .height(8),
    ]


def cpu_and_memory() -> list[Any]:
    """Who is busy, and whether memory is short."""
    busy = f"{BOARD.rate(c.CPU_BUSY)} / {BOARD.series(c.CPU_CORES)}"
    return [
        graph(
            "CPU busy",
            "Share of the cores of each cluster that were not idle.",
            units.PercentUnit,
            Q(busy, "{{cluster}} {{instance}}"),
            empty=NO_DATA,
        )
        .max(1)
        .span(12)
        .height(7),
        graph(
            "Memory",
            "What cannot be handed out, by kind; the kinds are disjoint. Dashed: all there is, and what is "
            "available without swapping.",
            units.BytesIEC,
            Q(BOARD.series(c.MEMORY_USED), "{{kind}} {{instance}}"),
            Q(BOARD.series(c.MEMORY_SIZE), "size {{instance}}", line=True),
            Q(BOARD.series(c.MEMORY_AVAILABLE), "available {{instance}}", line=True),
            empty=NO_DATA,
            stack=True,
        )
        .span(12)
        .height(7),
        timeline(
            "Pressure and power mode",
            "Memory and thermal pressure as the OS sees them, where the power comes from, and the power mode.",
            (
                Q(BOARD.state(c.MEMORY_PRESSURE), "memory {{instance}}"),
                states(c.MEMORY_PRESSURE, "green", "orange", "red"),
            ),
            (
                Q(BOARD.state(c.THERMAL_STATE), "thermal {{instance}}"),
                states(c.THERMAL_STATE, "green", "yellow", "orange", "red"),
            ),
            (Q(BOARD.state(c.POWER_SOURCE), "source {{instance}}"), states(c.POWER_SOURCE, "blue", "yellow")),
            (Q(BOARD.state(c.POWER_MODE), "mode {{instance}}"), states(c.POWER_MODE, "light-blue", "blue", "purple")),
            empty=NO_SENSOR,
        )
        .span(12)
        .height(7),
        graph(
            "Swap",
            "Swap in use, and on the right what is written to it and read back. Reading back is what makes an "
            "engine slow.",
            units.BytesIEC,
            Q(BOARD.series(c.SWAP_USED), "used {{instance}}"),
            Q(BOARD.rate(c.SWAP_OUT), "written {{instance}}", unit=units.BytesPerSecondIEC),
            Q(BOARD.rate(c.SWAP_IN), "read back {{instance}}", unit=units.BytesPerSecondIEC),
            empty=NO_SENSOR,
        )
        .span(12)
        .height(7),
    ]


def gpu() -> list[Any]:
    """Only where there is one."""
    return [
        graph(
            "GPU busy and throttled",
            "Share of the time a GPU was active. Dashed: the share in which it was slowed down, by reason.",
            units.PercentUnit,
            Q(BOARD.rate(c.GPU_BUSY, DEVICE), "{{device}} {{instance}}"),
            Q(BOARD.rate(c.THROTTLED, DEVICE), "{{device}} slowed by {{reason}} {{instance}}", line=True),
            empty=NO_SENSOR,
        )
        .max(1)
        .span(12)
        .height(7),
        graph(
            "GPU memory",
            "In use. Dashed: what there is.",
            units.BytesIEC,
            Q(BOARD.series(c.GPU_MEMORY_USED, DEVICE), "{{device}} {{instance}}"),
            Q(BOARD.series(c.GPU_MEMORY_SIZE, DEVICE), "{{device}} size {{instance}}", line=True),
            empty=NO_SENSOR,
        )
        .span(12)
        .height(7),
    ]


def engines() -> list[Any]:
    """Whether they work; more is on the board of engines."""
    return [
        timeline(
            "Engines",
            "Whether the last probe of each engine succeeded.",
            (Q(BOARD.series(c.ENGINE_UP, ENGINE), "{{engine}} {{instance}}"), [("down", "red"), ("up", "green")]),
            empty="No engine was found",
        )
        .span(12)
        .height(7),
        graph(
            "Tokens",
            "Prompt tokens processed and tokens generated per second, over all of the time.",
            TOKENS_PER_SECOND,
            Q(BOARD.rate(c.GENERATION_TOKENS, ENGINE), f"generated {MODEL}"),
            Q(BOARD.rate(c.PROMPT_TOKENS, ENGINE), f"prompt {MODEL}"),
            empty=NO_REPORT,
        )
        .span(12)
        .height(7),
    ]
