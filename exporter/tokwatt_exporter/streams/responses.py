"""OpenAI's Responses API: named events, and the whole response once more in the last of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokwatt_exporter.engines.answers import clean, mapping, rows
from tokwatt_exporter.streams.answer import Chunk, Reader, error_in, settle
from tokwatt_exporter.streams.values import count, length

_ENDS = ("response.completed", "response.incomplete")


class Responses(Reader):
    """Each event says its kind in `type` too. What was not streamed is the response itself."""

    def __init__(self) -> None:
        super().__init__()
        self._usage: Mapping[str, Any] = {}

    def take(self, at_ns: int, body: Mapping[str, Any], kind: str) -> None:
        """An event, or a response."""
        kind = str(body.get("type") or kind)
        if kind.startswith("response.") and kind.endswith(".delta"):
            # Sound comes in base64, which is no text.
            if "audio" not in kind:
                self._generated(at_ns, "reasoning" not in kind, length(body.get("delta")))
        elif kind == "response.output_item.added":
            # The name of a tool comes with it, its arguments in deltas.
            self._generated(at_ns, True, length(mapping(body.get("item")).get("name")))
        elif kind in _ENDS:
            self._ended(mapping(body.get("response")))
        elif kind == "response.failed":
            self._failed(mapping(body.get("response")))
        elif kind == "error":
            self.answer.error = self.answer.error or error_in(body, kind)
        elif body.get("object") == "response":
            for item in rows(body.get("output")):
                self._generated(at_ns, item.get("type") != "reasoning", _text(item))
            self._ended(body)

    def close(self) -> None:
        """Take the counts of the last event."""
        answer, usage = self.answer, self._usage
        answer.prompt_tokens = count(usage.get("input_tokens")) or None
        answer.cached_tokens = count(mapping(usage.get("input_tokens_details")).get("cached_tokens"))
        settle(answer, usage=count(usage.get("output_tokens")))

    def _ended(self, response: Mapping[str, Any]) -> None:
        self.answer.model = clean(response.get("model"))
        self._usage = mapping(response.get("usage"))
        why = mapping(response.get("incomplete_details")).get("reason") or response.get("status")
        self.answer.finish, self.answer.terminated = str(why or "completed"), True

    def _failed(self, response: Mapping[str, Any]) -> None:
        self._usage = mapping(response.get("usage"))
        self.answer.error = self.answer.error or error_in(response, "") or "response.failed"
        self.answer.terminated = True

    def _generated(self, at_ns: int, answer: bool, characters: int) -> None:
        if characters:
            self.answer.chunks.append(Chunk(at_ns, answer, characters))


def _text(item: Mapping[str, Any]) -> int:
    """Characters of an item: a message, reasoning or the call of a tool."""
    parts = [*rows(item.get("content")), *rows(item.get("summary"))]
    said = sum(length(part.get("text")) + length(part.get("refusal")) for part in parts)
    return said + length(item.get("name")) + length(item.get("arguments"))
