"""Finding engines: the configured ones, those on their default ports, and those among the user's own processes."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil

from tokwatt_exporter.config import Config, EngineConfig
from tokwatt_exporter.engines.base import Asker, Engine, State
from tokwatt_exporter.engines.client import Client, NoAnswer, connect, is_loopback
from tokwatt_exporter.engines.names import Names
from tokwatt_exporter.engines.openai_compatible import SHARED_SECONDS
from tokwatt_exporter.engines.registry import ADAPTERS, load
from tokwatt_exporter.engines.sockets import Listener, Sockets
from tokwatt_exporter.errors import EngineError

log = logging.getLogger(__name__)

#: For a whole round, whatever the ports do.
WITHIN_SECONDS = 1.5
#: What is left of it to look at the engines that were recognised.
LOOK_SECONDS = 0.4
#: Ports below belong to the system's services.
LOWEST_PORT = 1024
#: More listeners than this are not asked in one round; the rest has its turn in the next.
MAX_PROBES = 128
#: A port that said nothing is asked again after this long, then after twice as long, up to the second.
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 15.0, 600.0


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


class Sighting(NamedTuple):
    """An engine recognised behind a listening socket."""

    listener: Listener
    kind: str
    evidence: tuple[str, ...]


class Round(NamedTuple):
    """What one round of discovery saw: every listener, and the engines behind those that were not known yet."""

    listeners: Sequence[Listener]
    sightings: tuple[Sighting, ...]


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
    clients = [connect(engine, within) for engine in engines]
    look_by = min(LOOK_SECONDS, within / 2)
    if scan is None and config.discovery_enabled and not url:
        scan = Scan(config)
    try:
        given, seen = await asyncio.gather(
            gather([_identify(engine, ask) for engine, ask in zip(engines, clients, strict=True)], within - look_by),
            scan.round((), within - look_by) if scan else _nothing(),
        )
        examined = [
            answer or Examined(engine.kind, ("configured",), error="did not answer in time")
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


@functools.cache
def adapter(kind: str) -> Engine:
    """The one adapter of a kind."""
    return load(kind)()


async def recognise(ask: Asker) -> tuple[str, tuple[str, ...]] | None:
    """Kind and evidence of the engine that answers, or None. Raises `NoAnswer` where it may be worth asking again."""
    # One question that all adapters share: what is no HTTP server, or has no such page, is asked nothing else.
    first = await ask.get("/v1/models", SHARED_SECONDS)
    for kind in ADAPTERS:
        try:
            evidence = await adapter(kind).recognise(ask)
        except NoAnswer:
            raise
        except EngineError:
            continue
        if evidence:
            return kind, tuple(evidence)
    if first.status >= 500:
        raise NoAnswer(f"answers HTTP {first.status}")
    return None


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


class Scan:
    """Looks for engines on loopback, round after round, and remembers what turned out to be none."""

    def __init__(
        self,
        config: Config,
        sockets: Callable[[], Sequence[Listener]] | None = None,
        hints: Collection[int] | None = None,
    ) -> None:
        """`sockets` lists who listens, `hints` are ports to try; by default this machine's and the adapters'."""
        self._sockets = sockets or Sockets().listeners
        self._hints = {p for kind in ADAPTERS for p in adapter(kind).ports} if hints is None else set(hints)
        self._skip = {address.port for address in config.web_listen_address}
        self._skip |= {port(engine.url) for engine in config.engines if is_loopback(engine.url)}
        self._retry: dict[Listener, tuple[float, float]] = {}

    async def round(self, known: Collection[Listener], within: float = WITHIN_SECONDS) -> Round:
        """Ask every listener that is neither known nor remembered; engines' own children are left out."""
        end = time.monotonic() + within
        listeners = await asyncio.to_thread(self._sockets)
        parents = {one.pid for one in known if one.pid}
        asked = [one for one in await self._candidates(listeners) if one not in known and self._due(one)]
        asked = [one for one in asked if not descends(one.pid, parents)][:MAX_PROBES]
        answers = await gather([self._probe(one) for one in asked], end - time.monotonic())
        for one, answer in zip(asked, answers, strict=True):
            if answer is None:
                self._later(one)
        seen = [answer for answer in answers if isinstance(answer, Sighting)]
        parents |= {sighting.listener.pid for sighting in seen if sighting.listener.pid}
        for sighting in seen:
            if descends(sighting.listener.pid, parents):
                self._retry[sighting.listener] = (math.inf, math.inf)
        return Round(listeners, tuple(s for s in seen if s.listener not in self._retry))

    def _due(self, one: Listener) -> bool:
        return time.monotonic() >= self._retry.get(one, (0.0, 0.0))[0]

    def _later(self, one: Listener) -> None:
        wait = min(2 * self._retry[one][1], LAST_RETRY_SECONDS) if one in self._retry else FIRST_RETRY_SECONDS
        self._retry[one] = (time.monotonic() + wait, wait)

    async def _candidates(self, listeners: Sequence[Listener]) -> list[Listener]:
        seen = {one.port for one in listeners}
        # macOS does not list the sockets of other users: those ports are tried.
        unseen = [Listener("127.0.0.1", port) for port in sorted(self._hints - seen - self._skip)]
        opened = await asyncio.gather(*(_opens(one) for one in unseen))
        # Whoever closed its port may be another process when it is open again.
        present = set(listeners) | {one for one, is_open in zip(unseen, opened, strict=True) if is_open}
        self._retry = {one: retry for one, retry in self._retry.items() if one in present}
        wanted = [
            one
            for one in present
            if one.port not in self._skip and (one.port in self._hints or (one.pid and one.port >= LOWEST_PORT))
        ]
        return sorted(wanted, key=lambda one: (one.port not in self._hints, one.port, one.host))

    async def _probe(self, one: Listener) -> Sighting | str | None:
        """A sighting, the text why it is no engine, or None where it should be asked again."""
        try:
            async with Client(one.url, deadline=WITHIN_SECONDS) as ask:
                found = await recognise(ask)
        except NoAnswer:
            return None
        except EngineError as error:
            found, reason = None, str(error)
        else:
            reason = "is no engine"
        if found:
            self._retry.pop(one, None)
            where = f"process {one.pid} listens on port {one.port}" if one.pid else f"something listens on {one.port}"
            return Sighting(one, found[0], (*found[1], where))
        # Of a process that is not visible it cannot be told whether it is still the same.
        self._retry[one] = (math.inf, math.inf) if one.pid else (time.monotonic() + LAST_RETRY_SECONDS, math.inf)
        log.debug("%s: %s", one.url, reason)
        return reason


