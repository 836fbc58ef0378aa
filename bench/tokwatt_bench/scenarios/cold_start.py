"""`cold_start`: the first question to a model that is not in memory."""

from __future__ import annotations

from tokwatt_bench.scenarios.base import Ask, Listed, asked


class ColdStart(Listed):
    """The load is a figure of its own; the times of the request are those of a model that was just loaded."""

    name = "cold_start"
    description = "short questions, each to a model that was just loaded"
    cold = True
    listed = tuple(
        Ask(asked(question), name="short question")
        for question in (
            "What is the difference between weather and climate? Answer in three sentences.",
            "Give me a recipe for a soup with potatoes and leeks.",
            "Why is the sky dark at night although there are so many stars?",
            "Name five things to check before a long trip by bicycle.",
        )
    )
