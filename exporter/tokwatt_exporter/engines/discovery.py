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

#: Part of the time that is kept for looking at the engines that were recognised.
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
    by_user = not url or any(same(engine.url, url) for engine in config.engines)
    why = ("configured",) if by_user else ()
    if scan is None and config.discovery_enabled and not url:
        scan = Scan(config)
    examined = [Examined(engine.url, connect(engine, within), engine.kind, why) for engine in engines]
    recognise_within = max(within - LOOK_SECONDS, within / 2)
    try:
        _, seen = await asyncio.gather(
            gather([one.identify() for one in examined], recognise_within),
            scan.round((), recognise_within) if scan else _nothing(),
        )
        for kind, evidence, listener in ((s.kind, s.evidence, s.listener) for s in seen.sightings):
            client = Client(listener.url, deadline=within)
            examined.append(Examined(listener.url, client, kind, evidence, listener.pid, met=True))
        await gather([one.look() for one in examined if one.kind], end - time.monotonic())
    finally:
        await asyncio.gather(*(one.ask.aclose() for one in examined))
    pids = {listener.url: listener.pid for listener in seen.listeners}
    names = Names(config.engines)
    for one in examined:
        one.pid = one.pid or pids.get(one.url)
        if not by_user and not one.met:
            log.warning("%s: %s", one.url, one.problem)
    return [one.found(names.name(one.url, one.kind)) for one in examined if by_user or one.met]


def as_json(found: Iterable[Found]) -> dict[str, Any]:
    """What `tokwatt engines --json` prints."""
    keys = ("kind", "name", "url", "version", "models", "evidence")
    return {"engines": [{key: _plain(getattr(one, key)) for key in keys} for one in found]}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@dataclass(slots=True)
class Examined:
    """One engine under examination: a configured one, or one that a scan has met."""

    url: str
    ask: Client
    kind: str | None
    evidence: tuple[str, ...]
    pid: int | None = None
    #: Whether an engine has answered.
    met: bool = False
    state: State = field(default_factory=State)
    #: Why it is not met, or says less than it could.
    problem: str | None = "did not answer in time"

    async def identify(self) -> None:
        """Find out the kind, unless the user has said it."""
        if self.kind:
            self.evidence = (f"configured as {self.kind}",)
            return
        try:
            found = await recognise(self.ask)
        except EngineError as error:
            self.problem = str(error)
            return
        if found:
            self.kind, self.evidence, self.met = found[0], (*self.evidence, *found[1]), True
        else:
            self.problem = "is no engine that can be recognised"

    async def look(self) -> None:
        """Read version and models."""
        try:
            self.state = await adapter(self.kind or "").look(self.ask, "")
        except EngineError as error:
            # Who has proven to be an engine stays one; of a configured kind nothing is proven.
            self.problem = str(error)
        else:
            self.problem, self.met = self.state.problem, True

    def found(self, name: str) -> Found:
        """The result under its name."""
        evidence = (*self.evidence, self.problem) if self.problem else self.evidence
        models = tuple(model.name for model in self.state.models)
        return Found(
            self.kind, name, self.url, self.state.version, models, evidence, self.pid, self.met, self.problem
        )  # fmt: skip


def same(one: str, other: str) -> bool:
    """Whether two URLs name one server."""
    return _normal(one) == _normal(other)


def _normal(url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    return parts.scheme, host, port(url), parts.path.rstrip("/")


def _configured(config: Config, url: str) -> EngineConfig:
    return next((engine for engine in config.engines if same(engine.url, url)), EngineConfig(url))


async def _nothing() -> Round:
    return Round((), ())
