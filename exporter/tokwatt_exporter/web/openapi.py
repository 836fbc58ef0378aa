"""The queries over HTTP as OpenAPI describes them, out of their own parameters and columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokwatt_exporter import __version__
from tokwatt_exporter.store.params import CELLS
from tokwatt_exporter.store.queries import QUERIES, Param, Query

_LINE = {"text/plain": {"schema": {"type": "string"}}}
_PROBLEM = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_REFUSALS = {
    "400": ("A parameter is missing, unknown or cannot be read; or there would be too many rows.", _PROBLEM),
    "401": ("Who is asking is not known.", _LINE),
    "403": ("Others than this machine could ask, without TLS and authentication.", _PROBLEM),
    "421": ("The Host of the request is not this machine's.", _LINE),
    "429": ("Too many requests.", _LINE),
    "503": ("There is no history, another program holds it, or it took too long.", _PROBLEM | _LINE),
}


def description(prefix: str, max_rows: int) -> dict[str, Any]:
    """The document, for queries at `prefix` that give at most so many rows."""
    problem = {
        "type": "object", "required": ["error"], "additionalProperties": False,
        "properties": {"error": {"type": "string", "description": "One line that says what is wrong."}},
    }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": "tokwatt", "version": __version__, "description": "The history, asked by name; read-only."},
        "paths": {prefix + name: {"get": _operation(name, query, max_rows)} for name, query in QUERIES.items()},
        "components": {
            "schemas": {"Problem": problem},
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"},
                                "bearer": {"type": "http", "scheme": "bearer"}},
        },
        # Asked for only where it is configured.
        "security": [{}, {"basic": []}, {"bearer": []}],
    }  # fmt: skip


def _operation(name: str, query: Query, max_rows: int) -> dict[str, Any]:
    refusals = {status: {"description": why, "content": body} for status, (why, body) in _REFUSALS.items()}
    rows = {"description": query.help, "content": {"application/json": {"schema": _answer(query, max_rows)}}}
    return {
        "operationId": name,
        "summary": query.help,
        "parameters": [_parameter(key, param, max_rows) for key, param in query.params.items()],
        "responses": {"200": rows, **refusals},
    }


def _parameter(key: str, param: Param, max_rows: int) -> dict[str, Any]:
    schema = dict(param.type.schema)
    if schema.get("maximum", 0) > max_rows:
        schema["maximum"] = max_rows
    if param.required and "enum" not in schema:
        # What is empty counts as not given.
        schema["minLength"] = 1
    if isinstance(param.default, int):
        schema["default"] = min(param.default, schema["maximum"])
    return {"name": key, "in": "query", "description": param.help, "required": param.required, "schema": schema}


def _answer(query: Query, max_rows: int) -> Mapping[str, Any]:
    row: dict[str, Any] = {
        "type": "object", "required": [column for column in query.columns if column not in query.optional],
        "additionalProperties": False, "properties": {column: CELLS[cell] for column, cell in query.columns.items()},
    }  # fmt: skip
    return {
        "type": "object", "required": ["columns", "rows"], "additionalProperties": False,
        "properties": {
            "columns": {"type": "array", "items": {"enum": list(query.columns)}, "uniqueItems": True},
            "rows": {"type": "array", "items": row},
        },
    }  # fmt: skip
