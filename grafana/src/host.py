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

DEVICE, ENGINE = 'device=~"$device"', 'engine=~"$engine"'
TOKENS_PER_SECOND = "suffix: tok/s"
JOULES_PER_KILOWATT_HOUR = "3.6e6"
LOWER_BOUND = (
    "The whole machine where it is measured; elsewhere the larger of the CPU package and the sum of all devices, which "
    "is the least it can be."
)


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
        ("CPU and memory", [*cpu_and_memory(), *pressure()]),
        ("GPU", gpu()),
        ("Clocks and traffic", clocks_and_traffic()),
        ("Exporter health", exporter()),
    )
    return filled(made, rows)


def now() -> list[Any]:
    """The answers."""
    speed = by("sum", BOARD.rate(c.GENERATION_TOKENS, ENGINE))
    return [
        machine().span(5),
        number("Power", LOWER_BOUND, units.Watt, Q(BOARD.machine_joules()), empty=NO_SENSOR, digits=1)
        .span(4)
        .height(4),
        today().span(6).height(4),
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


def today() -> Any:
    """Energy and what it costs."""
    kilowatt_hours = f"({SHOWN.machine_joules('increase')}) / {JOULES_PER_KILOWATT_HOUR}"
    panel = number(
        "Energy and cost today",
        f"Since midnight; cost is energy times the price per kWh above. {LOWER_BOUND}",
        "kwatth",
        Q(kilowatt_hours, "energy {{instance}}"),
        Q(f"({kilowatt_hours}) * $price", "cost {{instance}}", unit=units.Short),
        empty=NO_SENSOR,
        digits=2,
    )
    return panel.time_from("now/d").text_mode(BigValueTextMode.VALUE_AND_NAME)


def power_and_heat() -> list[Any]:
    """Where the energy goes, and how warm it gets."""
    return [
        graph(
            "Power by device",
            "Mean power from the energy counters. Dashed: the whole machine, the CPU package with all its parts, and "
            "what goes into the battery; below zero it drives the machine.",
            units.Watt,
            Q(BOARD.rate(c.ENERGY, DEVICE), "{{device}} {{instance}}"),
            Q(BOARD.rate(c.SYSTEM_ENERGY), "whole machine {{instance}}", line=True),
            Q(BOARD.rate(c.PACKAGE_ENERGY), "CPU package {{instance}}", line=True),
            Q(BOARD.series(c.BATTERY_POWER), "battery {{instance}}", line=True),
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
    ]


def pressure() -> list[Any]:
    """Whether the machine is at its limits."""
    return [
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


def clocks_and_traffic() -> list[Any]:
    """What limits decoding: clocks that fall, and bytes that have to come from somewhere."""
    return [
        graph(
            "Clocks",
            "Mean clock of each CPU cluster and GPU. Dashed: the highest it has.",
            units.Hertz,
            Q(BOARD.series(c.CPU_FREQUENCY), "{{cluster}} {{instance}}"),
            Q(BOARD.series(c.GPU_FREQUENCY, DEVICE), "{{device}} {{instance}}"),
            Q(BOARD.series(c.CPU_FREQUENCY_MAX), "{{cluster}} highest {{instance}}", line=True),
            Q(BOARD.series(c.GPU_FREQUENCY_MAX, DEVICE), "{{device}} highest {{instance}}", line=True),
            empty=NO_SENSOR,
        )
        .span(12)
        .height(7),
        graph(
            "Memory bandwidth and traffic",
            "Bytes read from and written to memory, on chips that count them: decoding reads a model's weights for "
            "every token. Dashed, on the right: disks and network.",
            units.BytesPerSecondSI,
            Q(BOARD.rate(c.DRAM_READ), "memory read {{instance}}"),
            Q(BOARD.rate(c.DRAM_WRITTEN), "memory written {{instance}}"),
            *(
                Q(
                    BOARD.rate(family),
                    f"{{{{device}}}} {what} {{{{instance}}}}",
                    line=True,
                    unit=units.BytesPerSecondIEC,
                )
                for family, what in (
                    (c.DISK_READ, "read"),
                    (c.DISK_WRITTEN, "written"),
                    (c.NETWORK_RECEIVED, "received"),
                    (c.NETWORK_SENT, "sent"),
                )
            ),
            empty=NO_SENSOR,
        )
        .span(12)
        .height(7),
    ]
