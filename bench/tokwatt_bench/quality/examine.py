"""Asking an engine a suite's questions, one after the other, without randomness, and scoring its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokwatt_bench.quality import gate
from tokwatt_bench.quality.base import Item, Options, Suite
from tokwatt_bench.quality.text import Said, said
from tokwatt_bench.request import examine
from tokwatt_bench.stream import record
from tokwatt_bench.target import Target
from tokwatt_exporter.engines.base import Api
from tokwatt_exporter.errors import UsageError

#: The engine was not asked, or could not be by what it is: no answer, right or wrong. What it answered and broke off,
#: or what is no answer of its dialect, is its answer.
_UNANSWERED = ("refused", "unreachable", "timeout")
_SEED = 7
#: How often one question is asked to see whether its answers are the same.
_AGAIN = 3


@dataclass(frozen=True)
class Asking:
    """How questions are asked."""

    target: Target
    max_tokens: int = 1024
    timeout: float = 300.0
    api: Api | None = None
    options: Options = field(default_factory=Options)


@dataclass
class Given:
    """An answer, and what is wrong with it: `wrong` counts against the engine, `unanswered` does not count."""

    item: Item
    said: Said = field(default_factory=Said)
    wrong: str | None = None
    unanswered: str | None = None

    @property
    def right(self) -> bool:
        """Whether it is the right answer."""
        return self.wrong is None and self.unanswered is None


def why_not(asking: Asking, suite: Suite) -> str:
    """Why a suite cannot be asked; empty where it can."""
    api = asking.api or asking.target.adapter.apis[0]
    takes_tools = api == "chat" or (api == "native" and asking.target.kind == "ollama")
    return f"the {api} API of {asking.target.kind} takes no tools" if suite.tools and not takes_tools else ""


def answer(asking: Asking, item: Item) -> Given:
    """Ask one question and hold the answer against what is right."""
    url, body, dialect = request(asking, item)
    recording = record(url, json.dumps(body).encode(), _headers(asking.target), asking.timeout)
    outcome = examine(recording, dialect, 0, "measured")
    given = Given(item, said(recording.pieces, dialect))
    if outcome.failure in _UNANSWERED or (outcome.failure == "http_status" and recording.status < 500):
        given.unanswered = f"{outcome.failure}: {outcome.detail}"
    elif outcome.failure:
        given.wrong = f"{outcome.failure}: {outcome.detail}"
    elif given.said.finish == "length":
        given.wrong = f"it was cut at {asking.max_tokens} tokens (--max-tokens)"
    else:
        given.wrong = item.verify(given.said)
    return given


def request(asking: Asking, item: Item) -> tuple[str, Mapping[str, Any], str]:
    """URL, body and dialect; `UsageError` where the engine cannot be asked like that."""
    adapter, target = asking.target.adapter, asking.target
    fixed: dict[str, Any] = {"temperature": 0.0, "seed": _SEED}
    try:
        made = adapter.generation(target.model, item.messages, asking.max_tokens, asking.api, **fixed)
    except UsageError:
        # LM Studio's own API takes no seed; without randomness it needs none.
        made = adapter.generation(target.model, item.messages, asking.max_tokens, asking.api, temperature=0.0)
    body = made.body | ({"tools": list(item.tools)} if item.tools else {})
    return target.url + made.path, body, made.dialect


def repeats(asking: Asking, item: Item) -> list[gate.Finding] | None:
    """The differences between answers to one question with one seed and no randomness; None where one is missing."""
    found = [answer(asking, item) for _ in range(_AGAIN)]
    texts = [given.said.all for given in found if given.unanswered is None]
    return gate.check(texts, [None] * len(texts), same=True) if len(texts) == _AGAIN else None


def gated(given: Sequence[Given]) -> list[tuple[str, gate.Finding]]:
    """What the gate says about answers, with the name of each item."""
    answered = [one for one in given if one.unanswered is None]
    texts, finishes = [one.said.all for one in answered], [one.said.finish for one in answered]
    return [(answered[found.request_index].item.name, found) for found in gate.check(texts, finishes)]


def _headers(target: Target) -> Mapping[str, str]:
    from tokwatt_exporter import __version__

    headers = {"User-Agent": f"tokwatt-bench/{__version__}", "Accept": "*/*"}
    return headers | ({"Authorization": f"Bearer {target.key}"} if target.key else {})
