"""Whether a value has the shape that a schema of ours asks for; no more of JSON Schema than those schemas use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES: Mapping[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
    "number": (int, float),
}  # fmt: skip


def problem(value: Any, schema: Mapping[str, Any], at: str, defs: Mapping[str, Any] | None = None) -> str | None:
    """The first thing that is wrong, as `at.name[3] is no number`; None for a value of that shape."""
    defs = schema.get("$defs", {}) if defs is None else defs
    if "$ref" in schema:
        return problem(value, defs[schema["$ref"].rpartition("/")[2]], at, defs)
    if wrong := _wrong(value, schema):
        return f"{at} {wrong}"
    if isinstance(value, dict):
        return _members(value, schema, at, defs)
    if isinstance(value, list) and "items" in schema:
        found = (problem(item, schema["items"], f"{at}[{number}]", defs) for number, item in enumerate(value))
        return next(filter(None, found), None)
    return None


def _members(value: Mapping[str, Any], schema: Mapping[str, Any], at: str, defs: Mapping[str, Any]) -> str | None:
    for name in schema.get("required", ()):
        if name not in value:
            return f"{at} has no {name}"
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    found = (problem(one, properties.get(name, others), f"{at}.{name[:40]}", defs) for name, one in value.items())
    return next(filter(None, found), None)


def _wrong(value: Any, schema: Mapping[str, Any]) -> str | None:
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return f"is no {' or '.join(kinds)}"
    if "const" in schema and value != schema["const"]:
        return f"is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        return f"is none of {', '.join(map(str, schema['enum']))}"
    if "minimum" in schema and isinstance(value, int | float) and value < schema["minimum"]:
        return f"is less than {schema['minimum']}"
    if isinstance(value, list) and not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return f"has {len(value)} items"
    return None


def _is(value: Any, kind: str) -> bool:
    # To Python, true is an integer.
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
