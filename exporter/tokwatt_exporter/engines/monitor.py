"""The collector of every engine: finds them, asks them all at once, and forgets those that stay away."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Collection, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.config import Config
from tokwatt_exporter.engines.base import State
from tokwatt_exporter.engines.client import Client, connect
from tokwatt_exporter.engines.discovery import Found
from tokwatt_exporter.engines.names import Names
from tokwatt_exporter.engines.processes import Processes, Usage
from tokwatt_exporter.engines.scan import WITHIN_SECONDS, Scan, descends
from tokwatt_exporter.engines.sockets import Listener, Sockets
from tokwatt_exporter.engines.watch import Outcome, Watch, readings, standing
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Reading

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Shares of the sample interval: one request, a whole probe, and once the first look around. The sampler gives a
#: collector 0.8 of the interval.
REQUEST_SHARE, PROBE_SHARE, FIRST_LOOK_SHARE = 0.3, 0.45, 0.3
LONGEST_REQUEST_SECONDS = 2.0
CLOSE_SECONDS = 2.0


class EngineMonitor(Collector):
    """Readings of every known engine. `owner` and `instances` may be called from any thread."""

    name = "engines"

    def __init__(
        self,
        config: Config,
        metrics: SelfMetrics,
        clock: Clock | None = None,
        scan: Scan | None = None,
        usage: Usage | None = None,
    ) -> None:
        """`UsageError` where an engine is configured in a way that would not be safe."""
        self._config = config
        self._metrics = metrics
        self._clock = clock or SystemClock()
        self._request = min(REQUEST_SHARE * config.sample_interval, LONGEST_REQUEST_SECONDS)
        self._limit = min(PROBE_SHARE * config.sample_interval, 2 * LONGEST_REQUEST_SECONDS)
        self._names = Names(config.engines)
        self._processes = Processes(usage)
        self._scan = scan or (Scan(config) if config.discovery_enabled else None)
        self._sockets = Sockets()
        self._watches: dict[str, Watch] = {}
        self._admitted: dict[str, dict[str, None]] = {}
        self._instances: tuple[Found, ...] = ()
        self._loaded: dict[str, int | None] = {}
        self._trees_stale = True
        for engine in config.engines:
            client = connect(engine, self._request)
            evidence = (f"configured as {engine.kind}",) if engine.kind else ("configured",)
            watch = Watch(client, self._limit, engine.kind, evidence, engine)
            watch.name = self._names.name(engine.url, engine.kind)
            self._watches[engine.url] = watch
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._discovery: asyncio.Task[None] | None = None
        self._discovered: asyncio.Event | None = None

    def read(self) -> list[Reading]:
        """Ask every known engine, all at once; a slow one answers one sample later and delays nobody."""
        return self._run(self._sample())

    def close(self) -> None:
        """Stop looking and close every connection."""
        if self._loop and self._thread:
            self._run(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_SECONDS)
            if not self._thread.is_alive():
                self._loop.close()

    def owner(self, pid: int) -> str | None:
        """The name of the engine that a process belongs to, if any."""
        return self._processes.owner(pid)

    def instances(self) -> tuple[Found, ...]:
        """The engines known after the latest sample, those that are down included."""
        return self._instances

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="engines", daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _stop(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for watch in self._watches.values():
            await watch.client.aclose()
        await asyncio.get_running_loop().shutdown_default_executor()

    async def _sample(self) -> list[Reading]:
        if self._discovery is None:
            await self._begin()
        late = [watch for watch in self._watches.values() if watch.slow]
        outcomes = {watch.url: outcome for watch in late if (outcome := watch.take(self._clock.awake()))}
        for watch in late:
            watch.start()
        outcomes |= await self._ask([watch for watch in self._watches.values() if not watch.slow])
        if await self._rename(outcomes):
            outcomes |= await self._ask([w for w in self._watches.values() if w.url in outcomes and w.last is None])
        await self._find_processes()
        published = [reading for watch in self._watches.values() for reading in self._publish(watch, outcomes)]
        self._instances = tuple(watch.found() for watch in self._watches.values())
        return published

    async def _ask(self, watches: Iterable[Watch]) -> dict[str, Outcome]:
        asked = list(watches)
        if not asked:
            return {}
        for watch in asked:
            # What a probe found that nobody waited for is older than this sample.
            if watch.task and watch.task.done():
                watch.task = None
        # Probes end by themselves at the limit; this is only so that a fault in one cannot hold the sample.
        await asyncio.wait([watch.start() for watch in asked], timeout=self._limit + 0.1)
        return {watch.url: outcome for watch in asked if (outcome := watch.take(self._clock.awake()))}

    async def _rename(self, outcomes: dict[str, Outcome]) -> bool:
        """Name engines by the kind they turned out to be; true where some must be asked again under their new name."""
        changed = [
            watch
            for watch in self._watches.values()
            if watch.url in outcomes and outcomes[watch.url].kind not in (None, watch.kind)
        ]
        # Two engines that swapped ports also swap names: both let go before either takes.
        for watch in changed:
            self._names.release(watch.url)
        for watch in changed:
            watch.kind = outcomes[watch.url].kind
            watch.name = self._names.name(watch.url, watch.kind)
            watch.last, watch.down_since, self._trees_stale = None, None, True
        return bool(changed)

    def _publish(self, watch: Watch, outcomes: dict[str, Outcome]) -> Iterable[Reading]:
        outcome = outcomes.get(watch.url)
        if outcome is None:
            # Still at it: only how the probe before went is known.
            if watch.last:
                yield from standing(watch.name, watch.last)
        else:
            state = outcome.state or State()
            models = {model.name for model in state.models}
            models |= {dict(reading.labels).get("model", "") for reading in state.readings}
            if state.dropped:
                self._metrics.inc(c.SAMPLES_DROPPED, state.dropped, reason="label_limit")
            yield from readings(watch.name, outcome, lambda model: self._admit(watch.url, model, models))
        yield from self._processes.readings(watch.name)

    def _admit(self, url: str, model: str, present: Collection[str]) -> bool:
        admitted = self._admitted.setdefault(url, {})
        if model not in admitted and len(admitted) >= c.MODELS_PER_ENGINE:
            for gone in [name for name in admitted if name not in present]:
                del admitted[gone]
        if model in admitted or len(admitted) < c.MODELS_PER_ENGINE:
            admitted[model] = None
            return True
        self._metrics.inc(c.SAMPLES_DROPPED, reason="label_limit")
        return False

    async def _find_processes(self) -> None:
        self._processes.begin()
        loaded = {w.url: w.last.state.loaded for w in self._watches.values() if w.last and w.last.state}
        if self._trees_stale or loaded != self._loaded:
            # A model that was loaded may run in a process of its own.
            self._loaded, self._trees_stale = loaded, False
            engines = {watch.name: watch.process for watch in self._watches.values()}
            await asyncio.to_thread(self._processes.find, engines)

    async def _begin(self) -> None:
        self._discovered = asyncio.Event()
        self._discovery = asyncio.create_task(self._discover())
        try:
            # The first sample has what the first round finds, where the interval leaves time for it.
            async with asyncio.timeout(min(FIRST_LOOK_SHARE * self._config.sample_interval, WITHIN_SECONDS + 0.5)):
                await self._discovered.wait()
        except TimeoutError:
            pass

    async def _discover(self) -> None:
        assert self._discovered
        while True:
            try:
                await self._look_around()
            except Exception:
                log.exception("looking for engines failed")
            self._discovered.set()
            await asyncio.sleep(self._config.discovery_interval)

    async def _look_around(self) -> None:
        known = [watch.listener for watch in self._watches.values() if watch.listener]
        listeners: Sequence[Listener]
        if self._scan:
            listeners, sightings = await self._scan.round(known)
        else:
            listeners, sightings = await asyncio.to_thread(self._sockets.listeners), ()
        for one in sightings:
            watch = self._watches.get(one.listener.url)
            if watch is None:
                client = Client(one.listener.url, deadline=self._request)
                watch = Watch(client, self._limit, one.kind, one.evidence, listener=one.listener)
                watch.name = self._names.name(watch.url, one.kind)
                self._watches[watch.url] = watch
                log.info("found engine %s at %s: %s", watch.name, watch.url, "; ".join(one.evidence))
            watch.met(one.listener)
        self._match(listeners)
        await self._forget()
        self._trees_stale = True

    def _match(self, listeners: Iterable[Listener]) -> None:
        by_url = {one.url: one for one in listeners}
        for watch in self._watches.values():
            one = by_url.get(watch.url.replace("//localhost", "//127.0.0.1"))
            if one:
                watch.met(one)

    async def _forget(self) -> None:
        now = self._clock.awake()
        parents = {watch.process.pid for watch in self._watches.values() if watch.process}
        for url, watch in list(self._watches.items()):
            gone = watch.down_since is not None and now - watch.down_since > self._config.discovery_forget_after
            child = watch.listener is not None and descends(watch.listener.pid, parents)
            if (gone or child) and not watch.configured:
                del self._watches[url]
                self._admitted.pop(url, None)
                self._names.release(url)
                if watch.task:
                    watch.task.cancel()
                await watch.client.aclose()
                log.info("engine %s at %s is forgotten", watch.name, url)
