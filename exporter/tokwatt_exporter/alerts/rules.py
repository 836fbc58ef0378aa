"""The alert rules: read from the file that is also given to Prometheus, the only place where they are defined."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from tokwatt_exporter import parse
from tokwatt_exporter.alerts.promql import Node, Selector, Unsupported, read, selectors
from tokwatt_exporter.errors import UsageError

NAME = "tokwatt.rules.yml"
_MOST_BYTES = 2**20
_TEMPLATE = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_LABEL = re.compile(r"\$labels\.(\w+)")


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule; it fires when its expression gave something for `wait_ms`."""

    name: str
    tree: Node
    wait_ms: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def selectors(self) -> list[Selector]:
        """What it asks the history for."""
        return list(selectors(self.tree))

    def said(self, labels: Mapping[str, str], value: float) -> dict[str, str]:
        """Its annotations about these series."""
        return {name: filled(text, labels, value) for name, text in self.annotations.items()}


class Rules(NamedTuple):
    """The alerts that can be judged, and a line for each that cannot."""

    alerts: tuple[Rule, ...]
    left_out: tuple[str, ...]


def load(path: Path | None = None) -> Rules:
    """The rules of a file, or the shipped ones; `UsageError` where it is no file of rules."""
    import yaml

    where = str(path or NAME)
    try:
        text = path.read_text() if path else shipped()
        groups = yaml.safe_load(text)["groups"] if len(text) <= _MOST_BYTES else ()
        written = [rule for group in groups for rule in group["rules"] if "alert" in rule]
        alerts, left_out = [], []
        for one in written:
            try:
                alerts.append(_rule(one))
            except Unsupported as error:
                left_out.append(f"{one['alert']} is not watched: {error}")
    except OSError as error:
        raise UsageError(f"--rules: {where}: {error.strerror}") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, yaml.YAMLError):
        raise UsageError(f"--rules: {where} is no file of alert rules as Prometheus has them") from None
    return Rules(tuple(alerts), tuple(left_out))


def shipped() -> str:
    """The text of the rules that come with tokwatt: in the package, or in the checkout that it runs from."""
    packed = resources.files(__package__).joinpath(NAME)
    if packed.is_file():
        return packed.read_text()
    return (Path(__file__).parents[3] / "grafana/rules" / NAME).read_text()


def _rule(one: Mapping[str, Any]) -> Rule:
    wait = one.get("for")
    texts = {part: {str(k): str(v) for k, v in (one.get(part) or {}).items()} for part in ("labels", "annotations")}
    for text in (*texts["labels"].values(), *texts["annotations"].values()):
        for inside in _TEMPLATE.findall(text):
            _filled(inside, {}, 0.0)
    return Rule(
        str(one["alert"]), read(str(one["expr"])), round(parse.duration(wait) * 1000) if wait else 0,
        texts["labels"], texts["annotations"],
    )  # fmt: skip


def filled(text: str, labels: Mapping[str, str], value: float) -> str:
    """An annotation with its templates filled in."""
    return _TEMPLATE.sub(lambda match: _filled(match[1], labels, value), text)


def _filled(inside: str, labels: Mapping[str, str], value: float) -> str:
    if label := _LABEL.fullmatch(inside):
        return labels.get(label[1], "")
    if inside == "$value":
        return f"{value:g}"
    if re.fullmatch(r"\$value\s*\|\s*humanizePercentage", inside):
        return f"{value * 100:.4g}%"
    raise Unsupported(f"the template {inside!r} is not filled in here")
