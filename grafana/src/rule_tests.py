"""What promtool plays against the rules: each alert when it must fire, and when it must not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rules
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.catalogue import Family

TARGET = {"job": rules.JOB, "instance": "mac:1"}
MODEL = {"engine": "ollama", "model": "qwen"}


def rule_tests() -> dict[str, Any]:
    """The file for `promtool test rules`."""
    return {
        "rule_files": [rules.FILE],
        "evaluation_interval": "30s",
        "tests": [
            power_and_joules_per_token(),
            package_and_devices(),
            idle_engine(),
            scraped_exporter_down(),
            pushing_exporter_down(),
            collector_failing(),
            engine_down(),
            memory_pressure(),
            swapping(),
            store_not_writing(),
            benchmark_regression(),
        ],
    }


def power_and_joules_per_token() -> dict[str, Any]:
    """300 J and 600 tokens in 15 s are 20 W, 40 tokens a second and half a joule a token."""
    return played(
        "watts, tokens per second and joules per token",
        (series(c.ENERGY, device="gpu0"), "0+300x40"),
        (series(c.GENERATION_TOKENS, **MODEL), "0+600x40"),
        checks=[
            value(rules.POWER_BY_DEVICE, {"device": "gpu0"}, 20),
            value(rules.MACHINE_POWER, {}, 20),
            value(rules.GENERATION, MODEL, 40),
            value(rules.JOULES_PER_TOKEN, {}, 0.5),
        ],
    )


def package_and_devices() -> dict[str, Any]:
    """A core is inside the package and a GPU is not: the machine takes at least what the devices take together."""
    return played(
        "the larger of package and devices, and the whole machine where it is measured",
        (series(c.PACKAGE_ENERGY), "0+600x40"),
        (series(c.ENERGY, device="cpu"), "0+300x40"),
        (series(c.PACKAGE_ENERGY, instance="desktop:1"), "0+600x40"),
        (series(c.ENERGY, instance="desktop:1", device="cpu"), "0+300x40"),
        (series(c.ENERGY, instance="desktop:1", device="gpu0"), "0+3000x40"),
        (series(c.SYSTEM_ENERGY, instance="laptop:1"), "0+150x40"),
        (series(c.PACKAGE_ENERGY, instance="laptop:1"), "0+75x40"),
        checks=[
            {
                "expr": rules.MACHINE_POWER,
                "eval_time": "10m",
                "exp_samples": [
                    {"labels": recorded(rules.MACHINE_POWER, {**TARGET, "instance": instance}), "value": watts}
                    for instance, watts in (("desktop:1", 220), ("laptop:1", 10), ("mac:1", 40))
                ],
            }
        ],
    )


def idle_engine() -> dict[str, Any]:
    """No token, no joules per token: neither infinite nor zero."""
    return played(
        "no joules per token while nothing is generated",
        (series(c.ENERGY, device="gpu0"), "0+300x40"),
        (series(c.GENERATION_TOKENS, **MODEL), "600x40"),
        checks=[{"expr": rules.JOULES_PER_TOKEN, "eval_time": "10m", "exp_samples": []}],
    )


def scraped_exporter_down() -> dict[str, Any]:
    """Five minutes of failed scrapes, and one alert for it although the build row is gone as well."""
    down = {**TARGET, "severity": "critical"}
    return played(
        "a scraped exporter that is down",
        (f"up{labels(TARGET)}", "1x240 0x240"),
        (series(c.BUILD_INFO, version="1"), "1x240 _x240"),
        (f'up{{job="{rules.JOB}", instance="fine:1"}}', "1x480"),
        (series(c.BUILD_INFO, instance="fine:1", version="1"), "1x480"),
        alerts=[
            fires("TokwattExporterDown", "60m", []),
            fires("TokwattExporterDown", "64m", []),
            fires("TokwattExporterDown", "67m", [down]),
            fires("TokwattExporterDown", "100m", [down]),
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
        alerts=[fires("TokwattExporterDown", "85m", []), fires("TokwattExporterDown", "102m", [down])],
    )


def collector_failing() -> dict[str, Any]:
    """Ten minutes, and one good run in between starts them anew."""
    failing = {**TARGET, "collector": "nvidia", "severity": "warning"}
    return played(
        "a collector that fails",
        (series(c.COLLECTOR_SUCCESS, collector="nvidia"), "1x4 0x80"),
        (series(c.COLLECTOR_SUCCESS, collector="cpu"), "1x84"),
        (series(c.COLLECTOR_SUCCESS, collector="memory"), "0x30 1x2 0x30"),
        alerts=[
            fires("TokwattCollectorFailing", "10m", []),
            fires("TokwattCollectorFailing", "12m", [failing]),
        ],
    )


def engine_down() -> dict[str, Any]:
    """Five minutes after it stopped answering."""
    down = {**TARGET, "engine": "ollama", "severity": "warning"}
    return played(
        "an engine that is down",
        (series(c.ENGINE_UP, engine="ollama"), "1x8 0x40"),
        (series(c.ENGINE_UP, engine="llama_cpp"), "1x48"),
        alerts=[fires("TokwattEngineDown", "6m", []), fires("TokwattEngineDown", "8m", [down])],
    )


def memory_pressure() -> dict[str, Any]:
    """Critical, not warn, for two minutes."""
    return played(
        "memory pressure",
        *((series(c.MEMORY_PRESSURE, state=state), values) for state, values in (
            ("normal", "1x4 0x40"), ("warn", "0x4 1x8 0x32"), ("critical", "0x4 0x8 1x32"))),
        alerts=[
            fires("TokwattMemoryPressure", "4m", []),
            fires("TokwattMemoryPressure", "6m", [{**TARGET, "severity": "warning"}]),
        ],
    )  # fmt: skip


def swapping() -> dict[str, Any]:
    """100 MB a second is short of memory, 10 MB a second is housekeeping."""
    return played(
        "swapping",
        (series(c.SWAP_OUT), "0+1500e6x60"),
        (series(c.SWAP_OUT, instance="calm:1"), "0+150e6x60"),
        alerts=[
            fires("TokwattMemoryPressure", "1m", []),
            fires("TokwattMemoryPressure", "8m", [{**TARGET, "severity": "warning"}]),
        ],
    )


def store_not_writing() -> dict[str, Any]:
    """The last commit was at second 0, and somebody else's is always a minute ago."""
    return played(
        "a history that is not written",
        (series(c.STORE_LAST_FLUSH), "0x120"),
        (series(c.STORE_LAST_FLUSH, instance="fine:1"), "-60+15x120"),
        alerts=[
            fires("TokwattStoreNotWriting", "14m", []),
            fires("TokwattStoreNotWriting", "16m", [{**TARGET, "severity": "warning"}]),
        ],
    )


