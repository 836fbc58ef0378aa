"""Ollama's own NDJSON, of /api/chat and /api/generate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokwatt_exporter.engines.answers import mapping
from tokwatt_exporter.streams.answer import Chunk, Reader, settle
from tokwatt_exporter.streams.values import billionth, count, length, reasoned, tools


class Ollama(Reader):
    """Lines of JSON; the one with `done: true` has the counts and the durations."""

    def __init__(self) -> None:
        super().__init__()
        self._last: Mapping[str, Any] = {}

    def take(self, at_ns: int, body: Mapping[str, Any], kind: str) -> None:
        """A line."""
        message = mapping(body.get("message"))
        answered = length(message.get("content")) + length(body.get("response")) + tools(message)
        before = reasoned(message) + reasoned(body)
        if answered or before:
            self.answer.chunks.append(Chunk(at_ns, bool(answered), answered + before))
        if body.get("done") is True:
            # Older versions give no reason.
            self.answer.finish = str(body.get("done_reason") or "stop")
            self.answer.terminated = True
            self._last = body

    def close(self) -> None:
        """Take the last line's counts."""
        answer, last = self.answer, self._last
        answer.prompt_tokens = count(last.get("prompt_eval_count")) or None
        answer.cached_tokens = count(last.get("prompt_eval_cached_count"))
        settle(answer, eval_count=count(last.get("eval_count")))
        answer.prefill_seconds = billionth(last.get("prompt_eval_duration"))
        answer.load_seconds = billionth(last.get("load_duration"))
        if answer.prefill_seconds:
            # The first token is sampled as the last thing of the prompt's time.
            answer.engine_ttft_seconds = (answer.load_seconds or 0.0) + answer.prefill_seconds
