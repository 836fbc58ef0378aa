"""What an engine's own `/metrics` says, under our names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from prometheus_client.parser import text_string_to_metric_families

from tokwatt_exporter.engines.answers import number

#: Lines of interest beyond this many are not an engine's metrics any more.
MAX_LINES = 200


def samples(body: bytes, names: Iterable[str]) -> Mapping[str, float]:
    """The wanted samples without labels, by name; what is not a finite number of at least 0 is absent."""
    wanted = set(names)
    lines = [line for line in _text(body).splitlines() if _name(line) in wanted][:MAX_LINES]
    found: dict[str, float] = {}
    for line in lines:
        # Line by line, so that one that cannot be read costs only itself.
        try:
            samples = [sample for family in text_string_to_metric_families(line) for sample in family.samples]
        except (ValueError, TypeError, IndexError, KeyError):
            continue
        for sample in samples:
            value = number(float(sample.value))
            if value is not None and not sample.labels:
                found[sample.name] = value
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
