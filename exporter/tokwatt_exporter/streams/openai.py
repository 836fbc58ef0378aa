"""OpenAI's chat completions and completions, with what engines add to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokwatt_exporter.engines.answers import mapping
from tokwatt_exporter.streams.answer import Chunk, Prefill, Reader, settle
from tokwatt_exporter.streams.values import count, first, length, positive, reasoned, thousandth, tools

_ANSWER = ("content", "refusal")


class OpenAI(Reader):
    """Server-sent events without names; the last usage and the last timings count."""

    def __init__(self) -> None:
        super().__init__()
        self._usage: Mapping[str, Any] = {}
        self._timings: Mapping[str, Any] = {}
        self._metrics: Mapping[str, Any] = {}

    def take(self, at_ns: int, body: Mapping[str, Any], kind: str) -> None:
        """A chunk, or what comes after the last one."""
        # The last usage counts: some engines repeat it, others let it grow with each chunk.
        usage, timings = mapping(body.get("usage")), mapping(body.get("timings"))
        self._usage = usage if count(usage.get("completion_tokens")) else self._usage or usage
        self._timings = timings or self._timings
        self._metrics = mapping(body.get("metrics")) or self._metrics
        choices = body.get("choices")
        choice = mapping(choices[0]) if isinstance(choices, list) and choices else {}
        if finish := choice.get("finish_reason"):
            self.answer.finish = str(finish)
        delta = mapping(choice.get("delta")) or mapping(choice.get("message"))
        answered = sum(length(delta.get(name)) for name in _ANSWER) + length(choice.get("text")) + tools(delta)
        before = reasoned(delta)
        if answered or before:
            counted = count(usage.get("completion_tokens")) or count(timings.get("predicted_n"))
            self.answer.chunks.append(Chunk(at_ns, bool(answered), answered + before, counted))

    def close(self) -> None:
        """Settle who counted."""
        answer, usage, timings = self.answer, self._usage, self._timings
        cached, new = count(timings.get("cache_n")), count(timings.get("prompt_n"))
        together = None if new is None or cached is None else new + cached
        details = mapping(usage.get("prompt_tokens_details"))
        answer.prompt_tokens = first(count(usage.get("prompt_tokens")) or None, together)
        answer.cached_tokens = first(
            count(details.get("cached_tokens")), count(usage.get("cached_tokens")), cached
        )  # fmt: skip
        settle(answer, usage=count(usage.get("completion_tokens")), timings=count(timings.get("predicted_n")))
        took = thousandth(timings.get("prompt_ms"))
        if new and took:
            answer.prefill = Prefill(new, took, "timings.prompt_ms")
        answer.prefill_seconds = positive(usage.get("prompt_eval_duration"))
        own = thousandth(self._metrics.get("time_to_first_token_ms"))
        answer.engine_ttft_seconds = own or positive(usage.get("time_to_first_token"))
        answer.load_seconds = positive(usage.get("model_load_duration"))
