"""Expressions over the history as PromQL writes them; nothing here needs DuckDB to be loaded.

    sum by (device) (rate(NAME{device=~"gpu.*"}[5m]))

A metric with what its labels must be; `rate` or `increase` of a counter over a window, or `avg_over_time`,
`min_over_time` or `max_over_time` of any other metric; and around each of them `sum`, `avg`, `min` or `max`, with the
labels that it keeps. `host` is a label of every series.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tokwatt_exporter import parse
from tokwatt_exporter.families import Family, Kind
from tokwatt_exporter.store.params import Type, metric

AGGREGATIONS = "sum", "avg", "min", "max"
OF_COUNTERS = "rate", "increase"
OVER_TIME = "avg_over_time", "min_over_time", "max_over_time"
FUNCTIONS = OF_COUNTERS + OVER_TIME
HOST = "host"
#: Rows that tell a step, the coarsest first: what they are called, and their milliseconds.
LEVELS = ("1h", 3_600_000), ("1m", 60_000)
RAW = "raw"
#: Milliseconds that a sample is the value of its series, until the next one; a longer step is what counts then.
HOLD_MS = 60_000
#: Seconds of a step where none was given, and how many steps an answer has at most.
_STEPS = (5, 10, 15, 30, 60, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400, 172_800, 604_800)
_MOST_STEPS = 250

_CONDITIONS = {
    "=": "{cell} = {value}", "!=": "{cell} != {value}",
    # A pattern fits the whole of a value, as in Prometheus, and a dot any character.
    "=~": "regexp_full_match({cell}, {value}, 's')", "!~": "NOT regexp_full_match({cell}, {value}, 's')",
}  # fmt: skip


class Matcher(NamedTuple):
    """What a label must be, or must not."""

    label: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Expression:
    """What is asked of which series; `window_ms` belongs to `function`, `by` to `aggregation`."""

    family: Family
    matchers: tuple[Matcher, ...] = ()
    function: str | None = None
    window_ms: int | None = None
    aggregation: str | None = None
    by: tuple[str, ...] = ()

    def reach_ms(self, step_ms: int) -> int:
        """How far before its step a value looks back."""
        return self.window_ms or max(step_ms, HOLD_MS)

    def step_ms(self, range_ms: int) -> int:
        """The step for a range where none was given."""
        least = range_ms / 1000 / _MOST_STEPS
        whole_weeks = -(-int(least) // _STEPS[-1]) * _STEPS[-1]
        return 1000 * next((step for step in _STEPS if step >= least), whole_weeks + _STEPS[-1])

    def resolution(self, step_ms: int) -> str:
        """The coarsest rows that tell this step and window."""
        spans = (step_ms, self.window_ms or step_ms)
        return next((name for name, length in LEVELS if not any(span % length for span in spans)), RAW)

    def series(self) -> tuple[str, dict[str, Any]]:
        """SQL and values that find series_id, labels and host of the series that are meant."""
        conditions = ["metric = $metric"]
        values: dict[str, Any] = {"metric": self.family.name}
        for number, (label, operator, value) in enumerate(self.matchers):
            cell = "host" if label == HOST else f"coalesce(labels[$label_{number}], '')"
            conditions.append(_CONDITIONS[operator].format(cell=cell, value=f"$value_{number}"))
            values |= {f"value_{number}": value} | ({} if label == HOST else {f"label_{number}": label})
        return f"SELECT series_id, labels, host FROM series WHERE {' AND '.join(conditions)}", values

    def group(self, labels: Mapping[str, str], host: str) -> dict[str, str]:
        """The labels that a series has once it is aggregated."""
        all_labels = {**labels, HOST: host}
        return {name: all_labels[name] for name in self.by if all_labels.get(name)}


def parsed(raw: Any) -> Expression:
    """The expression of a text; `ValueError` that says where it is not one, and what would be."""
    text = str(raw)
    if len(text) > 1000:
        raise ValueError("is not a text of at most 1000 characters")
    parser = _Parser(text)
    expression = parser.expression()
    parser.end()
    return expression


EXPRESSION = Type(parsed, {"type": "string", "maxLength": 1000})


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)|(?P<duration>[0-9][\w.]*)"""
    r"""|(?P<word>[A-Za-z_][\w:]*)|(?P<sign>=~|!~|!=|[={}()\[\],])|(?P<other>\S))""",
    re.ASCII,
)
_ESCAPED = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or "other"
        yield _Token(kind, found[kind], found.start(kind) + 1)
    yield _Token("end", "the end", len(text) + 1)


