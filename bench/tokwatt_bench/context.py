"""Prompts of an exact length, by the engine's own count."""

from __future__ import annotations

import json
from dataclasses import replace

from tokwatt_bench.plan import Plan
from tokwatt_bench.scenarios import Ask, LongContext, fit
from tokwatt_bench.stream import record
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.streams.stream import parse


def fitted(plan: Plan, tokens: int) -> Plan:
    """The plan with a prompt that the engine counts as so many tokens, within 1 %; `EngineError` where it cannot be."""
    found = fit(tokens, lambda text: _count(plan, text))
    if found.text is None:
        raise EngineError(f"--context {tokens}: {found.reason}")
    scenario = LongContext(tokens, found.text)
    return replace(plan, asks=scenario, scenario=scenario.name)


def _count(plan: Plan, text: str) -> int | None:
    """What the engine says that the prompt has, asked as the run will ask, for one token."""
    url, body, dialect = plan.generation(1, Ask(({"role": "user", "content": text},)))
    recording = record(url, json.dumps(body).encode(), plan.headers(), plan.timeout)
    answer = parse(recording.pieces, dialect)
    if recording.status != 200 or answer.error:
        why = answer.error or recording.detail or f"HTTP {recording.status}"
        raise EngineError(f"{plan.target.name} does not take a prompt of this length: {why}")
    return answer.prompt_tokens
