"""Recording and alert rules, and what promtool plays to see that an alert fires when it must and not before."""

from __future__ import annotations

from typing import Any

from promql import RULES, TARGET, by
from tokwatt_exporter import catalogue as c

FILE = "tokwatt.rules.yml"
JOB = "tokwatt"

POWER_BY_DEVICE = f"instance_device:{c.POWER.name}:rate5m"
MACHINE_POWER = f"instance:{c.SYSTEM_POWER.name}:rate5m"
GENERATION = f"instance_engine_model:{c.GENERATION_TOKENS.name.removesuffix('_total')}:rate5m"
JOULES_PER_TOKEN = f"instance:{c.PREFIX}joules_per_token:ratio_rate5m"


def rules() -> dict[str, Any]:
    """The rule file."""
    return {
        "groups": [
            {"name": "tokwatt-recording", "interval": "30s", "rules": recording()},
            {"name": "tokwatt-alerts", "rules": alerts()},
        ]
    }


def recording() -> list[dict[str, str]]:
    """Dear or much-used expressions, evaluated once."""
    return [
        {"record": POWER_BY_DEVICE, "expr": RULES.rate(c.ENERGY)},
        {"record": MACHINE_POWER, "expr": RULES.machine_joules()},
        {"record": GENERATION, "expr": RULES.rate(c.GENERATION_TOKENS)},
        {"record": JOULES_PER_TOKEN, "expr": RULES.joules_per_token()},
    ]


def alerts() -> list[dict[str, Any]]:
    """What somebody should look at."""
    return [
        alert("TokwattExporterDown", exporter_down(), "5m", "critical", "tokwatt on {{ $labels.instance }} is down",
              "It is not scraped, or it no longer pushes. A laptop that sleeps looks the same: give portable ones a "
              "longer `for`, or mute this alert for them."),
        alert("TokwattCollectorFailing", f"{RULES.series(c.COLLECTOR_SUCCESS)} == 0", "10m", "warning",
              "Collector {{ $labels.collector }} on {{ $labels.instance }} fails",
              f"Its metrics are absent meanwhile; {c.COLLECTOR_PROBLEM.name} says why."),
        alert("TokwattEngineDown", f"{RULES.series(c.ENGINE_UP)} == 0", "5m", "warning",
              "Engine {{ $labels.engine }} on {{ $labels.instance }} does not answer",
              "It was seen before or is configured. One that was stopped for good is forgotten by itself."),
        alert("TokwattMemoryPressure", memory_pressure(), "2m", "warning", "Memory of {{ $labels.instance }} is short",
              "Engines get slow by a factor when weights are read back from swap: unload a model."),
        alert("TokwattStoreNotWriting", store_not_writing(), "5m", "warning",
              "The history on {{ $labels.instance }} is not written",
              "The disk is full, or another program holds the file. Samples wait in the journal."),
        alert("TokwattBenchmarkRegression", regression(), None, "info",
              "{{ $labels.model }} on {{ $labels.engine }} ({{ $labels.scenario }}) got slower",
              "Its latest run decodes at {{ $value | humanizePercentage }} of the best of the last 30 days."),
    ]  # fmt: skip


def alert(name: str, expr: str, wait: str | None, severity: str, summary: str, description: str) -> dict[str, Any]:
    """One alert rule."""
    made: dict[str, Any] = {"alert": name, "expr": expr}
    if wait:
        made["for"] = wait
    return made | {
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }


def exporter_down() -> str:
    """A scraped target says so itself; one that pushes is missed an hour long."""
    on = f"on ({', '.join(TARGET)})"
    before = by("max", f"{RULES.series(c.BUILD_INFO)} offset 1h")
    pushed = f"{before} unless {on} {RULES.series(c.BUILD_INFO)} unless {on} up"
    return f'up{{job="{JOB}"}} == 0 or {on} ({pushed})'


def memory_pressure() -> str:
    """What the OS says, or swapping at a rate that nothing survives."""
    critical = RULES.series(c.MEMORY_PRESSURE, 'state="critical"')
    return f"{by('max', f'{critical} == 1')} or {by('max', f'{RULES.rate(c.SWAP_OUT)} > 50e6')}"


def store_not_writing() -> str:
    """The last commit is old; what was not written waits in the journal."""
    return f"time() - {RULES.series(c.STORE_LAST_FLUSH)} > 600"


def regression() -> str:
    """Decode speed as a share of the best of 30 days, where it is below 90 %."""
    speed = RULES.series(c.BENCHMARK_GENERATION_SPEED)
    return f"{speed} / max_over_time({speed}[30d]) < 0.9"
