"""The row *Exporter health*: whether what is above it can be believed, and why something is not there."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueTextMode

from panels import NO_DATA, Column, Q, graph, number, sheet, thresholds, timeline
from promql import BOARD, by
from tokwatt_exporter import catalogue as c


def exporter() -> list[Any]:
    """Its panels."""
    return [*collectors(), *freshness()]


def collectors() -> list[Any]:
    """Which of them work, and why others do not."""
    engine = f'label_replace({BOARD.series(c.ENGINE_PROBLEM)}, "collector", "$1", "engine", "(.+)")'
    engine = f'label_replace({engine}, "problem", "engine", "", "")'
    problems = by("max", f"{BOARD.series(c.COLLECTOR_PROBLEM)} or {engine}", "collector", "problem", "reason")
    return [
        timeline(
            "Collectors",
            "Whether each collector's latest run succeeded. One that has nothing to read here is not listed.",
            (
                Q(BOARD.series(c.COLLECTOR_SUCCESS), "{{collector}} {{instance}}"),
                [("failed", "red"), ("fine", "green")],
            ),
            empty=NO_DATA,
        )
        .span(12)
        .height(9),
        sheet(
            "Why something is not there",
            "Collectors without readings and engines that tell less than they could, and what they lack.",
            [Column("", problems, "none")],
            keys=[("instance", "Machine"), ("collector", "Of"), ("problem", "Problem"), ("reason", "Reason")],
            empty="Nothing, where the collectors beside this are fine",
            wide=["Reason"],
        )
        .span(12)
        .height(9),
    ]


def freshness() -> list[Any]:
    """How long reading takes, and how old the newest is."""
    return [
        graph(
            "Duration of collectors",
            "How long each collector's latest run took, on the slowest of the chosen machines. Dashed: the latest "
            "probe of each engine.",
            units.Seconds,
            # Not a line for each machine: a fleet would have thousands of them.
            Q(f"max by (collector) ({BOARD.series(c.COLLECTOR_DURATION)})", "{{collector}}"),
            Q(f"max by (engine) ({BOARD.series(c.ENGINE_PROBE_DURATION)})", "{{engine}}", line=True),
            empty=NO_DATA,
        )
        .span(12)
        .height(7),
        number(
            "Age of the newest",
            "Sample: of the collector that succeeded longest ago. History: the newest row in DuckDB; the journal holds "
            "what came after. OTLP: the newest sample that the receiver has accepted. Orange from five minutes on, "
            "when alerts are near.",
            units.Seconds,
            Q(by("max", f"time() - {BOARD.series(c.COLLECTOR_LAST_SUCCESS)}"), "sample {{instance}}"),
            Q(f"time() - {BOARD.series(c.STORE_LAST_FLUSH)}", "history {{instance}}"),
            Q(f"time() - {BOARD.series(c.OTLP_ACKNOWLEDGED)}", "OTLP {{instance}}"),
            empty=NO_DATA,
            digits=0,
        )
        .thresholds(thresholds((300, "orange")))
        .color_mode(BigValueColorMode.VALUE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME)
        .span(12)
        .height(7),
    ]
