"""`tool_call`: the right tool, with arguments that fit its schema and the request; and none where none helps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tokwatt_bench.quality.base import Item, Options, Suite, differing
from tokwatt_bench.quality.schema import problem
from tokwatt_bench.quality.text import Said
from tokwatt_bench.scenarios.base import asked
from tokwatt_bench.scenarios.tool_call import TOOLS

_SYSTEM = "You control a house with tools. Where a tool does what is asked, call it once; else answer in a sentence."


class _Task(NamedTuple):
    name: str
    text: str
    #: Its name; empty where no tool does it.
    tool: str
    arguments: Mapping[str, Any]


TASKS = (
    _Task("temperature", "Make the office 21 degrees warm.", "set_temperature", {"room": "office", "celsius": 21}),
    _Task("half a degree", "Set the bedroom to 17.5 °C.", "set_temperature", {"room": "bedroom", "celsius": 17.5}),
    _Task("frost", "The cellar must not freeze. Keep it at eight degrees.", "set_temperature",
          {"room": "cellar", "celsius": 8}),
    _Task("light off", "Turn the light in the kitchen off.", "set_light", {"room": "kitchen", "percent": 0}),
    _Task("half light", "Half of the light in the garage, please.", "set_light", {"room": "garage", "percent": 50}),
    _Task("timer", "Ring in an hour and a half; call the timer bread.", "start_timer",
          {"minutes": 90, "label": "bread"}),
    _Task("german", "Stell einen Timer namens Tee auf vier Minuten.", "start_timer", {"minutes": 4, "label": "Tee"}),
    _Task("meter", "What does the electricity meter say, in kWh?", "read_meter",
          {"meter": "electricity", "unit": "kWh"}),
    _Task("water", "How many cubic metres of water did we use?", "read_meter", {"meter": "water", "unit": "m3"}),
    _Task("list", "Put six eggs and one lemon on the list, written as: eggs, lemon.", "add_to_list",
          {"items": [{"name": "eggs", "quantity": 6}, {"name": "lemon", "quantity": 1}]}),
    _Task("no tool", "Why do leaves turn red in autumn?", "", {}),
    _Task("no such tool", "Please feed the cat now.", "", {}),
)  # fmt: skip


def verify(said: Said, tool: str, arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with an answer that should be one call of this tool, or with `tool` empty a sentence."""
    if not tool:
        if said.calls:
            return f"it called {said.calls[0].name[:40]}, which does not do what was asked"
        return None if len(said.answer.split()) > 2 else "neither a call nor a sentence"
    if not said.calls:
        return "it wrote the call as text" if tool in said.content else "it called no tool"
    if len(said.calls) > 1:
        return f"it made {len(said.calls)} calls for one request"
    call = said.calls[0]
    if call.name != tool:
        return f"it called {call.name[:40] or 'a tool without a name'}, not {tool}"
    try:
        given = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return "its arguments are not JSON"
    return problem(given, _schema(tool), "arguments") or differing(given, arguments, "arguments")


def _schema(tool: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one["function"] for one in TOOLS if one["function"]["name"] == tool)["parameters"]
    return found


def _items(options: Options) -> Sequence[Item]:
    return [_item(task) for task in TASKS]


def _item(task: _Task) -> Item:
    def right(said: Said) -> str | None:
        return verify(said, task.tool, task.arguments)

    return Item(task.name, asked(task.text, system=_SYSTEM), right, TOOLS)


SUITE = Suite("tool_call", "the right tool with the right arguments, or none", _items, tools=True)
