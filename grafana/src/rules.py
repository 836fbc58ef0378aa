"""Recording and alert rules, and what promtool plays to see that an alert fires when it must and not before."""

from __future__ import annotations

from typing import Any

from promql import HOT, ON_TARGET, RULES, by
from tokwatt_exporter import catalogue as c

FILE = "tokwatt.rules.yml"
JOB = "tokwatt"
#: Relative to this repository: where it is published, this is all there is to change.
RUNBOOKS = "docs/runbooks.md"

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
              "It is not scraped, or it no longer pushes. Machines with a battery are left out: they sleep."),
        alert("TokwattLaptopAway", laptop_away(), "1d", "info", "{{ $labels.instance }} was not seen for a day",
              "It has a battery, so it may be asleep or travelling. After a week it is no longer missed."),
        alert("TokwattCollectorFailing", f"{RULES.series(c.COLLECTOR_SUCCESS)} == 0", "10m", "warning",
              "Collector {{ $labels.collector }} on {{ $labels.instance }} fails",
              f"Its metrics are absent meanwhile; {c.COLLECTOR_PROBLEM.name} says why."),
        alert("TokwattSamplesStale", samples_stale(), "1m", "warning",
              "tokwatt on {{ $labels.instance }} does not sample",
              "What it shows is old, although it answers and no collector failed."),
        alert("TokwattEngineDown", f"{RULES.series(c.ENGINE_UP)} == 0", "5m", "warning",
              "Engine {{ $labels.engine }} on {{ $labels.instance }} does not answer",
              "It was seen before or is configured. One that was stopped for good is forgotten by itself."),
        alert("TokwattRequestsQueued", queued(), "5m", "warning",
              "Requests wait for {{ $labels.engine }} on {{ $labels.instance }}",
              "The queue was never empty for ten minutes: there is more to do than the engine can do."),
        alert("TokwattRequestsFailing", failing(), "5m", "warning",
              "{{ $labels.engine }} on {{ $labels.instance }} fails requests",
              "{{ $value | humanizePercentage }} of the requests of {{ $labels.model }} failed."),
        alert("TokwattThermalPressure", f"{RULES.series(c.THERMAL_STATE, HOT)} == 1", "2m", "warning",
              "{{ $labels.instance }} is under {{ $labels.state }} thermal pressure",
              "The machine slows itself down, so tokens come slower than they could."),
        alert("TokwattMemoryPressure", memory_pressure(), "2m", "warning", "Memory of {{ $labels.instance }} is short",
              "Engines get slow by a factor when weights are read back from swap: unload a model."),
        alert("TokwattStoreNotWriting", store_not_writing(), "5m", "warning",
              "The history on {{ $labels.instance }} is not written",
              "The disk is full, or another program holds the file. Samples wait in the journal."),
        alert("TokwattPushFailing", push_failing(), "5m", "warning",
              "{{ $labels.instance }} cannot push by OTLP",
              "The receiver has accepted nothing for ten minutes. Samples wait in the history; the log says why."),
        alert("TokwattBenchmarkRegression", regression(), None, "info",
              "{{ $labels.model }} on {{ $labels.engine }} ({{ $labels.scenario }}) got slower",
              "Its latest run decodes at {{ $value | humanizePercentage }} of the best of the last 30 days."),
    ]  # fmt: skip


def alert(name: str, expr: str, wait: str | None, severity: str, summary: str, description: str) -> dict[str, Any]:
    """One alert rule."""
    made: dict[str, Any] = {"alert": name, "expr": expr}
    if wait:
        made["for"] = wait
    runbook = f"{RUNBOOKS}#{name.lower()}"
    return made | {
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description, "runbook_url": runbook},
    }


def exporter_down() -> str:
    """A scraped target says so itself; one that pushes is missed an hour long. What has a battery may sleep."""
    before = by("max", f"{RULES.series(c.BUILD_INFO)} offset 1h")
    pushed = f"{before} unless {ON_TARGET} {RULES.series(c.BUILD_INFO)} unless {ON_TARGET} up"
    return f'(up{{job="{JOB}"}} == 0 or {ON_TARGET} ({pushed})) unless {ON_TARGET} {portable()}'


def laptop_away() -> str:
    """Not there, whether it is scraped or pushes."""
    return f"{by('max', portable())} unless {ON_TARGET} {RULES.series(c.BUILD_INFO)}"


def portable() -> str:
    """Machines that had a battery within the week."""
    return f"max_over_time({RULES.series(c.BATTERY_CHARGE)}[7d])"


def samples_stale() -> str:
    """Collectors that fail have an alert of their own; what slept is silent until it samples again."""
    old = f"time() - {RULES.series(c.COLLECTOR_LAST_SUCCESS)} > 300"
    return by("max", f"{old} unless {RULES.series(c.COLLECTOR_SUCCESS)} == 0")


def queued() -> str:
    """Never empty for five minutes, over all models of an engine."""
    return by("sum", f"min_over_time({RULES.series(c.REQUESTS_WAITING)}[5m]) > 0", "engine")


def failing() -> str:
    """More than one request in twenty, as a share."""
    return f"{RULES.rate(c.REQUESTS_FAILED)} / ({RULES.rate(c.REQUESTS)} > 0) > 0.05"


def memory_pressure() -> str:
    """What the OS says, or swapping at a rate that nothing survives."""
    critical = RULES.series(c.MEMORY_PRESSURE, 'state="critical"')
    return f"{by('max', f'{critical} == 1')} or {by('max', f'{RULES.rate(c.SWAP_OUT)} > 50e6')}"


def store_not_writing() -> str:
    """The last commit is old; what was not written waits in the journal."""
    return f"time() - {RULES.series(c.STORE_LAST_FLUSH)} > 600"


def push_failing() -> str:
    """Seen where it is scraped too; a machine that only pushes is down for who looks from there."""
    return f"time() - {RULES.series(c.OTLP_ACKNOWLEDGED)} > 600"


def regression() -> str:
    """Decode speed as a share of the best of 30 days, where it is below 90 %."""
    speed = RULES.series(c.BENCHMARK_GENERATION_SPEED)
    return f"{speed} / max_over_time({speed}[30d]) < 0.9"
