"""OpenAI's chat completions and completions, with what engines add to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tokwatt_exporter.engines.answers import mapping
from tokwatt_exporter.streams.answer import Chunk, Prefill, Reader, settle
from tokwatt_exporter.streams.comments import Comments
from tokwatt_exporter.streams.values import count, first, length, positive, reasoned, thousandth, tools

_ANSWER = ("content", "refusal")
_LOADED = re.compile(r"\s*Done! \((\d{1,6}\.\d{1,3})s\)")


class OpenAI(Reader):
    """Server-sent events without names; the last usage and the last timings count."""

    def __init__(self) -> None:
        super().__init__()
        self._usage: Mapping[str, Any] = {}
        self._timings: Mapping[str, Any] = {}
        self._metrics: Mapping[str, Any] = {}
        self._comments = Comments()

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
        if not self.answer.chunks and _loading(body, choice, delta):
            if done := _LOADED.match(str(delta["reasoning_content"])[:100]):
                self.answer.load_seconds = positive(float(done[1]))
            return
        answered = sum(length(delta.get(name)) for name in _ANSWER) + length(choice.get("text")) + tools(delta)
        before = reasoned(delta)
        if answered or before:
            counted = count(usage.get("completion_tokens")) or count(timings.get("predicted_n"))
            self.answer.chunks.append(Chunk(at_ns, bool(answered), answered + before, counted))

    def comment(self, at_ns: int, data: bytes) -> None:
        """What mlx-lm and Exo say in one."""
        self._comments.take(at_ns, data)

    def close(self) -> None:
        """Settle who counted."""
        answer, usage, timings = self.answer, self._usage, self._timings
        cached, new = count(timings.get("cache_n")), count(timings.get("prompt_n"))
        together = None if new is None or cached is None else new + cached
        details = mapping(usage.get("prompt_tokens_details"))
        answer.prompt_tokens = first(count(usage.get("prompt_tokens")) or None, together)
        answer.cached_tokens = first(
            count(details.get("cached_tokens")), count(usage.get("cached_tokens")), cached, self._not_prefilled()
        )
        settle(answer, usage=count(usage.get("completion_tokens")), timings=count(timings.get("predicted_n")))
        took = thousandth(timings.get("prompt_ms"))
        if new and took:
            answer.prefill = Prefill(new, took, "timings.prompt_ms")
        else:
            answer.prefill = self._comments.prefill(_less(answer.prompt_tokens, answer.cached_tokens))
        answer.prefill_seconds = positive(usage.get("prompt_eval_duration"))
        own = thousandth(self._metrics.get("time_to_first_token_ms"))
        # llama.cpp samples the first token as the last thing of its prompt time.
        answer.engine_ttft_seconds = own or positive(usage.get("time_to_first_token")) or took
        answer.load_seconds = positive(usage.get("model_load_duration")) or answer.load_seconds

    def _not_prefilled(self) -> int | None:
        """Prompt tokens that mlx-lm's progress leaves out: it had them cached."""
        return _less(self.answer.prompt_tokens, self._comments.uncached)


def _loading(body: Mapping[str, Any], choice: Mapping[str, Any], delta: Mapping[str, Any]) -> bool:
    """Whether this is the text with which llama-swap passes the time while a model loads, before the engine's first.

    It is dressed up as reasoning; that it has nothing else around it, no id and no model, tells it apart.
    """
    return body.keys() == {"choices"} and choice.keys() == {"delta"} and delta.keys() == {"reasoning_content"}


def _less(all: int | None, part: int | None) -> int | None:
    return None if all is None or part is None or part > all else all - part
