"""Anthropic's messages API, which other engines serve too: named events with blocks of content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokwatt_exporter.engines.answers import mapping, rows
from tokwatt_exporter.streams.answer import Chunk, Reader, error_in, settle
from tokwatt_exporter.streams.values import count, length

#: What a block or a piece of one holds of generated text. A signature is none.
_ANSWER, _BEFORE = ("text", "partial_json", "name"), "thinking"


class Anthropic(Reader):
    """Each event says its kind in `type` too. What was not streamed is the message itself."""

    def __init__(self) -> None:
        super().__init__()
        self._usage: dict[str, Any] = {}

    def take(self, at_ns: int, body: Mapping[str, Any], kind: str) -> None:
        """An event, or a message."""
        kind = str(body.get("type") or kind)
        if kind == "content_block_delta":
            self._generated(at_ns, mapping(body.get("delta")))
        elif kind == "content_block_start":
            # Empty as a rule; the name of a tool is only here.
            self._generated(at_ns, mapping(body.get("content_block")))
        elif kind == "message_start":
            # The output that it counts is what there is before the first piece.
            self._count(mapping(mapping(body.get("message")).get("usage")), "output_tokens")
        elif kind == "message_delta":
            self._count(mapping(body.get("usage")))
            self._finish(mapping(body.get("delta")))
        elif kind == "message_stop":
            self.answer.terminated = True
        elif kind == "error":
            self.answer.error = self.answer.error or error_in(body, kind)
        elif kind == "message":
            for block in rows(body.get("content")):
                self._generated(at_ns, block)
            self._count(mapping(body.get("usage")))
            self._finish(body)
            self.answer.terminated = True

    def close(self) -> None:
        """Take the last counts."""
        answer, usage = self.answer, self._usage
        cached, new = count(usage.get("cache_read_input_tokens")), count(usage.get("input_tokens"))
        written = count(usage.get("cache_creation_input_tokens"))
        # What was found in a cache, or put there, is not in its count of the input.
        answer.prompt_tokens = (new or 0) + (cached or 0) + (written or 0) or None
        answer.cached_tokens = cached
        settle(answer, usage=count(usage.get("output_tokens")))

    def _count(self, usage: Mapping[str, Any], *without: str) -> None:
        """Counts are of all so far: the last of each counts."""
        self._usage.update((name, value) for name, value in usage.items() if value is not None and name not in without)

    def _finish(self, said: Mapping[str, Any]) -> None:
        if reason := said.get("stop_reason"):
            self.answer.finish = str(reason)

    def _generated(self, at_ns: int, block: Mapping[str, Any]) -> None:
        answered = sum(length(block.get(name)) for name in _ANSWER)
        # Not streamed, the arguments of a tool are an object.
        answered += length(block.get("input"))
        before = length(block.get(_BEFORE))
        if answered or before:
            self.answer.chunks.append(Chunk(at_ns, bool(answered), answered + before))
