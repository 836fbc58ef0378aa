"""An adapter asked about a fake engine."""

from __future__ import annotations

import asyncio

from fakes.engines import FakeEngine
from tokwatt_exporter.engines.base import Asker, Model, State
from tokwatt_exporter.engines.client import Client
from tokwatt_exporter.engines.scan import adapter


def look(kind: str, engine: FakeEngine, times: int = 1) -> State:
    """The state that the last of some looks found; the engine runs only meanwhile, and keeps what it was asked."""

    async def repeatedly(ask: Asker) -> State:
        for _ in range(times - 1):
            await adapter(kind).look(ask, "e")
        return await adapter(kind).look(ask, "e")

    async def once() -> State:
        async with Client(engine.url, deadline=3.0) as ask:
            return await repeatedly(ask)

    with engine:
        return asyncio.run(once())


def unload(kind: str, engine: FakeEngine, model: str) -> bool:
    """Whether the engine dropped the model."""

    async def once() -> bool:
        async with Client(engine.url, deadline=3.0) as ask:
            return await adapter(kind).unload(ask, model)

    with engine:
        return asyncio.run(once())


def states(state: State) -> dict[str, str]:
    """Every model with the state it is in."""
    return {model.name: model.state for model in state.models}


def model(state: State, name: str) -> Model:
    """The model of that name."""
    return next(model for model in state.models if model.name == name)
