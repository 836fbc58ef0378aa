"""`tool_call`: requests that are answered by calling a tool, or by JSON of a given form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokwatt_bench.scenarios.base import Ask, Listed, asked

_SYSTEM = "You control a house. Call exactly one tool for each request and write nothing else."
#: Long enough for arguments after some thought: half a call is none.
_TOKENS = 384


def tool(name: str, description: str, **parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """A function as OpenAI's API has it; all of its parameters are required."""
    schema = {"type": "object", "properties": parameters, "required": list(parameters), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


_ROOM = {"type": "string", "enum": ["kitchen", "office", "bedroom", "cellar", "garage"]}
TOOLS = (
    tool("set_temperature", "Set the target temperature of a room.", room=_ROOM,
         celsius={"type": "number", "description": "Degrees Celsius, 5 to 30."}),
    tool("set_light", "Switch or dim the light of a room.", room=_ROOM,
         percent={"type": "integer", "description": "0 is off, 100 is full."}),
    tool("start_timer", "Start a timer that rings.", minutes={"type": "integer"}, label={"type": "string"}),
    tool("read_meter", "Read a meter of the house.",
         meter={"type": "string", "enum": ["electricity", "water", "gas"]},
         unit={"type": "string", "enum": ["kWh", "m3"]}),
    tool("add_to_list", "Put things on the shopping list.",
         items={"type": "array", "items": {"type": "object", "properties": {
             "name": {"type": "string"}, "quantity": {"type": "integer"}}, "required": ["name", "quantity"]}}),
)  # fmt: skip

_REQUESTS = (
    "Make the office 21 degrees warm.",
    "I am going to bed, turn the kitchen light off.",
    "Wake me up in 25 minutes, I am taking a nap.",
    "How much water have we used?",
    "We need six eggs, two litres of milk and a lemon.",
    "Half of the light in the bedroom, please.",
    "The cellar must not freeze: keep it at eight degrees.",
    "The bread has to come out of the oven in forty minutes.",
    "What does the electricity meter say?",
    "Buy three packs of screws and one roll of tape.",
)
_FORM = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "urgency": {"type": "string", "enum": ["low", "normal", "high"]},
        "parts": {"type": "array", "items": {"type": "string"}},
        "hours": {"type": "number"},
    },
    "required": ["title", "urgency", "parts", "hours"],
}
_TICKETS = (
    "Since yesterday the pump in the cellar hums and gets hot. Mr Reuter says a new bearing and a seal, half a day.",
    "One lamp on the stairs flickers. It has time, but somebody should bring a new tube and a starter.",
    "The lift is stuck between two floors with nobody in it. The technician guesses three hours and a door contact.",
)


class ToolCall(Listed):
    """Structure that must come out whole: what `tokwatt-bench quality` checks is timed here."""

    name = "tool_call"
    description = "requests for one call of one of five tools, and for JSON of a given form"
    listed = (
        *(Ask(asked(text, system=_SYSTEM), _TOKENS, TOOLS, name="tool") for text in _REQUESTS),
        *(
            Ask(asked(f"Answer only with JSON that this schema describes:\n{json.dumps(_FORM)}\n\n{ticket}"), _TOKENS,
                name="json")
            for ticket in _TICKETS
        ),
    )  # fmt: skip
