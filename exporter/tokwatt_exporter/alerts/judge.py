"""Which alerts are pending and firing, and what changes from one look to the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from tokwatt_exporter.alerts.evaluate import Labels, NotEvaluated, Source, evaluate
from tokwatt_exporter.alerts.rules import Rule, filled

Status = Literal["firing", "resolved"]
Key = tuple[str, Labels]


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule about one set of series: since when it is true, and since when it fires (None while it is pending)."""

    name: str
    labels: Labels
    annotations: tuple[tuple[str, str], ...]
    value: float
    since_ms: int
    fired_ms: int | None = None
    resolved_ms: int | None = None

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.name, self.labels

    @property
    def summary(self) -> str:
        """Its first annotation for people."""
        return dict(self.annotations).get("summary", self.name)

    def as_json(self) -> dict[str, Any]:
        """As it is kept and printed; times are Unix milliseconds."""
        return {
            "alert": self.name, "state": "pending" if self.fired_ms is None else "firing", "labels": dict(self.labels),
            "annotations": dict(self.annotations), "value": self.value, "since_ms": self.since_ms,
            "fired_ms": self.fired_ms, "resolved_ms": self.resolved_ms,
        }  # fmt: skip

    @classmethod
    def of_json(cls, kept: Any) -> Alert:
        """What `as_json` gave; `ValueError` for anything else."""
        try:
            labels, annotations = (
                tuple(sorted((str(name), str(text)) for name, text in kept[part].items()))
                for part in ("labels", "annotations")
            )
            fired, resolved = (None if kept[part] is None else int(kept[part]) for part in ("fired_ms", "resolved_ms"))
            return cls(
                str(kept["alert"]), labels, annotations, float(kept["value"]), int(kept["since_ms"]), fired, resolved
            )  # fmt: skip
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError("not an alert") from error


class Change(NamedTuple):
    """An alert that begins to fire, or ends."""

    status: Status
    alert: Alert


class Judge:
    """Keeps the alerts from look to look."""

    def __init__(self, rules: Sequence[Rule], alerts: Iterable[Alert] = ()) -> None:
        names = {rule.name for rule in rules}
        self._rules = rules
        # What is no rule any more is neither true nor over.
        self.alerts = {alert.key: alert for alert in alerts if alert.name in names}
        self.problems: dict[str, str] = {}

    def skip(self, time_ms: int) -> None:
        """Time in which nobody looked, as when the machine slept: it is no time in which anything was true."""
        self.alerts = {
            key: alert if alert.fired_ms is not None else replace(alert, since_ms=alert.since_ms + time_ms)
            for key, alert in self.alerts.items()
        }

    def look(self, time_ms: int, source: Source) -> list[Change]:
        """What has changed since the look before. A rule that cannot be evaluated now leaves its alerts as they are."""
        changes: list[Change] = []
        for rule in self._rules:
            try:
                found = evaluate(rule.tree, time_ms, source)
            except NotEvaluated as error:
                self.problems[rule.name] = str(error)
                continue
            self.problems.pop(rule.name, None)
            true = {alert.key: alert for alert in (_alert(rule, labels, value, time_ms)
                                                   for labels, value in found.items())}  # fmt: skip
            changes += self._update(rule, true, time_ms)
        return changes

    def _update(self, rule: Rule, true: dict[Key, Alert], time_ms: int) -> Iterable[Change]:
        for key in [key for key in self.alerts if key[0] == rule.name and key not in true]:
            gone = self.alerts.pop(key)
            if gone.fired_ms is not None:
                yield Change("resolved", replace(gone, resolved_ms=time_ms))
        for key, alert in true.items():
            before = self.alerts.get(key)
            since = before.since_ms if before else time_ms
            fired = before.fired_ms if before else None
            fires = fired is None and time_ms - since >= rule.wait_ms
            self.alerts[key] = replace(alert, since_ms=since, fired_ms=time_ms if fires else fired)
            if fires:
                yield Change("firing", self.alerts[key])


def _alert(rule: Rule, labels: Labels, value: float, time_ms: int) -> Alert:
    names = dict(labels)
    own = {name: filled(text, names, value) for name, text in rule.labels.items()}
    return Alert(
        rule.name, tuple(sorted((names | own).items())), tuple(sorted(rule.said(names, value).items())), value, time_ms
    )
