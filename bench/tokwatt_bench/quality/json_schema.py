"""`json_schema`: facts of a text as JSON of a given form. What is valid and made up is wrong, too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tokwatt_bench.quality.base import Item, Options, Suite, differing, fenced
from tokwatt_bench.quality.schema import problem
from tokwatt_bench.quality.text import Said
from tokwatt_bench.scenarios.base import asked

_RULE = "Answer with one JSON value that this JSON Schema describes, and with nothing else: no explanation."


class _Task(NamedTuple):
    name: str
    text: str
    schema: Mapping[str, Any]
    #: What the text says for certain.
    facts: Mapping[str, Any]


def _object(**properties: Any) -> Mapping[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: Mapping[str, Any], **more: Any) -> Mapping[str, Any]:
    return {"type": "array", "items": items, **more}


_TEXT, _WHOLE, _NUMBER, _YES = {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}
_DATE = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}

TASKS = (
    _Task("order", "Please send 12 boxes of nails and 3 saws to Mrs Okafor in Leeds. She wants it by express.",
          _object(city=_TEXT, express=_YES, boxes_of_nails=_WHOLE, saws={**_WHOLE, "minimum": 0}),
          {"city": "Leeds", "express": True, "boxes_of_nails": 12, "saws": 3}),
    _Task("date", "The boiler was last checked on the third of March 2024, the next check is due two years later.",
          _object(last_check=_DATE, next_check=_DATE), {"last_check": "2024-03-03", "next_check": "2026-03-03"}),
    _Task("reading", "Meter 00417, taken at noon: 8,214.6 kWh. It is an electricity meter.",
          _object(meter={"type": "string", "pattern": r"^\d{5}$"}, kwh=_NUMBER, kind={"enum": ["electricity", "gas"]}),
          {"meter": "00417", "kwh": 8214.6, "kind": "electricity"}),
    _Task("null", "Visitor: Tomasz Nowak. He did not leave a telephone number. He stayed for 45 minutes.",
          _object(name=_TEXT, telephone={"enum": [None]}, minutes=_WHOLE),
          {"name": "Tomasz Nowak", "telephone": None, "minutes": 45}),
    _Task("urgency", "Smoke comes out of the cellar! Everybody is outside, but two bicycles are still in there.",
          _object(urgency={"type": "string", "enum": ["low", "normal", "high"]}, bicycles={**_WHOLE, "minimum": 0}),
          {"urgency": "high", "bicycles": 2}),
    _Task("list", "On the shelf stand, from left to right: a globe, a lamp, two dictionaries and a clock.",
          _object(counts_from_left_to_right=_list({**_WHOLE, "minimum": 1}, minItems=4, maxItems=4)),
          {"counts_from_left_to_right": [1, 1, 2, 1]}),
    _Task("nested", "Room 204 is on the second floor and has two windows, 120 by 140 and 90 by 140 centimetres.",
          _object(room=_object(number=_WHOLE, floor=_WHOLE),
                  windows=_list(_object(width=_WHOLE, height=_WHOLE), minItems=2, maxItems=2)),
          {"room": {"number": 204, "floor": 2},
           "windows": [{"width": 120, "height": 140}, {"width": 90, "height": 140}]}),
    _Task("escapes", 'The sign says exactly: Please "knock" \\ ring twice',
          _object(text=_TEXT, words={**_WHOLE, "minimum": 1}), {"text": 'Please "knock" \\ ring twice'}),
    _Task("umlauts", "Größe 42, Farbe grün, für Frau Müller aus Köln.",
          _object(size=_WHOLE, colour=_TEXT, name=_TEXT, city=_TEXT),
          {"size": 42, "colour": "grün", "name": "Frau Müller", "city": "Köln"}),
    _Task("unique", "Tags of the report: heating, cellar, heating, noise, cellar. Each tag is wanted once, sorted.",
          _object(tags=_list(_TEXT, uniqueItems=True)), {"tags": ["cellar", "heating", "noise"]}),
    _Task("negative", "It was minus 7.5 degrees at six and 3 degrees at noon, so it rose by 10.5 degrees.",
          _object(morning={**_NUMBER, "maximum": 0}, noon=_NUMBER, rise=_NUMBER),
          {"morning": -7.5, "noon": 3, "rise": 10.5}),
    _Task("empty", "The list of defects of flat 9 is empty: nothing was found.",
          _object(flat=_WHOLE, defects=_list(_TEXT)), {"flat": 9, "defects": []}),
)  # fmt: skip


def verify(answer: str, schema: Mapping[str, Any], facts: Mapping[str, Any]) -> str | None:
    """What is wrong with an answer that should be JSON; a block of code around all of it is forgiven."""
    inner = fenced(answer)
    # Only where there is nothing around it.
    text = inner if inner is not None and answer.startswith("```") and answer.endswith("```") else answer
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"it is not JSON ({error})" if isinstance(error, json.JSONDecodeError) else "it is not JSON"
    return problem(value, schema, "$") or differing(value, facts, "$")


def _items(options: Options) -> Sequence[Item]:
    return [_item(task) for task in TASKS]


def _item(task: _Task) -> Item:
    text = f"{_RULE}\n\n{json.dumps(task.schema, ensure_ascii=False)}\n\nThe text:\n{task.text}"

    def right(said: Said) -> str | None:
        return verify(said.answer, task.schema, task.facts)

    return Item(task.name, asked(text), right)


SUITE = Suite("json_schema", "facts of a text as JSON of a given form", _items)
