"""What a stream says, whatever its dialect, and how the values in it are taken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


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
    #: As the engine calls it, where only an event late in the stream says so.
    model: str | None = None
    #: `data: [DONE]`, the line with `done: true`, or the event `chat.end`, `response.completed` or `message_stop`.
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
    prefill_source: str = "prompt_eval_duration"
    engine_ttft_seconds: float | None = None
    load_seconds: float | None = None
    notes: list[str] = field(default_factory=list)


class Reader(ABC):
    """One dialect: `take` and `comment` get what comes, `close` settles the counts in `answer`."""

    def __init__(self) -> None:
        self.answer = Answer()

    @abstractmethod
    def take(self, at_ns: int, body: Mapping[str, Any], kind: str) -> None:
        """An event that is no error; `kind` is the name of a named one."""

    def comment(self, at_ns: int, data: bytes) -> None:  # noqa: B027 - most dialects have nothing to say in one
        """A line that clients are to skip; some engines say something in it."""

    @abstractmethod
    def close(self) -> None:
        """The stream is over."""


def settle(answer: Answer, **counts: int | None) -> None:
    """Take the first count there is, and say when another one differs by more than a hundredth."""
    # An engine that sends text and counts 0 has not counted.
    known = {source: count for source, count in counts.items() if count}
    for source, count in known.items():
        if answer.generated_tokens is None:
            answer.generated_tokens, answer.token_source = count, source
        elif abs(count - answer.generated_tokens) > 0.01 * answer.generated_tokens:
            answer.notes.append(f"{answer.token_source} counts {answer.generated_tokens} tokens, {source} {count}")


def error_in(body: Mapping[str, Any], kind: str) -> str | None:
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
