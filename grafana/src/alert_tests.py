"""Each alert as promtool plays it: silent at first, firing when it must, and silent again when all is well."""

from __future__ import annotations

from typing import Any

import rules
from played import TARGET, fires, labels, played, series
from tokwatt_exporter import catalogue as c

MODEL = {"engine": "ollama", "model": "qwen"}


def alert_tests() -> list[dict[str, Any]]:
    """All of them."""
    return [
        scraped_exporter_down(),
        pushing_exporter_down(),
        collector_failing(),
        samples_stale(),
        engine_down(),
        requests_queued(),
        requests_failing(),
        thermal_pressure(),
        memory_pressure(),
        swapping(),
        store_not_writing(),
        push_failing(),
        benchmark_regression(),
    ]


def scraped_exporter_down() -> dict[str, Any]:
    """Five minutes of failed scrapes, and one alert for it although the build row is gone as well."""
    down = {**TARGET, "severity": "critical"}
    return played(
        "a scraped exporter that is down",
        (f"up{labels(TARGET)}", "1x240 0x240 1x40"),
        (series(c.BUILD_INFO, version="1"), "1x240 _x240 1x40"),
        (f'up{{job="{rules.JOB}", instance="fine:1"}}', "1x520"),
        (series(c.BUILD_INFO, instance="fine:1", version="1"), "1x520"),
        alerts=[
            fires("TokwattExporterDown", "60m", []),
            fires("TokwattExporterDown", "64m", []),
            fires("TokwattExporterDown", "67m", [down]),
            fires("TokwattExporterDown", "100m", [down]),
            fires("TokwattExporterDown", "128m", []),
        ],
    )


def pushing_exporter_down() -> dict[str, Any]:
    """There is no `up`; what is missed is what was there an hour ago. One that is updated is not missed."""
    down = {**TARGET, "severity": "critical"}
    return played(
        "a pushing exporter that is down",
        (series(c.BUILD_INFO, version="1"), "1x360 _x360"),
        (series(c.BUILD_INFO, instance="updated:1", version="1"), "1x360 _x360"),
        (series(c.BUILD_INFO, instance="updated:1", version="2"), "_x360 1x360"),
        alerts=[
            fires("TokwattExporterDown", "85m", []),
            fires("TokwattExporterDown", "102m", [down]),
            fires("TokwattExporterDown", "170m", []),
        ],
    )


def collector_failing() -> dict[str, Any]:
    """Ten minutes, and one good run in between starts them anew."""
    failing = {**TARGET, "collector": "nvidia", "severity": "warning"}
    return played(
        "a collector that fails",
        (series(c.COLLECTOR_SUCCESS, collector="nvidia"), "1x4 0x80 1x20"),
        (series(c.COLLECTOR_SUCCESS, collector="cpu"), "1x84"),
        (series(c.COLLECTOR_SUCCESS, collector="memory"), "0x30 1x2 0x30"),
        alerts=[
            fires("TokwattCollectorFailing", "10m", []),
            fires("TokwattCollectorFailing", "12m", [failing]),
            fires("TokwattCollectorFailing", "24m", []),
        ],
    )


def engine_down() -> dict[str, Any]:
    """Five minutes after it stopped answering."""
    down = {**TARGET, "engine": "ollama", "severity": "warning"}
    return played(
        "an engine that is down",
        (series(c.ENGINE_UP, engine="ollama"), "1x8 0x40 1x20"),
        (series(c.ENGINE_UP, engine="llama_cpp"), "1x68"),
        alerts=[
            fires("TokwattEngineDown", "6m", []),
            fires("TokwattEngineDown", "8m", [down]),
            fires("TokwattEngineDown", "15m", []),
        ],
    )


def memory_pressure() -> dict[str, Any]:
    """Critical, not warn, for two minutes."""
    return played(
        "memory pressure",
        *((series(c.MEMORY_PRESSURE, state=state), values) for state, values in (
            ("normal", "1x4 0x40 1x20"), ("warn", "0x4 1x8 0x32"), ("critical", "0x4 0x8 1x32 0x20"))),
        alerts=[
            fires("TokwattMemoryPressure", "4m", []),
            fires("TokwattMemoryPressure", "6m", [{**TARGET, "severity": "warning"}]),
            fires("TokwattMemoryPressure", "14m", []),
        ],
    )  # fmt: skip


def swapping() -> dict[str, Any]:
    """100 MB a second is short of memory, 10 MB a second is housekeeping."""
    return played(
        "swapping",
        (series(c.SWAP_OUT), "0+1500e6x60 90e9x40"),
        (series(c.SWAP_OUT, instance="calm:1"), "0+150e6x60"),
        alerts=[
            fires("TokwattMemoryPressure", "1m", []),
            fires("TokwattMemoryPressure", "8m", [{**TARGET, "severity": "warning"}]),
            fires("TokwattMemoryPressure", "22m", []),
        ],
    )


def store_not_writing() -> dict[str, Any]:
    """The last commit was at second 0, and somebody else's is always a minute ago."""
    return played(
        "a history that is not written",
        (series(c.STORE_LAST_FLUSH), "0x120 1800+15x40"),
        (series(c.STORE_LAST_FLUSH, instance="fine:1"), "-60+15x120"),
        alerts=[
            fires("TokwattStoreNotWriting", "14m", []),
            fires("TokwattStoreNotWriting", "16m", [{**TARGET, "severity": "warning"}]),
            fires("TokwattStoreNotWriting", "34m", []),
        ],
    )


