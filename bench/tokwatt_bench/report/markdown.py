"""A report as Markdown, for a pull request or a note."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tokwatt_bench.explain import BY_NAME
from tokwatt_bench.report.rows import Result, absent, facts, names, rows, shown_with_tails, title, warnings


def markdown(results: Sequence[Result]) -> str:
    """Results with their figures, failures and conditions, and what the figures mean."""
    heading = title(results[0]) if len(results) == 1 else f"{len(results)} benchmark results"
    lines = [f"# {_safe(heading)}", ""]
    for name, result in zip(names(results), results, strict=True):
        lines += [f"## {_safe(name)}", ""] if len(results) > 1 else []
        lines += _result(result)
    there = {row.metric.name for result in results for row in rows(result)}
    lines += ["## What the figures mean", ""]
    lines += [f"- **{m.title}**: {m.definition}" for name, m in BY_NAME.items() if name in there]
    return "\n".join(lines) + "\n"


def _result(result: Result) -> Iterator[str]:
    found = rows(result)
    yield from (
        "| Figure | Median | 95 % interval | p95 | p99 | Max | Of | Unit |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    )
    yield from (f"| {row.metric.title} | {' | '.join(shown_with_tails(row))} |" for row in found if row.p50 is not None)
    yield ""
    for failure in result["failures"]:
        said = _safe(str(failure["detail"]))
        yield f"- **{failure['count']} of {result['runs']} requests failed** ({failure['class']}): {said}"
    yield from (f"- **{_safe(warning)}**" for warning in warnings(result))
    known = {row.metric.name for row in found if row.p50 is not None}
    yield from (f"- No {_safe(name)}: {_safe(why)}" for name, why in absent(result).items() if name not in known)
    yield from (f"- {_safe(note)}" for note in result["notes"])
    yield ""
    yield from ("| | |", "|---|---|")
    yield from (f"| {_safe(name)} | {_safe(text)} |" for name, text in facts(result))
    yield ""


def _safe(text: str) -> str:
    """Text of others as it is: on one line, and no sign of it taken for Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|#!~&$])", r"\\\1", " ".join(text.split()))
