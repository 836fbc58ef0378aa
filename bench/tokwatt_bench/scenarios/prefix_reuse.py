"""`prefix_reuse`: the same long beginning before each question, as with agents and with documents."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tokwatt_bench.scenarios import prose
from tokwatt_bench.scenarios.base import Ask, Scenario, asked, shuffled

_WORDS = 1400
_QUESTIONS = (
    "Who appears most often in the first twenty entries?",
    "List three entries that mention the cellar.",
    "Which entry names the largest number?",
    "Write a short notice to all tenants about the repairs.",
    "What should the caretaker do on the next day?",
    "Which two entries contradict each other, if any?",
    "Sum up the first ten days in four sentences.",
    "Draft a reply to the insurance assessor.",
    "Name everything that was borrowed.",
    "Which floor has the most faults? Say how you counted.",
    "Turn the last five entries into a table.",
    "What is missing from this log that an owner would want to know?",
)


class PrefixReuse(Scenario):
    """The first request prefills the log, each one after it only its question, if the engine keeps what it has."""

    name = "prefix_reuse"
    description = "questions about the same long log, of which the engine should have all but the question cached"
    unique_prefix = False

    def asks(self, seed: int) -> Iterator[Ask]:
        """Questions after the log; another seed is another log."""
        number = random.Random(f"log {seed}").randrange(10**9)
        system = f"Log {number:09} of a house.\n\n{prose.text(_WORDS, seed)}\n\nAnswer questions about this log."
        for question in shuffled(_QUESTIONS, seed):
            yield Ask(asked(question, system=system), reuses_prefix=True, name="question about a log")
