"""Reading answers: JSON where it was asked for, who wants a key, and counters that belong to the whole engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokwatt_exporter.catalogue import Gauge
from tokwatt_exporter.engines.base import Answer
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.snapshot import Reading

#: For what changes rarely, such as a version or what lies on disk; the monitor forgets it when the process changes.
STEADY_SECONDS = 60.0
#: The same where the engine searches its disk for the answer.
SEARCH_SECONDS = 300.0


def refused(answer: Answer) -> bool:
    """Whether the engine wants a key, or another one."""
    return answer.status in (401, 403)


def content(answer: Answer) -> Any:
    """The JSON of an answer with HTTP 200; `EngineError` for any other."""
    if answer.status != 200:
        raise EngineError(f"answered with HTTP {answer.status}")
    return answer.json()


def optional(answer: Answer) -> Any:
    """The JSON of an answer with HTTP 200, or None."""
    try:
        return content(answer)
    except EngineError:
        return None


def engine_wide(engine: str, values: Iterable[tuple[Gauge, float | None]]) -> tuple[Reading, ...]:
    """Readings of an engine that does not tell its models apart: they have no `model` label. None is left out."""
    return tuple(Reading(family, (("engine", engine),), value) for family, value in values if value is not None)
