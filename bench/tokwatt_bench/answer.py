"""What a recorded stream says: when tokens came, how many there were by whose count, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tokwatt_bench.sse import Event, Piece, json_lines, server_sent_events

#: Where engines put what they generated. mlx-vlm fills two of them with the same text.
_REASONING = ("reasoning_content", "reasoning", "thinking")
_ANSWER = ("content", "refusal")


class Chunk(NamedTuple):
    """An event with generated text: when it was complete, whether it is of the answer, and its length.

    `counted` is the number of tokens generated so far, where the engine says it with each chunk.
    """

    at_ns: int
    answer: bool
    characters: int
    counted: int | None = None


class Prefill(NamedTuple):
    """The engine's own time for the prompt tokens that were not cached."""

    tokens: int
    seconds: float
    source: str


@dataclass(slots=True)
class Answer:
    """A parsed stream. Counts are the engine's, None where it does not give them."""

    chunks: list[Chunk] = field(default_factory=list)
    finish: str | None = None
    #: `data: [DONE]`, or the line with `done: true`.
    terminated: bool = False
    error: str | None = None
    garbage: str | None = None
    last_ns: int = 0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    generated_tokens: int | None = None
    token_source: str | None = None
    prefill: Prefill | None = None
    #: Prefill as the engine timed it with the cached tokens in its count; their number must be known to use it.
    prefill_seconds: float | None = None
    engine_ttft_seconds: float | None = None
    load_seconds: float | None = None
    notes: list[str] = field(default_factory=list)


def parse(pieces: Iterable[Piece], dialect: str) -> Answer:
    """Read a body in the dialect `openai` or `ollama`. Never raises: what is no stream has `garbage` or `error`."""
    if dialect == "ollama":
        return _read(json_lines(pieces), _Ollama())
    return _read(server_sent_events(pieces), _OpenAI())


def _read(events: Iterable[Event], reader: _Reader) -> Answer:
    answer = reader.answer
    for event in events:
        if event.comment or not event.data.strip() or answer.terminated:
            continue
        answer.last_ns = event.at_ns
        if event.data.strip() == b"[DONE]":
            answer.terminated = True
            continue
        try:
            body = json.loads(event.data)
        # RecursionError: a few kilobytes of "[[[[" are valid JSON so far.
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            answer.garbage = answer.garbage or excerpt(event.data)
            continue
        if error := _error(body, event.kind):
            answer.error = answer.error or error
            continue
        reader.take(event.at_ns, body)
    reader.close()
    return answer


