"""Scores for people, and the file of answers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokwatt_bench.quality.score import Marks
from tokwatt_exporter.errors import TokwattError
from tokwatt_exporter.show import table

#: Of a suite, the failed items that are named; the JSON has all.
_MOST = 8


def scores(found: Mapping[str, Any]) -> None:
    """A line a suite, then what was wrong."""
    sys.stdout.write(f"{found['engine']} ({found['kind']}), {found['model']}\n\n")
    rows = (
        (one["suite"], f"{one['right']}/{one['answered']}", _percent(one["score"]), _interval(one["ci95"]), _note(one))
        for one in found["suites"]
    )
    table(("suite", "right", "score", "95 % interval", "note"), rows, right=("right", "score", "95 % interval"))
    for one in found["suites"]:
        for wrong in one["failed"][:_MOST]:
            sys.stdout.write(f"  {one['suite']}, {wrong['item']}: {wrong['why']}\n")
        if len(one["failed"]) > _MOST:
            sys.stdout.write(f"  {one['suite']}: {len(one['failed']) - _MOST} more, see --json\n")
    for finding in found["gate"]:
        sys.stdout.write(f"  {finding['kind']} in {finding['item']}: {finding['detail']}\n")
    if found["repeatable"] is False:
        sys.stdout.write(f"  the same question was not answered the same way: {found['differences'][0]}\n")


def answers(marks: Marks, path: Path) -> None:
    """A line of JSON an answer, readable by its owner only; `TokwattError` where the file cannot be written."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            for score in marks.scores:
                for one in score.given:
                    calls = [call._asdict() for call in one.said.calls]
                    row = {
                        "suite": score.suite.name, "item": one.item.name, "right": one.right,
                        "why": one.wrong or one.unanswered, "content": one.said.content,
                        "reasoning": one.said.reasoning, "calls": calls, "finish": one.said.finish,
                    }  # fmt: skip
                    # As ASCII: an engine can send half a character, which no file in UTF-8 takes.
                    file.write(json.dumps(row) + "\n")
    except OSError as error:
        raise TokwattError(f"--keep-answers: {path}: {error.strerror or type(error).__name__}") from None


def step(suite: str, number: int, count: int) -> None:
    """Where it is, for a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{suite} {number}/{count}")


def over() -> None:
    """Take the line away again."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"


def _interval(interval: list[float] | None) -> str | None:
    return None if interval is None else f"{interval[0]:.0%} … {interval[1]:.0%}"


def _note(one: Mapping[str, Any]) -> str | None:
    if one["reason"]:
        return str(one["reason"])
    return f"{len(one['unanswered'])} not answered: {one['unanswered'][0]['why']}" if one["unanswered"] else None
