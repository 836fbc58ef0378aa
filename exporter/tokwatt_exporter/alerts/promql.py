"""The part of PromQL that alert rules use, read into a tree; what it does not know is refused, never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tokwatt_exporter import parse
from tokwatt_exporter.errors import TokwattError

AGGREGATIONS = ("sum", "min", "max", "avg", "count")
#: What they do with the samples of a window.
WINDOWED = ("rate", "increase", "min_over_time", "max_over_time", "avg_over_time", "count_over_time", "last_over_time")
FUNCTIONS = (*WINDOWED, "time", "vector", "label_replace")
COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")
SETS = ("and", "or", "unless")
#: Binary operators by how tightly they bind.
PRECEDENCE = {
    "or": 1, "and": 2, "unless": 2, **dict.fromkeys(COMPARISONS, 3), "+": 4, "-": 4, "*": 5, "/": 5,
}  # fmt: skip
_MOST_LENGTH, _MOST_DEPTH = 10_000, 50
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|\[(?P<window>[^\]]*)\]|(?P<duration>\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*)"""
    r"""|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<word>[a-zA-Z_:][\w:]*)"""
    r"""|(?P<sign>=~|!~|==|!=|<=|>=|[-+*/^%<>=(){},@]))"""
)


class Unsupported(TokwattError):
    """The expression uses what is not evaluated here; the text says what."""