def benchmark_regression() -> dict[str, Any]:
    """From 50 to 44 tokens a second is a regression, from 50 to 46 is not."""
    slower = {**TARGET, **MODEL, "scenario": "chat", "severity": "info"}
    return played(
        "a benchmark that got slower",
        (series(c.BENCHMARK_GENERATION_SPEED, **MODEL, scenario="chat"), "50x20 44x20"),
        (series(c.BENCHMARK_GENERATION_SPEED, **MODEL, scenario="long"), "50x20 46x20"),
        alerts=[
            fires("TokwattBenchmarkRegression", "4m", []),
            fires("TokwattBenchmarkRegression", "8m", [slower]),
        ],
    )


def played(
    name: str, *inputs: tuple[str, str], checks: list[dict[str, Any]] | None = None,
    alerts: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One test: series of a value every 15 s, and what comes of them."""
    made: dict[str, Any] = {"name": name, "interval": "15s"}
    made["input_series"] = [{"series": text, "values": values} for text, values in inputs]
    if checks:
        made["promql_expr_test"] = checks
    if alerts:
        made["alert_rule_test"] = alerts
    return made


def series(family: Family, *, instance: str = TARGET["instance"], **own: str) -> str:
    """A series of the family on one machine."""
    if unknown := own.keys() - set(family.labels):
        raise ValueError(f"{family.name} has no label {sorted(unknown)[0]}")
    return family.name + labels({**TARGET, "instance": instance, **own})


def labels(pairs: Mapping[str, str]) -> str:
    """`{a="b", …}`."""
    return "{" + ", ".join(f'{name}="{value}"' for name, value in pairs.items()) + "}"


def recorded(record: str, pairs: Mapping[str, str]) -> str:
    """A series that a recording rule makes."""
    return record + labels(pairs)


def value(record: str, own: Mapping[str, str], expected: float) -> dict[str, Any]:
    """What is recorded after ten minutes, alone."""
    sample = {"labels": recorded(record, {**TARGET, **own}), "value": expected}
    return {"expr": record, "eval_time": "10m", "exp_samples": [sample]}


def fires(name: str, at: str, expected: list[dict[str, str]]) -> dict[str, Any]:
    """The alerts that fire at a time, by their labels; an empty list is none."""
    made: dict[str, Any] = {"eval_time": at, "alertname": name}
    if expected:
        made["exp_alerts"] = [{"exp_labels": pairs, "exp_annotations": filled(name, pairs)} for pairs in expected]
    return made


def filled(name: str, pairs: Mapping[str, str]) -> dict[str, str]:
    """The rule's annotations, filled in as Prometheus does."""
    [rule] = [rule for rule in rules.alerts() if rule["alert"] == name]
    texts = {}
    for key, text in rule["annotations"].items():
        for label, word in pairs.items():
            text = text.replace(f"{{{{ $labels.{label} }}}}", word)
        texts[key] = text.replace("{{ $value | humanizePercentage }}", "88%")
    return texts
