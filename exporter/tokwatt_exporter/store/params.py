"""The types of what a query takes and gives: how the text or value of a caller is read, and how JSON Schema says it."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tokwatt_exporter import parse
from tokwatt_exporter.catalogue import SERIES, Family

_DURATION = r"([1-9][0-9]*(\.[0-9]+)?(ms|[smhdwy]))+"
_ISO = (
    r"(197[1-9]|19[89][0-9]|2[0-9]{3})-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    r"|02-(0[1-9]|1[0-9]|2[0-8]))"
    r"([T ]([01][0-9]|2[0-3])(:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?"
)
#: A Unix time: seconds, or milliseconds where there are that many digits.
_UNIX = r"[0-9]{1,14}(\.[0-9]+)?"


@dataclass(frozen=True, slots=True)
class Type:
    """How a value is read, with `ValueError` for the rest of a sentence where it cannot be; and its JSON Schema."""

    convert: Callable[[Any], Any]
    schema: Mapping[str, Any]


def near(word: str, known: Iterable[str]) -> str:
    """The rest of a sentence that says what may have been meant; empty where nothing is like it."""
    found = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {found[0]}?" if found else ""


def metric(raw: Any) -> Family:
    """What has series of this name."""
    family = SERIES.get(str(raw))
    if family is None:
        raise ValueError(f"there is no metric {str(raw)[:80]}{near(str(raw)[:80], SERIES)}")
    return family


def label_pairs(raw: Any) -> dict[str, str]:
    """`NAME=VALUE` texts, or a mapping."""
    if isinstance(raw, Mapping):
        return {str(name): str(value) for name, value in raw.items()}
    pairs: dict[str, str] = {}
    for text in [raw] if isinstance(raw, str) else raw:
        name, equals, value = str(text).partition("=")
        if not equals or not name:
            raise ValueError(f"{text!r} is not NAME=VALUE")
        if pairs.setdefault(name, value) != value:
            raise ValueError(f"{name} is given twice")
    return pairs


def time_ms(raw: Any) -> int:
    """Milliseconds of a duration before now, an ISO 8601 time (UTC unless it says so), or a Unix time."""
    if isinstance(raw, datetime):
        when = raw
    elif isinstance(raw, int | float) or re.fullmatch(r"\d+(\.\d+)?", str(raw).strip()):
        number = float(raw)
        # Grafana speaks in milliseconds, people in seconds; the first hundred billion ms ended in March 1973.
        return _in_range(number * (1 if abs(number) >= 1e11 else 1000), raw)
    else:
        text = str(raw).strip()
        try:
            # Longer ago than 1970 is from the beginning on.
            return round(max(0.0, time.time() - parse.duration(text)) * 1000)
        except ValueError:
            pass
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is neither a duration like 10m nor a time like 2026-01-31T12:00") from None
    return _in_range((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000, raw)


def _in_range(time_ms: float, raw: Any) -> int:
    if not 0 <= time_ms < 253_402_300_800_000:
        raise ValueError(f"{str(raw)[:40]!r} is not a time between 1970 and 9999")
    return round(time_ms)


def _step_ms(raw: Any) -> int:
    seconds = float(raw) if isinstance(raw, int | float) else parse.duration(raw)
    if not 0.001 <= seconds < 1e9:
        raise ValueError(f"{str(raw)[:40]!r} is not a step between 1ms and thirty years")
    return round(seconds * 1000)


def count(most: int) -> Type:
    """A whole number from 1 to `most`."""

    def convert(raw: Any) -> int:
        text = str(raw).strip()
        if not text.isdecimal() or not 1 <= int(text[:12]) <= most:
            raise ValueError(f"{text[:20]!r} is not a number from 1 to {most}")
        return int(text)

    return Type(convert, {"type": "integer", "minimum": 1, "maximum": most})


def _text(raw: Any) -> str:
    if not isinstance(raw, str) or len(raw) > 1000:
        raise ValueError("is not a text of at most 1000 characters")
    return raw


METRIC = Type(metric, {"type": "string", "enum": sorted(SERIES)})
LABELS = Type(label_pairs, {"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}})
TIME = Type(
    time_ms, {"type": "string", "pattern": f"^({_DURATION}|{_ISO}|{_UNIX})$", "examples": ["1h", "2026-01-31T12:00Z"]}
)
STEP = Type(_step_ms, {"type": "string", "pattern": "^[1-9][0-9]{0,3}(ms|[smhd])$", "examples": ["1m"]})
TEXT = Type(_text, {"type": "string", "maxLength": 1000})

#: What a cell of an answer can be, by the name that `queries` gives it; what is not known is null.
CELLS: dict[str, Mapping[str, Any]] = {
    "time": {"type": ["string", "null"], "format": "date-time"},
    "text": {"type": ["string", "null"]},
    "number": {"type": ["number", "null"]},
    "integer": {"type": ["integer", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    "integers": {"type": ["array", "null"], "items": {"type": "integer"}},
    "json": {},
}
