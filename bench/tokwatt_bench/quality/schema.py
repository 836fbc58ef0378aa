"""JSON Schema, as much of it as the suites' schemas use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TYPES: Mapping[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float),
}  # fmt: skip
#: What is understood; a schema with another word would be half checked.
KEYWORDS = frozenset((
    "type", "enum", "const", "required", "properties", "additionalProperties", "items", "minItems", "maxItems",
    "uniqueItems", "minimum", "maximum", "minLength", "maxLength", "pattern", "description",
))  # fmt: skip


def problem(value: Any, schema: Mapping[str, Any], at: str) -> str | None:
    """The first thing that is wrong, as `at.name[3] is no number`; None for a value that the schema describes."""
    if unknown := schema.keys() - KEYWORDS:
        raise ValueError(f"unknown keyword {sorted(unknown)[0]}")
    if wrong := _wrong(value, schema):
        return f"{at} {wrong}"
    if isinstance(value, dict):
        return _members(value, schema, at)
    if isinstance(value, list):
        found = (problem(item, schema.get("items", {}), f"{at}[{number}]") for number, item in enumerate(value))
        return next(filter(None, found), None)
    return None


def _members(value: Mapping[str, Any], schema: Mapping[str, Any], at: str) -> str | None:
    for name in schema.get("required", ()):
        if name not in value:
            return f"{at} has no {name}"
    properties = schema.get("properties", {})
    if schema.get("additionalProperties") is False and (more := value.keys() - properties.keys()):
        return f"{at} has {sorted(more)[0][:40]!r}, which nobody asked for"
    found = (problem(value[name], known, f"{at}.{name}") for name, known in properties.items() if name in value)
    return next(filter(None, found), None)


def _wrong(value: Any, schema: Mapping[str, Any]) -> str | None:
    if (kind := schema.get("type")) and not _is(value, kind):
        return f"is no {kind}"
    if "const" in schema and not _same(value, schema["const"]):
        return f"is not {schema['const']!r}"
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        return f"is none of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, str):
        return _text(value, schema)
    if isinstance(value, list):
        return _list(value, schema)
    if _is(value, "number"):
        if value < schema.get("minimum", value):
            return f"is less than {schema['minimum']}"
        if value > schema.get("maximum", value):
            return f"is more than {schema['maximum']}"
    return None


def _text(value: str, schema: Mapping[str, Any]) -> str | None:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return f"has {len(value)} characters"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return f"does not match {schema['pattern']}"
    return None


def _list(value: list[Any], schema: Mapping[str, Any]) -> str | None:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return f"has {len(value)} items"
    if schema.get("uniqueItems") and any(_same(one, two) for n, one in enumerate(value) for two in value[:n]):
        return "has an item twice"
    return None


def _is(value: Any, kind: str) -> bool:
    # To Python, true is an integer; to JSON Schema, 1.0 is one.
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, _TYPES[kind])


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_same, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_same(value, two[name]) for name, value in one.items())
    return bool(one == two)
