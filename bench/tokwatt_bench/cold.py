"""A model that was not in memory: dropped, brought back, and how long that took."""

from __future__ import annotations

import asyncio
import json
import time

from tokwatt_bench.plan import Plan
from tokwatt_bench.request import Load
from tokwatt_bench.stream import record
from tokwatt_exporter.config import EngineConfig
from tokwatt_exporter.engines.base import COULD_NOT_LOAD, Asker, State
from tokwatt_exporter.engines.client import Client, connect
from tokwatt_exporter.errors import EngineError, UsageError
from tokwatt_exporter.streams.stream import parse

POLL_SECONDS = 0.1


def refuse(plan: Plan, flag: str = "--cold") -> None:
    """`UsageError` where the engine has no way to drop a model, which the flag needs."""
    target = plan.target
    if not target.adapter.unloads:
        raise UsageError(f"{flag}: {target.name} ({target.kind}) has no way to unload a model; restart it instead")


def unload(plan: Plan) -> bool:
    """Drop the model and wait until it is gone; False where it was not there. `EngineError` where it stays."""
    return asyncio.run(_unload(plan))


async def _unload(plan: Plan) -> bool:
    async with _asker(plan) as ask:
        return await _dropped(plan, ask, listed=False)


def load(plan: Plan) -> Load:
    """Drop the model and bring it back, each within `--timeout`; `EngineError` where the engine does not."""
    return asyncio.run(_load(plan))


async def _load(plan: Plan) -> Load:
    target = plan.target
    async with _asker(plan) as ask:
        await _dropped(plan, ask, listed=True)
        began = time.perf_counter()
        loading = await target.adapter.load(ask, target.model)
        if loading is None:
            return _by_request(plan)
        await _until(plan, ask, there=True)
        took = time.perf_counter() - began
    return Load(loading.seconds, "engine") if loading.seconds else Load(took, "load")


def _asker(plan: Plan) -> Client:
    return connect(plan.target.configured or EngineConfig(plan.target.url), plan.timeout, plan.timeout)


async def _dropped(plan: Plan, ask: Asker, *, listed: bool) -> bool:
    target = plan.target
    if not await _in_memory(plan, ask, listed=listed):
        return False
    if not await target.adapter.unload(ask, target.model):
        why = "as it runs it may have no way to, restart it instead"
        raise EngineError(f"{target.name} did not unload {target.model}: {why}")
    await _until(plan, ask, there=False)
    return True


async def _in_memory(plan: Plan, ask: Asker, *, listed: bool = False) -> bool:
    """Whether the model is there or on its way; `EngineError` where it must be listed and is not."""
    states = await _states(plan, ask)
    if listed and not states:
        raise EngineError(f"{plan.target.name} does not list {plan.target.model}: whether it is in memory is not known")
    return bool({"loaded", "loading"} & states)


async def _loaded(plan: Plan, ask: Asker) -> bool:
    try:
        state = await plan.target.adapter.look(ask, plan.target.name)
    except EngineError:
        # Some answer nothing while they load.
        return False
    states = _of(plan, state)
    if not {"loaded", "loading"} & states and (state.problem or "").startswith(COULD_NOT_LOAD):
        raise EngineError(f"{plan.target.name} {state.problem}")
    return "loaded" in states


async def _states(plan: Plan, ask: Asker) -> set[str]:
    return _of(plan, await plan.target.adapter.look(ask, plan.target.name))


def _of(plan: Plan, state: State) -> set[str]:
    return {model.state for model in state.models if model.name == plan.target.model}


async def _until(plan: Plan, ask: Asker, *, there: bool) -> None:
    end = time.monotonic() + plan.timeout
    while not (await _loaded(plan, ask) if there else not await _in_memory(plan, ask)):
        if time.monotonic() > end:
            what = "load" if there else "drop"
            raise EngineError(f"{plan.target.name} did not {what} {plan.target.model} within {plan.timeout:g} s")
        await asyncio.sleep(POLL_SECONDS)


def _by_request(plan: Plan) -> Load:
    url, body, dialect = plan.generation(max_tokens=1)
    recording = record(url, json.dumps(body).encode(), plan.headers(), plan.timeout)
    answer = parse(recording.pieces, dialect)
    if recording.status != 200 or answer.error or not answer.terminated:
        status = f"HTTP {recording.status}" if recording.status not in (0, 200) else "the answer is not whole"
        why = recording.detail or answer.error or status
        raise EngineError(f"{plan.target.name} did not load {plan.target.model}: {why}")
    if answer.load_seconds:
        return Load(answer.load_seconds, "engine")
    return Load((recording.ended_ns - recording.sent_ns) / 1e9, "request")
