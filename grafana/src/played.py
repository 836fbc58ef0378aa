"""How a test of rules is written down for promtool: series, what is recorded of them, which alerts fire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rules
from tokwatt_exporter.catalogue import Family

TARGET = {"job": rules.JOB, "instance": "mac:1"}


def played(
    name: str, *inputs: tuple[str, str], checks: list[dict[str, Any]] | None = None,
    alerts: list[dict[str, Any]] | None = None, interval: str = "15s",
) -> dict[str, Any]:  # fmt: skip
    """One test: series of a value every `interval`, and what comes of them."""
    made: dict[str, Any] = {"name": name, "interval": interval}
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


def fires(name: str, at: str, expected: list[dict[str, str]], share: str = "") -> dict[str, Any]:
    """The alerts that fire at a time, by their labels; an empty list is none. `share` is their value in percent."""
    made: dict[str, Any] = {"eval_time": at, "alertname": name}
    if expected:
        made["exp_alerts"] = [
            {"exp_labels": pairs, "exp_annotations": filled(name, pairs, share)} for pairs in expected
        ]
    return made


def filled(name: str, pairs: Mapping[str, str], share: str) -> dict[str, str]:
    """The rule's annotations, filled in as Prometheus does."""
    [rule] = [rule for rule in rules.alerts() if rule["alert"] == name]
    texts = {}
    for key, text in rule["annotations"].items():
        for label, word in pairs.items():
            text = text.replace(f"{{{{ $labels.{label} }}}}", word)
        texts[key] = text.replace("{{ $value | humanizePercentage }}", share)
    return texts