class _Parser:
    """Goes through the tokens once, from left to right."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0

    @property
    def _here(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, kind: str, wanted: str) -> str:
        token = self._here
        if token.kind != kind:
            raise self._wrong(wanted)
        self._next += 1
        return token.text

    def _sign(self, sign: str, wanted: str = "") -> None:
        if self._here.text != sign or self._here.kind != "sign":
            raise self._wrong(wanted or sign)
        self._next += 1

    def _at(self, sign: str) -> bool:
        if self._here.text == sign and self._here.kind in ("sign", "word"):
            self._next += 1
            return True
        return False

    def _wrong(self, wanted: str) -> ValueError:
        return ValueError(f"at character {self._here.at}: there is {self._here.text[:40]!r} instead of {wanted}")

    def end(self) -> None:
        """`ValueError` where the text goes on: operators between metrics are what SQL is for."""
        if self._here.kind != "end":
            raise self._wrong("the end; for more than one metric there is SQL")

    def expression(self) -> Expression:
        """An aggregation, a function or a selector."""
        if self._here.text not in AGGREGATIONS:
            return self._inner()
        aggregation = self._take("word", "a word")
        by = self._labels() if self._at("by") else None
        self._sign("(")
        inner = self._inner()
        self._sign(")")
        if by is None:
            by = self._labels() if self._at("by") else ()
        for label in by:
            _known(inner.family, label)
        return Expression(inner.family, inner.matchers, inner.function, inner.window_ms, aggregation, by)

    def _labels(self) -> tuple[str, ...]:
        self._sign("(", "the labels in (…)")
        found: list[str] = []
        while not self._at(")"):
            found.append(self._take("word", "a label"))
            if not self._at(","):
                self._sign(")", ", or )")
                break
        return tuple(dict.fromkeys(found))

    def _inner(self) -> Expression:
        if self._here.text not in FUNCTIONS:
            found = self._selector()
            if self._here.text == "[":
                raise self._wrong(f"the end; a window is for {', '.join(FUNCTIONS)}")
            return found
        function = self._take("word", "a word")
        self._sign("(")
        found = self._selector()
        _fits(function, found.family)
        self._sign("[", f"a window, as in {function}({found.family.name}[5m])")
        window = round(1000 * parse.duration(self._take("duration", "a duration like 5m")))
        if not 1 <= window < 1e12:
            raise ValueError("a window is between 1ms and thirty years")
        self._sign("]")
        self._sign(")")
        return Expression(found.family, found.matchers, function, window)

    def _selector(self) -> Expression:
        name = self._take("word", "the name of a metric")
        if self._here.text == "(" or (name == "without" and self._here.kind != "end"):
            raise ValueError(
                f"there is no {name[:40]} here; there are {', '.join((*FUNCTIONS, *AGGREGATIONS))} with by"
            )
        family = metric(name)
        return Expression(family, tuple(self._matchers(family)) if self._at("{") else ())

    def _matchers(self, family: Family) -> Iterator[Matcher]:
        while not self._at("}"):
            label = self._take("word", "a label")
            _known(family, label)
            if self._here.text not in _CONDITIONS:
                raise self._wrong("=, !=, =~ or !~")
            operator = self._take("sign", "a sign")
            yield Matcher(label, operator, _unquoted(self._take("text", 'a text in "…"')))
            if not self._at(","):
                self._sign("}", ", or }")
                return


def _fits(function: str, family: Family) -> None:
    counts = family.kind is Kind.COUNTER
    if function in OF_COUNTERS and not counts:
        raise ValueError(f"{function} is for counters, and {family.name} is none; there is {', '.join(OVER_TIME)}")
    if function in OVER_TIME and counts:
        raise ValueError(f"{function} is not for counters, and {family.name} is one; there is {', '.join(OF_COUNTERS)}")


def _known(family: Family, label: str) -> None:
    if label not in family.labels and label != HOST:
        raise ValueError(f"{family.name} has no label {label[:80]}; it has {', '.join((*family.labels, HOST))}")


def _unquoted(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    return _ESCAPED.sub(_plain, text[1:-1])


def _plain(escaped: re.Match[str]) -> str:
    code = escaped[0][1:]
    if code in _ESCAPES:
        return _ESCAPES[code]
    if len(code) == 1:
        raise ValueError(f"\\{code} stands for nothing; a backslash is \\\\")
    return chr(int(code[1:], 16))
