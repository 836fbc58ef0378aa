"""What a scenario is: requests to ask, and how they are to be asked."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

#: Of the scenarios' contents; another text or another order is another number.
VERSION = 1

Messages = tuple[Mapping[str, Any], ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """One request. What is None or empty is left to the run."""

    messages: Messages
    max_tokens: int | None = None
    tools: Messages = ()
    #: What the prompt was made to count; the engine says what it did.
    expected_prompt_tokens: int | None = None
    #: Whether what the engine has cached of its beginning is wanted.
    reuses_prefix: bool = False
    #: Seconds after the first request of a trace at which it is meant to be sent.
    at_seconds: float | None = None
    name: str = ""
    #: How long the answer was that a trace recorded.
    output_tokens: int | None = None


class Scenario(ABC):
    """Requests of one kind. Results of two scenarios, or of two versions of one, are not compared."""

    name: str
    description: str
    #: Whether the model is dropped and loaded anew before each request.
    cold: bool = False
    #: Whether each request is to begin with text that was never sent before.
    unique_prefix: bool = True

    @abstractmethod
    def asks(self, seed: int) -> Iterator[Ask]:
        """The requests, the same ones for the same seed; without an end unless they are a trace."""


class Listed(Scenario):
    """A scenario of a fixed list: all of it in an order by the seed, then all of it in another order."""

    listed: ClassVar[Sequence[Ask]]

    def asks(self, seed: int) -> Iterator[Ask]:
        """The list, again and again."""
        return shuffled(self.listed, seed)


def shuffled(items: Sequence[T], seed: int) -> Iterator[T]:
    """All of the items in one order, then in another, without an end."""
    # By a text: the same numbers on every version of Python.
    draw = random.Random(f"order {seed}")
    while True:
        left = list(items)
        while left:
            yield left.pop(draw.randrange(len(left)))


def says(role: str, content: str) -> Mapping[str, str]:
    """A message."""
    return {"role": role, "content": content}


def asked(*contents: str, system: str | None = None) -> Messages:
    """A conversation that the user began and in which the user speaks last."""
    turns = [says("user" if number % 2 == 0 else "assistant", text) for number, text in enumerate(contents)]
    return (says("system", system), *turns) if system else tuple(turns)


def begun(messages: Sequence[Mapping[str, Any]], text: str) -> Messages:
    """The messages with this text at the very beginning, so that no prefix of them was sent before."""
    first, *others = messages
    content = first.get("content") or ""
    parts = [{"type": "text", "text": text}, *content] if isinstance(content, list) else f"{text} {content}"
    return ({**first, "content": parts}, *others)
