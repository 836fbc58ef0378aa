"""What an engine's own `/metrics` says, under our names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from prometheus_client.parser import text_string_to_metric_families

from tokwatt_exporter.engines.answers import number
from tokwatt_exporter.errors import EngineError

#: Lines of interest beyond this many are not an engine's metrics any more.
MAX_LINES = 2000


def samples(body: bytes, names: Iterable[str]) -> Mapping[str, float]:
    """The wanted samples without labels, by name. Not a number, infinite and negative values are absent.

    `EngineError` where the body cannot be read.
    """
    wanted = set(names)
    lines = [line for line in _text(body).splitlines() if _name(line) in wanted][:MAX_LINES]
    found: dict[str, float] = {}
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                value = number(float(sample.value))
                if value is not None and not sample.labels:
                    found[sample.name] = value
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise EngineError(f"has a /metrics that cannot be read ({type(error).__name__})") from None
    return found


def _text(body: bytes) -> str:
    text = body.decode("utf-8", errors="replace")
    if not text.startswith('"'):
        return text
    # llama.cpp b7010 to b7100 sent the text as one JSON string.
    try:
        unquoted = json.loads(text)
    except ValueError:
        return text
    return unquoted if isinstance(unquoted, str) else text


def _name(line: str) -> str:
    return line.partition(" ")[0].partition("{")[0]
