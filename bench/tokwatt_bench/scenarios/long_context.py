"""`long_context`: a long text and a question about it, as long as the engine itself counts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import NamedTuple

from tokwatt_bench.scenarios import prose
from tokwatt_bench.scenarios.base import Ask, Scenario, asked

#: How far off the target an engine's count may be.
TOLERANCE = 0.01
#: Words of the first two texts, which find out how an engine counts: short, for each costs a prefill.
_PROBES = (50, 250)
_MOST_COUNTS = 8
_TASK = "Read the log of a house, then answer the question after it.\n\n"
_QUESTION = "\n\nQuestion: which three things should be repaired first, and why? Answer in full sentences."
#: What an English word costs in most vocabularies, with the numbers that are in the log.
_TOKENS_A_WORD = 1.4


class Fitted(NamedTuple):
    """A prompt of the wanted length and the engine's count of it; `text` is None where `reason` says why."""

    text: str | None
    tokens: int | None
    reason: str = ""


def fit(target_tokens: int, count: Callable[[str], int | None], seed: int = 0) -> Fitted:
    """A prompt that `count` says is within 1 % of the target; `count` is the engine's own, of a prompt that is sent.

    It is asked at most eight times, the first two with short texts.
    """
    known: dict[int, int] = {}
    length = min(_PROBES[0], max(target_tokens // 4, 1))
    while len(known) < _MOST_COUNTS:
        tokens = count(prompt(length, seed))
        if not tokens:
            return Fitted(None, None, "the engine does not say how many tokens a prompt has")
        known[length] = tokens
        if abs(tokens - target_tokens) <= max(TOLERANCE * target_tokens, 1):
            return Fitted(prompt(length, seed), tokens)
        if len(known) == 1:
            length = _PROBES[1] if target_tokens > tokens else max(length // 4, 0)
            continue
        if reason := _senseless(known):
            return Fitted(None, None, reason)
        length = _next(known, target_tokens)
        if length in known or length < 0:
            break
    return Fitted(None, None, _missed(known, target_tokens))


def prompt(words: int, seed: int) -> str:
    """Task, so many words of prose, question."""
    return f"{_TASK}{prose.text(words, seed)}{_QUESTION}"


def _next(known: dict[int, int], target: int) -> int:
    """On the line through the two counts that are nearest to the target."""
    near = sorted(known, key=lambda length: abs(known[length] - target))[:2]
    slope = (known[near[0]] - known[near[1]]) / (near[0] - near[1])
    # A line between neighbours can be flat or turn round by a token: the mean over all of them does not.
    if slope <= 0:
        least, most = min(known), max(known)
        slope = (known[most] - known[least]) / (most - least)
    return round(near[0] + (target - known[near[0]]) / slope)


def _senseless(known: dict[int, int]) -> str:
    least, most = min(known), max(known)
    if known[most] - known[least] >= (most - least) / 4:
        return ""
    return f"the engine counts {known[least]} tokens for {least} words and {known[most]} for {most}: not a count"


def _missed(known: dict[int, int], target: int) -> str:
    nearest = min(known.values(), key=lambda tokens: abs(tokens - target))
    return f"no prompt of {target} tokens was found: the nearest one has {nearest}"


class LongContext(Scenario):
    """One length a scenario: a mean over several would say nothing. The text is `fit`'s, else about as long."""

    name = "long_context"
    description = "a long log and a question about it, of an exact number of tokens"

    def __init__(self, target_tokens: int = 4096, text: str | None = None) -> None:
        self.target_tokens, self._text = target_tokens, text

    def asks(self, seed: int) -> Iterator[Ask]:
        """The same prompt again and again; what begins it anew each time is the run's."""
        overhead = len((_TASK + _QUESTION).split())
        text = self._text or prompt(max(round(self.target_tokens / _TOKENS_A_WORD) - overhead, 1), seed)
        ask = Ask(asked(text), expected_prompt_tokens=self.target_tokens, name=f"{self.target_tokens} tokens")
        return repeat(ask)