def benchmark_regression() -> dict[str, Any]:
    """From 50 to 44 tokens a second is a regression, from 50 to 46 is not."""
    slower = {**TARGET, **MODEL, "scenario": "chat", "severity": "info"}
    return played(
        "a benchmark that got slower",
        (series(c.BENCHMARK_GENERATION_SPEED, **MODEL, scenario="chat"), "50x20 44x20 50x20"),
        (series(c.BENCHMARK_GENERATION_SPEED, **MODEL, scenario="long"), "50x20 46x20"),
        alerts=[
            fires("TokwattBenchmarkRegression", "4m", []),
            fires("TokwattBenchmarkRegression", "8m", [slower], "88%"),
            fires("TokwattBenchmarkRegression", "12m", []),
        ],
    )


def sleeping_laptop() -> dict[str, Any]:
    """A night's sleep is nobody's business, a day away is worth a line, and a week later it is forgotten."""
    laptop = {**TARGET, "instance": "laptop:1"}
    away = {**laptop, "severity": "info"}
    return played(
        "a laptop that sleeps",
        (f"up{labels(laptop)}", "1x60 0x3600"),
        (series(c.BUILD_INFO, instance="laptop:1", version="1"), "1x60 _x3600"),
        (series(c.BATTERY_CHARGE, instance="laptop:1"), "0.8x60 _x3600"),
        interval="5m",
        alerts=[
            fires("TokwattExporterDown", "8h", []),
            fires("TokwattExporterDown", "100h", []),
            fires("TokwattLaptopAway", "20h", []),
            fires("TokwattLaptopAway", "30h", [away]),
            fires("TokwattLaptopAway", "180h", []),
        ],
    )


def samples_stale() -> dict[str, Any]:
    """A page that stands still; not a collector that fails, nor one that sampled again."""
    last, works = c.COLLECTOR_LAST_SUCCESS, c.COLLECTOR_SUCCESS
    return played(
        "samples that are old",
        (series(last, collector="cpu"), "0x60 900+15x60"),
        (series(works, collector="cpu"), "1x120"),
        (series(last, instance="failing:1", collector="fan"), "0x120"),
        (series(works, instance="failing:1", collector="fan"), "0x120"),
        (series(last, instance="fine:1", collector="cpu"), "0+15x120"),
        (series(works, instance="fine:1", collector="cpu"), "1x120"),
        alerts=[
            fires("TokwattSamplesStale", "5m", []),
            fires("TokwattSamplesStale", "8m", [{**TARGET, "severity": "warning"}]),
            fires("TokwattSamplesStale", "18m", []),
        ],
    )


def requests_queued() -> dict[str, Any]:
    """A queue that never empties; one that does is what queues are for."""
    engine = {"engine": MODEL["engine"]}
    return played(
        "requests that wait",
        (series(c.REQUESTS_WAITING, **MODEL), "3x60 0x40"),
        (series(c.REQUESTS_WAITING, instance="fine:1", **MODEL), "3x8 0x1 3x8 0x1 3x8 0x1 3x8 0x1 3x8 0x60"),
        alerts=[
            fires("TokwattRequestsQueued", "4m", []),
            fires("TokwattRequestsQueued", "11m", [{**TARGET, **engine, "severity": "warning"}]),
            fires("TokwattRequestsQueued", "20m", []),
        ],
    )


def requests_failing() -> dict[str, Any]:
    """One in ten is too much, one in a hundred happens, and none of none is nothing."""
    failed = {**TARGET, **MODEL, "severity": "warning"}
    return played(
        "requests that fail",
        (series(c.REQUESTS, **MODEL), "0+10x100"),
        (series(c.REQUESTS_FAILED, **MODEL), "0+1x60 60x40"),
        (series(c.REQUESTS, instance="fine:1", **MODEL), "0+100x100"),
        (series(c.REQUESTS_FAILED, instance="fine:1", **MODEL), "0+1x100"),
        (series(c.REQUESTS, instance="idle:1", **MODEL), "7x100"),
        (series(c.REQUESTS_FAILED, instance="idle:1", **MODEL), "7x100"),
        alerts=[
            fires("TokwattRequestsFailing", "4m", []),
            fires("TokwattRequestsFailing", "12m", [failed], "10%"),
            fires("TokwattRequestsFailing", "24m", []),
        ],
    )


def thermal_pressure() -> dict[str, Any]:
    """Serious for two minutes; fair is what fans are for."""
    hot = {**TARGET, "state": "serious", "severity": "warning"}
    return played(
        "thermal pressure",
        (series(c.THERMAL_STATE, state="fair"), "1x8 0x32 1x20"),
        (series(c.THERMAL_STATE, state="serious"), "0x8 1x32 0x20"),
        alerts=[
            fires("TokwattThermalPressure", "3m", []),
            fires("TokwattThermalPressure", "6m", [hot]),
            fires("TokwattThermalPressure", "12m", []),
        ],
    )


def push_failing() -> dict[str, Any]:
    """The receiver accepted the last sample at second 0, and is back after half an hour."""
    return played(
        "a receiver that accepts nothing",
        (series(c.OTLP_ACKNOWLEDGED), "0x120 1800+15x40"),
        (series(c.OTLP_ACKNOWLEDGED, instance="fine:1"), "0+15x160"),
        alerts=[
            fires("TokwattPushFailing", "14m", []),
            fires("TokwattPushFailing", "17m", [{**TARGET, "severity": "warning"}]),
            fires("TokwattPushFailing", "34m", []),
        ],
    )
