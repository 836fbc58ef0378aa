"""The engines there are: the configured ones and those that a scan finds, each with the reason why it is listed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tokwatt_exporter.config import Config, EngineConfig
from tokwatt_exporter.engines.base import State
from tokwatt_exporter.engines.client import Client, connect
from tokwatt_exporter.engines.names import Names
from tokwatt_exporter.engines.scan import WITHIN_SECONDS, Round, Scan, adapter, gather, port, recognise
from tokwatt_exporter.errors import EngineError

log = logging.getLogger(__name__)

#: What is left of it to look at the engines that were recognised.
LOOK_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Found:
    """An engine and why it was taken for one. A configured engine that is down is `up=False`."""

    kind: str | None
    name: str
    url: str
    version: str | None = None
    models: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    pid: int | None = None
    up: bool = True
    problem: str | None = None


def find_now(config: Config, url: str | None = None) -> list[Found]:
    """`find` for callers without an event loop."""
    return asyncio.run(find(config, url))


async def find(
    config: Config, url: str | None = None, within: float = WITHIN_SECONDS, scan: Scan | None = None
) -> list[Found]:
    """The engines on this machine and the configured ones, within `within` seconds; only the one at `url` if given.

    `UsageError` where an API key cannot be used as configured.
    """
    end = time.monotonic() + within
    engines = [_configured(config, url)] if url else list(config.engines)
    known_to_user = bool(not url or any(same(engine.url, url) for engine in config.engines))
    why = ("configured",) if known_to_user else ()
    clients = [connect(engine, within) for engine in engines]
    look_by = min(LOOK_SECONDS, within / 2)
    if scan is None and config.discovery_enabled and not url:
        scan = Scan(config)
    try:
        given, seen = await asyncio.gather(
            gather(
                [_identify(engine, ask, why) for engine, ask in zip(engines, clients, strict=True)], within - look_by
            ),
            scan.round((), within - look_by) if scan else _nothing(),
        )
        examined = [
            answer or Examined(engine.kind, why, error="did not answer in time")
            for engine, answer in zip(engines, given, strict=True)
        ]
        urls = [engine.url for engine in engines] + [sighting.listener.url for sighting in seen.sightings]
        clients += [Client(sighting.listener.url, deadline=within) for sighting in seen.sightings]
        examined += [Examined(s.kind, s.evidence, pid=s.listener.pid) for s in seen.sightings]
        await gather([_look(one, ask) for one, ask in zip(examined, clients, strict=True)], end - time.monotonic())
    finally:
        await asyncio.gather(*(client.aclose() for client in clients))
    for one, where in zip(examined, urls, strict=True):
        if one.error and not known_to_user:
            log.warning("%s: %s", where, one.error)
    pids = {listener.url: listener.pid for listener in seen.listeners}
    names = Names(config.engines)
    return [
        one.found(names.name(where, one.kind), where, one.pid or pids.get(where))
        for one, where in zip(examined, urls, strict=True)
        if known_to_user or not one.error
    ]


def as_json(found: Iterable[Found]) -> dict[str, Any]:
    """What `tokwatt engines --json` prints."""
    keys = ("kind", "name", "url", "version", "models", "evidence")
    return {"engines": [{key: _plain(getattr(one, key)) for key in keys} for one in found]}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@dataclass(slots=True)
class Examined:
    """What is known so far about one engine under examination."""

    kind: str | None
    evidence: tuple[str, ...]
    state: State = field(default_factory=State)
    error: str | None = None
    pid: int | None = None

    def found(self, name: str, url: str, pid: int | None) -> Found:
        """The result under its name."""
        evidence = self.evidence + ((self.error,) if self.error else ())
        if self.state.problem:
            evidence += (self.state.problem,)
        models = tuple(model.name for model in self.state.models)
        return Found(
            self.kind, name, url, self.state.version, models, evidence, pid, not self.error, self.state.problem
        )


def same(one: str, other: str) -> bool:
    """Whether two URLs name one server."""
    return _normal(one) == _normal(other)


def _normal(url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    return parts.scheme, host, port(url), parts.path.rstrip("/")


def _configured(config: Config, url: str) -> EngineConfig:
    return next((engine for engine in config.engines if same(engine.url, url)), EngineConfig(url))


async def _identify(engine: EngineConfig, ask: Client, why: tuple[str, ...]) -> Examined:
    if engine.kind:
        return Examined(engine.kind, (f"configured as {engine.kind}",))
    try:
        found = await recognise(ask)
    except EngineError as error:
        return Examined(None, why, error=str(error))
    if not found:
        return Examined(None, why, error="is no engine that can be recognised")
    return Examined(found[0], (*why, *found[1]))


async def _look(one: Examined, ask: Client) -> None:
    if one.error or not one.kind:
        return
    try:
        one.state = await adapter(one.kind).look(ask, "")
    except EngineError as error:
        one.error = str(error)


async def _nothing() -> Round:
    return Round((), ())
