"""Scores of suites with their intervals, as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokwatt_bench.quality.base import VERSION, Suite
from tokwatt_bench.quality.examine import Asking, Given, answer, gated, repeats, why_not
from tokwatt_bench.quality.sandbox import guards

_Z = 1.959964


@dataclass
class Score:
    """A suite as it turned out; `reason` says why it was not asked."""

    suite: Suite
    given: list[Given] = field(default_factory=list)
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """The score over the answers that came, its 95 % interval, and each answer that was not right."""
        answered = [one for one in self.given if one.unanswered is None]
        right = sum(one.right for one in answered)
        reason = self.reason or ("" if answered else "no question was answered")
        return {
            "suite": self.suite.name, "items": len(self.given), "answered": len(answered), "right": right,
            "score": right / len(answered) if answered else None,
            "ci95": wilson(right, len(answered)) if answered else None, "reason": reason or None,
            "failed": [{"item": one.item.name, "why": one.wrong} for one in answered if one.wrong],
            "unanswered": [{"item": one.item.name, "why": one.unanswered} for one in self.given if one.unanswered],
        }  # fmt: skip


@dataclass
class Marks:
    """All suites of a run; suites that were not reached are not in it."""

    asking: Asking
    scores: list[Score] = field(default_factory=list)
    #: Whether one question, asked three times, was answered the same way; None where that was not asked.
    repeatable: bool | None = None
    differences: list[str] = field(default_factory=list)
    aborted: bool = False
    #: What held the code that was executed.
    sandbox: tuple[str, ...] = ()

    @property
    def given(self) -> list[Given]:
        """All answers."""
        return [one for score in self.scores for one in score.given]

    def as_json(self) -> dict[str, Any]:
        """The document of `--json`."""
        target = self.asking.target
        api = self.asking.api or target.adapter.apis[0]
        return {
            "engine": target.name, "kind": target.kind, "version": target.version, "url": target.url,
            "model": target.model, "content_version": VERSION, "aborted": self.aborted,
            "settings": {
                "api": api, "max_tokens": self.asking.max_tokens, "temperature": 0, "needle_tokens":
                list(self.asking.options.lengths), "executed_code": self.asking.options.execute,
            },
            "suites": [score.as_json() for score in self.scores],
            "sandbox": list(self.sandbox) if self.asking.options.execute else None,
            "repeatable": self.repeatable, "differences": self.differences,
            "gate": [
                {"item": name, "kind": found.kind, "detail": found.detail} for name, found in gated(self.given)
            ],
        }  # fmt: skip


def mark(asking: Asking, suites: Sequence[Suite], step: Callable[[str, int, int], None]) -> Marks:
    """Ask all suites; what was asked before an interruption is kept."""
    marks = Marks(asking, sandbox=guards() if asking.options.execute else ())
    try:
        for suite in suites:
            score = Score(suite, reason=why_not(asking, suite))
            marks.scores.append(score)
            if not score.reason:
                _ask(asking, score, step)
        _repeat(marks)
    except KeyboardInterrupt:
        marks.aborted = True
    return marks


def wilson(right: float, count: float) -> list[float]:
    """The 95 % interval of a share by Wilson's score, which holds with few items and at 0 and 1, too."""
    share, z2 = right / count, _Z * _Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return [max(middle - half, 0.0), min(middle + half, 1.0)]


def _ask(asking: Asking, score: Score, step: Callable[[str, int, int], None]) -> None:
    items = score.suite.items(asking.options)
    for number, item in enumerate(items, 1):
        step(score.suite.name, number, len(items))
        # One by one, so that none is lost by an interruption.
        score.given.append(answer(asking, item))


def _repeat(marks: Marks) -> None:
    item = next((one.item for one in marks.given if one.unanswered is None), None)
    if item is None:
        return
    found = repeats(marks.asking, item)
    if found is not None:
        marks.repeatable, marks.differences = not found, [one.detail for one in found]