async def gather(work: Sequence[Any], within: float) -> list[Any]:
    """The results in order, None for what was not done in time."""
    if not work:
        return []
    tasks = [asyncio.ensure_future(one) for one in work]
    _, late = await asyncio.wait(tasks, timeout=max(within, 0.0))
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return [None if task in late else task.result() for task in tasks]


def same(one: str, other: str) -> bool:
    """Whether two URLs name one server."""
    return _normal(one) == _normal(other)


def port(url: str) -> int:
    """The port of a URL, its scheme's own where none is written."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _normal(url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    return parts.scheme, host, port(url), parts.path.rstrip("/")


def _configured(config: Config, url: str) -> EngineConfig:
    return next((engine for engine in config.engines if same(engine.url, url)), EngineConfig(url))


async def _identify(engine: EngineConfig, ask: Client) -> Examined:
    if engine.kind:
        return Examined(engine.kind, (f"configured as {engine.kind}",))
    try:
        found = await recognise(ask)
    except EngineError as error:
        return Examined(None, ("configured",), error=str(error))
    if not found:
        return Examined(None, ("configured",), error="is no engine that can be recognised")
    return Examined(found[0], ("configured", *found[1]))


async def _look(one: Examined, ask: Client) -> None:
    if one.error or not one.kind:
        return
    try:
        one.state = await adapter(one.kind).look(ask, "")
    except EngineError as error:
        one.error = str(error)


async def _opens(one: Listener) -> bool:
    try:
        async with asyncio.timeout(0.2):
            _, writer = await asyncio.open_connection(one.host, one.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _nothing() -> Round:
    return Round((), ())


def descends(pid: int | None, parents: Collection[int | None]) -> bool:
    """Whether a process is a child, grandchild, … of one of `parents`."""
    if pid is None:
        return False
    try:
        return any(parent.pid in parents for parent in psutil.Process(pid).parents())
    except psutil.Error:
        return False