class Matcher(NamedTuple):
    """A condition on a label: `=`, `!=`, `=~` or `!~`."""

    label: str
    sign: str
    value: str

    def fits(self, value: str) -> bool:
        """Whether a label's value meets it; a label that is not there is empty."""
        if self.sign in ("=~", "!~"):
            return (re.fullmatch(self.value, value, re.DOTALL) is not None) == (self.sign == "=~")
        return (value == self.value) == (self.sign == "=")


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A string, which only functions take."""

    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """Series of a metric, now or in a window of so many seconds, as they were `offset` seconds before."""

    metric: str
    matchers: tuple[Matcher, ...] = ()
    window: float | None = None
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Call:
    """A function of its arguments."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One value for each group of series; `by` is whether the labels are those that stay."""

    name: str
    labels: tuple[str, ...]
    by: bool
    inner: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two; `on` is whether the labels are those that must be the same, else those that need not."""

    sign: str
    left: Node
    right: Node
    labels: tuple[str, ...] = ()
    on: bool = False


Node = Number | Text | Selector | Call | Aggregate | Binary


def read(text: str) -> Node:
    """The tree of an expression; `Unsupported` where it is not PromQL, or more of it than is known here."""
    if len(text) > _MOST_LENGTH:
        raise Unsupported(f"is longer than {_MOST_LENGTH} characters")
    reader = _Reader(list(_tokens(text)))
    tree = reader.expression(1)
    if reader.kind:
        raise Unsupported(f"{reader.word!r} is not expected there")
    return tree


def selectors(tree: Node) -> Iterator[Selector]:
    """Every selector in a tree."""
    if isinstance(tree, Selector):
        yield tree
    elif isinstance(tree, Call):
        for argument in tree.arguments:
            yield from selectors(argument)
    elif isinstance(tree, Aggregate):
        yield from selectors(tree.inner)
    elif isinstance(tree, Binary):
        yield from selectors(tree.left)
        yield from selectors(tree.right)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match or not match.lastgroup:
            raise Unsupported(f"{text[at : at + 20]!r} is not known")
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()


class _Reader:
    """Reads the tokens from left to right."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    @property
    def kind(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    @property
    def word(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else "the end"

    def take(self, *wanted: str) -> str:
        if wanted and self.word not in wanted:
            raise Unsupported(f"{self.word!r} stands where {' or '.join(wanted)} should")
        found = self.word
        self._at += 1
        return found

    def expression(self, tightness: int) -> Node:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise Unsupported("is nested too deeply")
        left = self._one()
        while (sign := self.word) in PRECEDENCE and self.kind in ("sign", "word") and PRECEDENCE[sign] >= tightness:
            self.take()
            if self.word in ("bool", "group_left", "group_right"):
                raise Unsupported(f"{self.word} is not evaluated here")
            labels, on = self._matching()
            left = Binary(sign, left, self.expression(PRECEDENCE[sign] + 1), labels, on)
        self._depth -= 1
        return left

    def _matching(self) -> tuple[tuple[str, ...], bool]:
        if self.word not in ("on", "ignoring"):
            return (), False
        on = self.take() == "on"
        labels = self._names()
        if self.word in ("group_left", "group_right"):
            raise Unsupported(f"{self.word} is not evaluated here")
        return labels, on

    def _names(self) -> tuple[str, ...]:
        self.take("(")
        names = []
        while self.word != ")":
            names.append(self.take())
            if self.word != ")":
                self.take(",")
        self.take(")")
        return tuple(names)

    def _one(self) -> Node:
        kind = self.kind
        if self.word == "-":
            self.take()
            return Binary("*", Number(-1.0), self._one())
        if self.word == "(":
            self.take()
            inner = self.expression(1)
            self.take(")")
            return inner
        if kind == "number":
            return Number(float(self.take()))
        if kind == "text":
            return Text(_plain(self.take()))
        if kind != "word" and self.word != "{":
            raise Unsupported(f"{self.word!r} is not expected there")
        name = self.take() if kind == "word" else ""
        if name in AGGREGATIONS and self.word in ("(", "by", "without"):
            return self._aggregate(name)
        return self._call(name) if self.word == "(" else self._selector(name)

    def _aggregate(self, name: str) -> Node:
        labels, by = self._grouping() if self.word != "(" else ((), True)
        self.take("(")
        inner = self.expression(1)
        self.take(")")
        if self.word in ("by", "without"):
            labels, by = self._grouping()
        return Aggregate(name, labels, by, inner)

    def _grouping(self) -> tuple[tuple[str, ...], bool]:
        by = self.take("by", "without") == "by"
        return self._names(), by

    def _call(self, name: str) -> Node:
        if name not in FUNCTIONS:
            raise Unsupported(f"{name}() is not evaluated here")
        self.take("(")
        arguments: list[Node] = []
        while self.word != ")":
            arguments.append(self.expression(1))
            if self.word != ")":
                self.take(",")
        self.take(")")
        if name in WINDOWED and not (
            len(arguments) == 1 and isinstance(arguments[0], Selector) and arguments[0].window
        ):
            raise Unsupported(f"{name}() takes one window of a metric")
        return Call(name, tuple(arguments))

    def _selector(self, metric: str) -> Node:
        matchers = tuple(self._matchers()) if self.word == "{" else ()
        if not metric:
            raise Unsupported("a selector without a metric is not evaluated here")
        window = _seconds(self.take()) if self.kind == "window" else None
        offset = 0.0
        if self.word == "offset":
            self.take()
            offset = _seconds(self.take())
        if self.word == "@":
            raise Unsupported("@ is not evaluated here")
        return Selector(metric, matchers, window, offset)

    def _matchers(self) -> Iterator[Matcher]:
        self.take("{")
        while self.word != "}":
            label, sign, value = self.take(), self.take("=", "!=", "=~", "!~"), _plain(self.take())
            if sign in ("=~", "!~"):
                try:
                    re.compile(value)
                except re.error:
                    raise Unsupported(f"{value!r} is no regular expression that is known here") from None
            yield Matcher(label, sign, value)
            if self.word != "}":
                self.take(",")
        self.take("}")


def _plain(token: str) -> str:
    if not token.startswith('"'):
        raise Unsupported(f"{token!r} stands where a string should")
    return re.sub(r"\\(.)", r"\1", token[1:-1])


def _seconds(text: str) -> float:
    try:
        return parse.duration(text)
    except ValueError as error:
        raise Unsupported(str(error)) from None