class _Reader:
    """One dialect; `take` gets each event, `close` settles the counts."""

    def __init__(self) -> None:
        self.answer = Answer()

    def take(self, at_ns: int, body: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class _OpenAI(_Reader):
    """Chat completions and completions, with what engines add to them."""

    def __init__(self) -> None:
        super().__init__()
        self._usage: Mapping[str, Any] = {}
        self._timings: Mapping[str, Any] = {}
        self._metrics: Mapping[str, Any] = {}

    def take(self, at_ns: int, body: Mapping[str, Any]) -> None:
        # The last usage counts: some engines repeat it, others let it grow with each chunk.
        usage, timings = _mapping(body.get("usage")), _mapping(body.get("timings"))
        self._usage = usage if _count(usage.get("completion_tokens")) else self._usage or usage
        self._timings = timings or self._timings
        self._metrics = _mapping(body.get("metrics")) or self._metrics
        choices = body.get("choices")
        choice = _mapping(choices[0]) if isinstance(choices, list) and choices else {}
        if finish := choice.get("finish_reason"):
            self.answer.finish = str(finish)
        delta = _mapping(choice.get("delta")) or _mapping(choice.get("message"))
        answered = sum(_length(delta.get(name)) for name in _ANSWER) + _length(choice.get("text")) + _tools(delta)
        reasoned = max(_length(delta.get(name)) for name in _REASONING)
        if answered or reasoned:
            counted = _count(usage.get("completion_tokens")) or _count(timings.get("predicted_n"))
            self.answer.chunks.append(Chunk(at_ns, bool(answered), answered + reasoned, counted))

    def close(self) -> None:
        answer, usage, timings = self.answer, self._usage, self._timings
        cached, new = _count(timings.get("cache_n")), _count(timings.get("prompt_n"))
        together = None if new is None or cached is None else new + cached
        details = _mapping(usage.get("prompt_tokens_details"))
        answer.prompt_tokens = _first(_count(usage.get("prompt_tokens")) or None, together)
        answer.cached_tokens = _first(
            _count(details.get("cached_tokens")), _count(usage.get("cached_tokens")), cached
        )  # fmt: skip
        _settle(
            answer,
            usage=_count(usage.get("completion_tokens")),
            timings=_count(timings.get("predicted_n")),
        )
        milliseconds = _seconds(timings.get("prompt_ms"))
        if new and milliseconds:
            answer.prefill = Prefill(new, milliseconds / 1e3, "timings.prompt_ms")
        answer.prefill_seconds = _seconds(usage.get("prompt_eval_duration"))
        first = _seconds(self._metrics.get("time_to_first_token_ms"))
        answer.engine_ttft_seconds = first / 1e3 if first else _seconds(usage.get("time_to_first_token"))
        answer.load_seconds = _seconds(usage.get("model_load_duration"))


class _Ollama(_Reader):
    """Ollama's own NDJSON, of /api/chat and /api/generate."""

    def __init__(self) -> None:
        super().__init__()
        self._last: Mapping[str, Any] = {}

    def take(self, at_ns: int, body: Mapping[str, Any]) -> None:
        message = _mapping(body.get("message"))
        answered = _length(message.get("content")) + _length(body.get("response")) + _tools(message)
        reasoned = _length(message.get("thinking")) + _length(body.get("thinking"))
        if answered or reasoned:
            self.answer.chunks.append(Chunk(at_ns, bool(answered), answered + reasoned))
        if body.get("done") is True:
            # Older versions give no reason.
            self.answer.finish = str(body.get("done_reason") or "stop")
            self.answer.terminated = True
            self._last = body

    def close(self) -> None:
        answer, last = self.answer, self._last
        answer.prompt_tokens = _count(last.get("prompt_eval_count")) or None
        answer.cached_tokens = _count(last.get("prompt_eval_cached_count"))
        _settle(answer, eval_count=_count(last.get("eval_count")))
        answer.prefill_seconds = _nanoseconds(last.get("prompt_eval_duration"))
        answer.load_seconds = _nanoseconds(last.get("load_duration"))


def _settle(answer: Answer, **counts: int | None) -> None:
    """Take the first count there is, and say when another one differs by more than a hundredth."""
    # An engine that sends text and counts 0 has not counted.
    known = {source: count for source, count in counts.items() if count}
    for source, count in known.items():
        if answer.generated_tokens is None:
            answer.generated_tokens, answer.token_source = count, source
        elif abs(count - answer.generated_tokens) > 0.01 * answer.generated_tokens:
            answer.notes.append(f"{answer.token_source} counts {answer.generated_tokens} tokens, {source} {count}")


def _error(body: Mapping[str, Any], kind: str) -> str | None:
    """The message of an error object inside a stream, or None."""
    found = body.get("error")
    if not found and (body.get("object") == "error" or kind == "error"):
        found = body
    if not found:
        return None
    message = found.get("message") or found.get("error") or found if isinstance(found, dict) else found
    return excerpt(str(message).encode())


def excerpt(data: bytes, limit: int = 120) -> str:
    """The beginning of what came, in one printable line."""
    text = data[: 4 * limit].decode(errors="replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line[:limit] + "…" if len(line) > limit or len(data) > 4 * limit else line


def _tools(delta: Mapping[str, Any]) -> int:
    """Characters of tool calls: name and arguments are generated too."""
    calls = delta.get("tool_calls")
    functions = [_mapping(_mapping(call).get("function")) for call in calls] if isinstance(calls, list) else []
    functions.append(_mapping(delta.get("function_call")))
    return sum(_length(function.get("name")) + _length(function.get("arguments")) for function in functions)


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    # Content in parts, and arguments that are an object (Ollama).
    return len(json.dumps(value)) if isinstance(value, list | dict) and value else 0


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _positive(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 < value < 1e18 else None


def _nanoseconds(value: Any) -> float | None:
    found = _positive(value)
    return found / 1e9 if found else None


_seconds: Callable[[Any], float | None] = _positive


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
