"""The table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One figure as text, its target and whether that was met (None: there is none), and what else there is to say."""

    what: str
    value: str
    target: str = ""
    met: bool | None = None
    note: str = ""


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def below(what: str, value: float, limit: float, show: str) -> Row:
    """A row whose value has to stay under the limit; `show` formats both."""
    return Row(what, show.format(value), "< " + show.format(limit), value < limit)


def quantile(values: Iterable[float], share: float) -> float:
    """The nearest-rank quantile."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the rows of one part of the table."""
    print(f"{title}\n{'-' * len(title)}")
    for row in rows:
        verdict = "" if row.met is None else ("ok" if row.met else "MISSED")
        print(f"{row.what:<66} {row.value:>32} {row.target:>13} {verdict}".rstrip())
        if row.note:
            print(textwrap.fill(row.note, 112, initial_indent="    ", subsequent_indent="    "))
    print(flush=True)
