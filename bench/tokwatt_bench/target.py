"""Which engine and which model are measured: what the user said, else the only one there is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import NamedTuple

from tokwatt_exporter import parse
from tokwatt_exporter.config import Config, EngineConfig
from tokwatt_exporter.engines.base import Engine, Model, State
from tokwatt_exporter.engines.client import api_key, connect, is_loopback
from tokwatt_exporter.engines.discovery import Found, find_now, same
from tokwatt_exporter.engines.names import Names
from tokwatt_exporter.engines.registry import ADAPTERS
from tokwatt_exporter.engines.scan import adapter, port, recognise
from tokwatt_exporter.engines.sockets import Sockets
from tokwatt_exporter.errors import EngineError, UsageError

#: Kinds that say for certain which models they have; the others may know more than they list.
_LISTS_ALL = ("llama_cpp", "ollama")
_UNKNOWN = "openai_compatible"


class Target(NamedTuple):
    """The engine and the model that will be measured."""

    name: str
    kind: str
    version: str | None
    url: str
    model: str
    adapter: Engine
    key: str | None
    #: The engine's process; None where it is hidden or on another machine.
    pid: int | None
    local: bool
    configured: EngineConfig | None = None


def choose(config: Config, url: str | None, engine: str | None, model: str | None) -> Target:
    """Find the engine and settle on a model. `UsageError` lists what there is where the choice is the user's;
    `EngineError` where the engine does not answer.
    """
    if url:
        url = parse.flag("--url", parse.engine_url, url)
    found = _at(config, url, engine, model) if url else _one(find_now(config), engine)
    configured = _configured(config, found.url)
    kind = found.kind or _UNKNOWN
    state = asyncio.run(_look(configured, adapter(kind))) if found.kind else State()
    local = is_loopback(found.url)
    key = api_key(configured)
    pid = found.pid or (_listener(found.url) if local else None)
    return Target(
        found.name, kind, state.version or found.version, found.url,
        _model(found, kind, state.models, model), adapter(kind), key.value if key else None, pid, local, configured,
    )  # fmt: skip


def _at(config: Config, url: str, engine: str | None, model: str | None) -> Found:
    """The engine at a URL. One that is not recognised has no kind, unless the user says which."""
    configured = _configured(config, url)
    kind = configured.kind or (engine if engine in ADAPTERS else asyncio.run(_recognise(configured)))
    name = Names(config.engines).name(configured.url, kind or _UNKNOWN)
    if engine and engine not in (name, kind):
        raise UsageError(f"--engine: {url} is {name}, not {engine}; a kind is one of {', '.join(ADAPTERS)}")
    if kind is None and not model:
        raise EngineError(f"{url}: no engine was recognised there; with --model it is measured all the same")
    if kind is None:
        sys.stderr.write(f"tokwatt-bench: {url} was not recognised; asking it as {_UNKNOWN}\n")
    return Found(kind, name, configured.url)


async def _recognise(engine: EngineConfig) -> str | None:
    async with connect(engine, 5.0) as client:
        try:
            found = await recognise(client)
        except EngineError as error:
            raise EngineError(f"{engine.url}: {error}") from None
    return found[0] if found else None


def _one(found: Sequence[Found], engine: str | None) -> Found:
    found = [one for one in found if one.up]
    if engine:
        found = [one for one in found if engine == one.name] or [one for one in found if engine == one.kind] or (
            _none_called(engine, found)
        )  # fmt: skip
    if not found:
        raise UsageError("no engine was found on this machine; name one with --url or [[engine]] in the configuration")
    if len(found) > 1:
        listed = ", ".join(f"{one.name} ({one.url})" for one in found)
        raise UsageError(f"there are {len(found)} engines, choose one with --engine or --url: {listed}")
    return found[0]


def _none_called(engine: str, found: Sequence[Found]) -> list[Found]:
    there = ", ".join(f"{one.name} ({one.url})" for one in found) or "none"
    raise UsageError(f"--engine: no engine {engine} was found; found: {there}")


def _model(found: Found, kind: str, models: Sequence[Model], wanted: str | None) -> str:
    names = list(dict.fromkeys(model.name for model in models))
    if wanted:
        if not names or wanted in names:
            return wanted
        if f"{wanted}:latest" in names:
            return f"{wanted}:latest"
        if kind in _LISTS_ALL:
            raise UsageError(f"--model: {found.name} has no model {wanted}; it has: {', '.join(names)}")
        sys.stderr.write(f"tokwatt-bench: {found.name} does not list {wanted}; asking for it all the same\n")
        return wanted
    for states in (("loaded",), ("sleeping",), ("available", "loading")):
        names = list(dict.fromkeys(model.name for model in models if model.state in states))
        if len(names) == 1:
            why = "the only one in memory" if len(models) > 1 else "the only one there is"
            sys.stderr.write(f"tokwatt-bench: model {names[0]} of {found.name}, {why}\n")
            return names[0]
        if names:
            raise UsageError(f"{found.name} has {len(names)} models, choose one with --model: {', '.join(names)}")
    problem = found.problem or "it lists none"
    raise UsageError(f"{found.name} ({found.url}) has no model to measure: {problem}; name one with --model")


async def _look(engine: EngineConfig, kind: Engine) -> State:
    async with connect(engine, 5.0) as client:
        try:
            return await kind.look(client, "")
        except EngineError as error:
            raise EngineError(f"{engine.url}: {error}") from None


def _configured(config: Config, url: str) -> EngineConfig:
    return next((engine for engine in config.engines if same(engine.url, url)), EngineConfig(url))


def _listener(url: str) -> int | None:
    return next((one.pid for one in Sockets().listeners() if one.port == port(url)), None)
