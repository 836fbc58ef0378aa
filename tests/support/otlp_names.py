"""What Prometheus, Mimir, VictoriaMetrics and the Collector call a metric that comes in by OTLP.

The naming rules that `prometheus/otlptranslator` implements and all of them share, in its four strategies.
"""

from __future__ import annotations

import re
from enum import Enum, StrEnum

UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "m": "meters", "V": "volts", "A": "amperes",
    "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius", "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
PER_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}


class Type(StrEnum):
    """What decides the suffix: only a monotonic sum is a counter, only a gauge can be a ratio."""

    GAUGE = "gauge"
    MONOTONIC_SUM = "monotonic sum"
    OTHER_SUM = "other sum"
    HISTOGRAM = "histogram"


class Strategy(Enum):
    """`otlp.translation_strategy` of Prometheus; values: whether other characters are escaped, suffixes added."""

    UnderscoreEscapingWithSuffixes = (True, True)
    UnderscoreEscapingWithoutSuffixes = (True, False)
    NoUTF8EscapingWithSuffixes = (False, True)
    NoTranslation = (False, False)


def translate(name: str, unit: str, kind: Type, strategy: Strategy) -> str:
    """The name a receiver with this strategy stores."""
    escape, suffixes = strategy.value
    if not suffixes:
        return _not_a_digit("_".join(re.findall("[a-zA-Z0-9:_]+", name))) if escape else name
    return _from_tokens(name, unit, kind) if escape else _from_text(name, unit, kind)


def _suffix(unit: str, kind: Type) -> str:
    if kind is Type.MONOTONIC_SUM:
        return "total"
    return "ratio" if unit == "1" and kind is Type.GAUGE else ""


def _unit(unit: str) -> tuple[str, str]:
    """What is said of the unit, and of what it is per; words in braces say nothing."""
    main, _, per = (part.strip() for part in unit.partition("/"))
    main, per = ("" if {"{", "}"} & set(part) else part for part in (main, per))
    return UNITS.get(main, main), f"per_{PER_UNITS.get(per, per)}" if per else ""


def _from_tokens(name: str, unit: str, kind: Type) -> str:
    tokens = re.findall("[a-zA-Z0-9:]+", name)
    for part in _unit(unit):
        part = re.sub("[^a-zA-Z0-9:]+", "_", part).strip("_")
        # "per_second" is never a token, so a name that says it already gets it twice.
        if part and part not in tokens:
            tokens.append(part)
    if suffix := _suffix(unit, kind):
        tokens = [*(token for token in tokens if token != suffix), suffix]
    return _not_a_digit("_".join(tokens))


def _from_text(name: str, unit: str, kind: Type) -> str:
    suffix, (main, per) = _suffix(unit, kind), _unit(unit)
    for end in filter(None, (suffix, per)):
        name = name[: -len(end) - 1] if name.endswith(end) and len(name) > len(end) + 1 else name
    if main and not name.endswith(main):
        name = f"{name}_{main}"
    return "_".join(filter(None, (name, per, suffix)))


def _not_a_digit(name: str) -> str:
    return f"_{name}" if name[:1].isdigit() else name
