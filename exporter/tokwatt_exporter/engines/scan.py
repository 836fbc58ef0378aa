"""Looking for engines on loopback, round after round: on their default ports and among the user's own processes."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil

from tokwatt_exporter.config import Config
from tokwatt_exporter.engines.base import Asker, Engine
from tokwatt_exporter.engines.client import Client, NoAnswer, is_loopback
from tokwatt_exporter.engines.openai_compatible import SHARED_SECONDS
from tokwatt_exporter.engines.registry import ADAPTERS, load
from tokwatt_exporter.engines.sockets import Listener, Sockets
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.proxy.state import ports

log = logging.getLogger(__name__)

#: For a whole round, whatever the ports do.
WITHIN_SECONDS = 1.5
#: Ports below belong to the system's services.
LOWEST_PORT = 1024
#: More listeners than this are not asked in one round; the rest has its turn in the next.
MAX_PROBES = 128
#: A port that said nothing is asked again after this long, then after twice as long, up to the second.
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 15.0, 600.0


class Sighting(NamedTuple):
    """An engine recognised behind a listening socket."""

    listener: Listener
    kind: str
    evidence: tuple[str, ...]


class Round(NamedTuple):
    """What one round of discovery saw: every listener, and the engines behind those that were not known yet."""

    listeners: Sequence[Listener]
    sightings: tuple[Sighting, ...]


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
        usual = {p for kind in ADAPTERS for p in adapter(kind).ports} if hints is None else set(hints)
        self._hints = set(config.discovery_port) or usual
        self._anywhere = not config.discovery_port
        self._skip = {address.port for address in config.web_listen_address}
        self._skip |= {port(engine.url) for engine in config.engines if is_loopback(engine.url)}
        self._data_dir = config.data_dir
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
        # Asked for only now: a proxy that has just started was not there when the listeners were.
        own = ports(self._data_dir)
        seen = [answer for answer in answers if isinstance(answer, Sighting) and answer.listener.port not in own]
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
        # A proxy answers like the engine behind it, and is none.
        own = ports(self._data_dir)
        wanted = [
            one
            for one in present
            if one.port not in self._skip
            and one.port not in own
            and (one.port in self._hints or (self._anywhere and one.pid and one.port >= LOWEST_PORT))
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


def port(url: str) -> int:
    """The port of a URL, its scheme's own where none is written."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


async def _opens(one: Listener) -> bool:
    try:
        async with asyncio.timeout(0.2):
            _, writer = await asyncio.open_connection(one.host, one.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def descends(pid: int | None, parents: Collection[int | None]) -> bool:
    """Whether a process is a child, grandchild, … of one of `parents`."""
    if pid is None:
        return False
    try:
        return any(parent.pid in parents for parent in psutil.Process(pid).parents())
    except psutil.Error:
        return False
