"""What a suite is: questions with one right answer each, and code that knows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tokwatt_bench.quality.text import Said
from tokwatt_bench.scenarios.base import Messages

#: Of the suites' contents and verifiers; scores of two versions are not compared.
VERSION = 1

#: What is wrong with an answer, in one line; None where it is right.
Verify = Callable[[Said], str | None]


@dataclass(frozen=True)
class Item:
    """One question."""

    name: str
    messages: Messages
    verify: Verify
    tools: Messages = ()


class Options(NamedTuple):
    """What the user may choose: the lengths of the haystacks, in tokens, and whether code that comes is run."""

    lengths: Sequence[int] = (1024, 4096, 8192)
    execute: bool = False


class Suite(NamedTuple):
    """Questions about one ability."""

    name: str
    description: str
    items: Callable[[Options], Sequence[Item]]
    #: Whether it needs an API that takes tools.
    tools: bool = False


_FENCE = re.compile(r"```[\w+-]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)


def fenced(text: str) -> str | None:
    """What is in the only block of code that a text has; None where it has none or several."""
    found = _FENCE.findall(text)
    return str(found[0]) if len(found) == 1 else None


def shown(value: object) -> str:
    """A value for one line of a report."""
    line = " ".join(str(value).split())
    return line if len(line) <= 60 else line[:60] + "…"


def differing(found: Any, wanted: Mapping[str, Any], at: str) -> str | None:
    """The first member that is not what it should be; texts are compared without their case and their outer spaces."""
    for name, value in wanted.items():
        there = found.get(name) if isinstance(found, Mapping) else None
        if _plain(there) != _plain(value):
            return f"{at}.{name} is {shown(there)}, not {shown(value)}"
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip().rstrip(".").casefold()
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    # To Python, true is 1.
    return (bool, value) if isinstance(value, bool) else value
