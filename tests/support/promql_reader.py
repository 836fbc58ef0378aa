"""What an expression asks for, read from its text: selectors, functions around them, and labels it groups by.

It reads what valid PromQL says and does not judge it: Prometheus does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*")|(?P<window>\[[^\]]*\])|(?P<number>\d[\w.]*)"""
    r"""|(?P<word>[a-zA-Z_:][\w:]*)|(?P<variable>\$\w+)|(?P<sign>[{}(),]|=~|!~|!=|[^\s\w])"""
)
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"or", "and", "unless", "offset", "bool", "nan", "inf"}


class Selector(NamedTuple):
    """A metric, its matchers by label (`=~"$job"`), the window behind it, and the function right around it."""

    metric: str
    matchers: dict[str, str]
    window: str
    function: str


class Expression(NamedTuple):
    """The selectors, and every label that is named outside of them."""

    selectors: list[Selector]
    grouping: set[str]


def read(text: str) -> Expression:
    """What `text` asks for."""
    tokens = [(match.lastgroup or "", match[0]) for match in _TOKEN.finditer(text)]
    selectors: list[Selector] = []
    grouping: set[str] = set()
    position = 0
    while position < len(tokens):
        kind, word = tokens[position]
        following = tokens[position + 1][1] if position + 1 < len(tokens) else ""
        if kind == "word" and following == "(":
            if word in _GROUPING:
                grouping |= {name for kind, name in _until(tokens, position + 2, ")") if kind == "word"}
                position += 2 + sum(1 for _ in _until(tokens, position + 2, ")"))
        elif kind == "word" and word.lower() not in _WORDS and word not in _GROUPING and not _counts(tokens, position):
            inside = list(_until(tokens, position + 2, "}")) if following == "{" else []
            end = position + (len(inside) + 3 if following == "{" else 1)
            window = tokens[end][1] if end < len(tokens) and tokens[end][0] == "window" else ""
            selectors.append(Selector(word, _matchers(inside), window, _function(tokens, position)))
            position = end - 1
        position += 1
    return Expression(selectors, grouping)


def _counts(tokens: list[tuple[str, str]], position: int) -> bool:
    """`sum by (x) (…)` has its aggregation before the grouping."""
    return tokens[position + 1 : position + 2] != [] and tokens[position + 1][1] in ("by", "without")


def _until(tokens: list[tuple[str, str]], start: int, end: str) -> Iterator[tuple[str, str]]:
    for token in tokens[start:]:
        if token[1] == end:
            return
        yield token


def _matchers(tokens: list[tuple[str, str]]) -> dict[str, str]:
    words = [word for _, word in tokens if word != ","]
    return {label: sign + value for label, sign, value in zip(words[::3], words[1::3], words[2::3], strict=True)}


def _function(tokens: list[tuple[str, str]], position: int) -> str:
    if position >= 2 and tokens[position - 1][1] == "(" and tokens[position - 2][0] == "word":
        return tokens[position - 2][1]
    return ""
