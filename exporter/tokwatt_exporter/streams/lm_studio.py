"""LM Studio's own API, /api/v1/chat: named events, and the statistics in the last of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokwatt_exporter.engines.answers import mapping, rows
from tokwatt_exporter.streams.answer import Chunk, Reader, settle
from tokwatt_exporter.streams.values import count, length, positive


class LMStudio(Reader):
    """Each event says its kind in `type` too. Why a generation ended is not said: `chat.end` stands for it."""

    def __init__(self) -> None:
        super().__init__()
        self._stats: Mapping[str, Any] = {}
        self._prefill_ns = 0

    def take(self, at_ns: int, body: Mapping[str, Any], kind: str) -> None:
        """An event; the name before it and the type in it are the same."""
        kind = str(body.get("type") or kind)
        if kind in ("message.delta", "reasoning.delta"):
            self._generated(at_ns, kind == "message.delta", length(body.get("content")))
        elif kind == "tool_call.arguments":
            self._generated(at_ns, True, length(body.get("tool")) + length(body.get("arguments")))
        elif kind == "prompt_processing.start":
            self._prefill_ns = at_ns
        elif kind == "prompt_processing.end" and 0 < self._prefill_ns < at_ns:
            self.answer.prefill_seconds = (at_ns - self._prefill_ns) / 1e9
            self.answer.prefill_source = "prompt_processing"
        elif kind == "model_load.end":
            self.answer.load_seconds = positive(body.get("load_time_seconds"))
        elif kind == "chat.end":
            self._ended(mapping(body.get("result")))
        elif "stats" in body:
            # Without streaming there is only what `chat.end` has.
            for part in rows(body.get("output")):
                text = length(part.get("content")) + length(part.get("tool")) + length(part.get("arguments"))
                self._generated(at_ns, part.get("type") != "reasoning", text)
            self._ended(body)

    def close(self) -> None:
        """Take the counts of `chat.end`."""
        answer, stats = self.answer, self._stats
        answer.prompt_tokens = count(stats.get("input_tokens")) or None
        settle(answer, stats=count(stats.get("total_output_tokens")))
        answer.engine_ttft_seconds = positive(stats.get("time_to_first_token_seconds"))
        answer.load_seconds = positive(stats.get("model_load_time_seconds")) or answer.load_seconds

    def _ended(self, result: Mapping[str, Any]) -> None:
        self.answer.finish, self.answer.terminated = "chat.end", True
        self._stats = mapping(result.get("stats"))

    def _generated(self, at_ns: int, answer: bool, characters: int) -> None:
        if characters:
            self.answer.chunks.append(Chunk(at_ns, answer, characters))
