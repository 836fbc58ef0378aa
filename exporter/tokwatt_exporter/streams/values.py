"""Values of a stream: each is a stranger's until it has passed one of these, and None or 0 where it is not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokwatt_exporter.engines.answers import mapping

#: Where engines put what they generated before the answer. mlx-vlm fills two of them with the same text.
REASONING = ("reasoning_content", "reasoning", "thinking")


def count(value: object) -> int | None:
    """A number of tokens."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def positive(value: object) -> float | None:
    """A number above zero: a time of 0 was not measured."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 < value < 1e18 else None  # type: ignore[arg-type, operator]


def thousandth(value: object) -> float | None:
    """Seconds of milliseconds."""
    found = positive(value)
    return found / 1e3 if found else None


def billionth(value: object) -> float | None:
    """Seconds of nanoseconds."""
    found = positive(value)
    return found / 1e9 if found else None


def first(*values: int | None) -> int | None:
    """The first that is there."""
    return next((value for value in values if value is not None), None)


def length(value: object) -> int:
    """Characters of generated text; content can be in parts, and arguments an object (Ollama)."""
    if isinstance(value, str):
        return len(value)
    return len(json.dumps(value)) if isinstance(value, list | dict) and value else 0


def reasoned(delta: Mapping[str, Any]) -> int:
    """Characters of reasoning; the same text under two names is one."""
    texts: list[object] = []
    for name in REASONING:
        if (text := delta.get(name)) and text not in texts:
            texts.append(text)
    return sum(map(length, texts))


def tools(delta: Mapping[str, Any]) -> int:
    """Characters of tool calls: name and arguments are generated too."""
    calls, function = delta.get("tool_calls"), delta.get("function_call")
    if not calls and not function:
        return 0
    functions = [mapping(mapping(call).get("function")) for call in calls] if isinstance(calls, list) else []
    functions.append(mapping(function))
    return sum(length(function.get("name")) + length(function.get("arguments")) for function in functions)
