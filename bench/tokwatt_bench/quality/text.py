"""What an answer says: its text, its reasoning and its tool calls, read from a stream that was recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tokwatt_exporter.engines.answers import mapping, rows
from tokwatt_exporter.streams.stream import DIALECTS, Piece
from tokwatt_exporter.streams.values import REASONING

#: Where an engine leaves the reasoning in the answer, it ends with one of these.
_THOUGHT_ENDS = re.compile(r"</(?:think|thinking|thought|reasoning)>")
_THOUGHT_BEGINS = re.compile(r"\s*<(?:think|thinking|thought|reasoning)>")


class Call(NamedTuple):
    """A tool call; the arguments are JSON as the model wrote it, which may be none."""

    name: str
    arguments: str


class Said(NamedTuple):
    """An answer's texts, as far as they came."""

    content: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    finish: str | None = None

    @property
    def answer(self) -> str:
        """The text without the reasoning, also where the engine left it in; empty where that never ended."""
        if ends := list(_THOUGHT_ENDS.finditer(self.content)):
            return self.content[ends[-1].end() :].strip()
        return "" if _THOUGHT_BEGINS.match(self.content) else self.content.strip()

    @property
    def all(self) -> str:
        """Everything that was generated."""
        calls = (f"{call.name}({call.arguments})" for call in self.calls)
        return "\n".join(part for part in (self.reasoning, self.content, *calls) if part)


def said(pieces: Iterable[Piece], dialect: str) -> Said:
    """The texts of a body in its dialect; never raises: what is no event says nothing."""
    events, parts, take = DIALECTS[dialect][0](), _Parts(), _READERS[dialect]
    for at_ns, piece in pieces:
        for event in events.feed(at_ns, piece):
            if not event.comment:
                take(parts, _body(event.data), event.kind)
    for event in events.end():
        if not event.comment:
            take(parts, _body(event.data), event.kind)
    calls = tuple(Call(name, "".join(arguments)) for name, arguments in parts.calls)
    return Said("".join(parts.content), "".join(parts.reasoning), calls, parts.finish)


@dataclass(slots=True)
class _Parts:
    """Texts as they come; joined once, for there can be a million parts."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[tuple[str, list[str]]] = field(default_factory=list)
    finish: str | None = None


def _body(data: bytes) -> Mapping[str, Any]:
    try:
        return mapping(json.loads(data))
    # RecursionError: a few kilobytes of "[[[[" are valid JSON so far.
    except (ValueError, RecursionError):
        return {}


def _openai(parts: _Parts, body: Mapping[str, Any], kind: str) -> None:
    choice = next(iter(rows(body.get("choices"))), {})
    delta = mapping(choice.get("delta")) or mapping(choice.get("message"))
    _delta(parts, delta)
    parts.content += (_text(delta.get("refusal")), _text(choice.get("text")))
    if finish := choice.get("finish_reason"):
        parts.finish = str(finish)


def _ollama(parts: _Parts, body: Mapping[str, Any], kind: str) -> None:
    _delta(parts, mapping(body.get("message")))
    _delta(parts, {"content": body.get("response"), "thinking": body.get("thinking")})
    if body.get("done") is True:
        parts.finish = str(body.get("done_reason") or "stop")


def _lm_studio(parts: _Parts, body: Mapping[str, Any], kind: str) -> None:
    kind = str(body.get("type") or kind)
    if kind == "message.delta":
        parts.content.append(_text(body.get("content")))
    elif kind == "reasoning.delta":
        parts.reasoning.append(_text(body.get("content")))
    elif kind == "tool_call.arguments":
        parts.calls.append((_text(body.get("tool")), [_arguments(body.get("arguments"))]))
    elif kind == "chat.end":
        parts.finish = "chat.end"


_READERS: Mapping[str, Callable[[_Parts, Mapping[str, Any], str], None]] = {
    "openai": _openai, "ollama": _ollama, "lm_studio": _lm_studio,
}  # fmt: skip


def _delta(parts: _Parts, delta: Mapping[str, Any]) -> None:
    parts.content.append(_text(delta.get("content")))
    # The same text under two names is one.
    parts.reasoning += dict.fromkeys(_text(delta.get(name)) for name in REASONING)
    for call in rows(delta.get("tool_calls")):
        _call(parts, call)
    if function := mapping(delta.get("function_call")):
        _call(parts, {"function": function})


def _call(parts: _Parts, call: Mapping[str, Any]) -> None:
    """A call, or the next part of one: only the first part of a call has its name."""
    function = mapping(call.get("function"))
    name, arguments = _text(function.get("name")), _arguments(function.get("arguments"))
    if name or not parts.calls:
        parts.calls.append((name, [arguments]))
        return
    place = call.get("index")
    if not isinstance(place, int) or not 0 <= place < len(parts.calls):
        place = -1
    parts.calls[place][1].append(arguments)


def _arguments(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else _text(value)


def _text(value: object) -> str:
    """A text, or the texts of its parts."""
    if isinstance(value, str):
        return value
    return "".join(part["text"] for part in rows(value) if isinstance(part.get("text"), str))
