"""The engines of a made-up machine, and benchmarks of them that nobody ran."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor, inf

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.demo.hardware import Part
from tokwatt_exporter.demo.load import BEGAN
from tokwatt_exporter.demo.machines import Engine
from tokwatt_exporter.families import Distribution, Histogram
from tokwatt_exporter.snapshot import Reading

#: Tokens of a request.
PROMPT, ANSWER = 900.0, 260.0
#: Seconds between two benchmarks, and how long one runs.
BETWEEN, RUNS_FOR = 3600, 210

#: How many of the values are up to each bound while it is quiet, and while it is busy.
Spread = tuple[tuple[float, float, float], ...]
FIRST_TOKEN: Spread = (
    (0.1, 0.06, 0), (0.25, 0.38, 0.05), (0.5, 0.82, 0.24), (1, 0.96, 0.61), (2.5, 0.99, 0.9), (5, 1, 0.98), (inf, 1, 1),
)  # fmt: skip
BETWEEN_TOKENS: Spread = (
    (0.005, 0.04, 0), (0.01, 0.3, 0.08), (0.025, 0.93, 0.57), (0.05, 0.99, 0.91), (0.1, 1, 0.99), (inf, 1, 1),
)  # fmt: skip
WHOLE: Spread = (
    (1, 0.12, 0.02), (2.5, 0.46, 0.14), (5, 0.83, 0.45), (10, 0.97, 0.81), (30, 1, 0.98), (60, 1, 1), (inf, 1, 1),
)  # fmt: skip


class Engines(Part):
    """Engines, models, queues and processes."""

    name = "engines"

    def readings(self, now: float) -> Iterator[Reading]:
        """What each engine would tell, and what the OS would tell of its processes."""
        for engine in self.machine.engines:
            yield c.ENGINE_UP(not engine.down, engine=engine.name)
            yield c.ENGINE_PROBE_DURATION(0.004, engine=engine.name)
            if engine.down:
                continue
            yield c.ENGINE_INFO(engine=engine.name, kind=engine.name, version=engine.version)
            yield c.ENGINE_MODELS_LOADED(1, engine=engine.name)
            yield from self._model(engine, now)
            yield from self._processes(engine, now)
            yield from self._work(engine, now)
            if engine.metrics:
                yield from self._queues(engine, now)

    def _model(self, engine: Engine, now: float) -> Iterator[Reading]:
        labels = {"engine": engine.name, "model": engine.model}
        yield c.MODEL_INFO(**labels, quantization=engine.quantization, format=engine.format)
        yield c.MODEL_CONTEXT(engine.context, **labels)
        if engine.keeps:
            yield c.MODEL_MEMORY(engine.memory, **labels)
            yield c.MODEL_GPU_MEMORY(0.97 * engine.memory, **labels)
            yield c.MODEL_EXPIRES(now + engine.keeps, **labels)

    def _processes(self, engine: Engine, now: float) -> Iterator[Reading]:
        labels = {"engine": engine.name}
        busy = engine.share * self.machine.load.done(now)
        yield c.ENGINE_PROCESSES(2, **labels)
        yield c.ENGINE_PROCESS_CPU(1.6 * busy, **labels)
        yield c.ENGINE_PROCESS_MEMORY(0.15 * engine.memory if self.machine.apple else 6e9, **labels)
        if not self.machine.apple:
            yield c.ENGINE_PROCESS_GPU_MEMORY(1.04 * engine.memory, **labels, device="gpu0")
            return
        yield c.ENGINE_PROCESS_FOOTPRINT((1.02 + 0.06 * self.machine.load.at(now)) * engine.memory, **labels)
        yield c.ENGINE_PROCESS_ENERGY(0.4 * self.machine.power["cpu"].high * busy, **labels)
        yield c.ENGINE_PROCESS_GPU_SECONDS(0.95 * busy, **labels)

    def _work(self, engine: Engine, now: float) -> Iterator[Reading]:
        labels = {"engine": engine.name, "model": engine.model}
        tokens = engine.generation * self.machine.load.done(now)
        prompt = tokens * PROMPT / ANSWER
        yield c.GENERATION_TOKENS(floor(tokens), **labels)
        yield c.PROMPT_TOKENS(floor(prompt), **labels)
        yield c.GENERATION_SECONDS(tokens / engine.decode, **labels)
        yield c.PROMPT_SECONDS(prompt / engine.prefill, **labels)

    def _queues(self, engine: Engine, now: float) -> Iterator[Reading]:
        labels = {"engine": engine.name, "model": engine.model}
        load = self.machine.load
        requests = engine.generation * load.done(now) / ANSWER
        slots = max(engine.generation / engine.decode, 2)
        yield c.REQUESTS(floor(requests), **labels)
        yield c.REQUESTS_FAILED(floor(0.004 * requests), **labels)
        yield c.REQUESTS_RUNNING(round(slots * load.at(now)), **labels)
        yield c.REQUESTS_WAITING(round(max(6 * (load.at(now) - 0.6), 0)), **labels)
        yield c.PREEMPTIONS(floor(0.01 * requests), **labels)
        yield c.KV_CACHE_USAGE(0.05 + 0.9 * load.at(now), **labels)
        yield c.PREFIX_CACHE_QUERIES(floor(requests * PROMPT * 1.5), **labels)
        yield c.PREFIX_CACHE_HITS(floor(requests * PROMPT * 0.5), **labels)
        busy = engine.generation * self.machine.crowd.done(now) / ANSWER
        yield from _spread(c.TIME_TO_FIRST_TOKEN, FIRST_TOKEN, requests - busy, busy, labels)
        yield from _spread(c.INTER_TOKEN_LATENCY, BETWEEN_TOKENS, ANSWER * (requests - busy), ANSWER * busy, labels)
        yield from _spread(c.REQUEST_DURATION, WHOLE, requests - busy, busy, labels)


def _spread(
    family: Histogram, spread: Spread, quiet: float, busy: float, labels: dict[str, str]
) -> Iterator[Reading]:  # fmt: skip
    exact = [(bound, a * quiet + b * busy) for bound, a, b in spread]
    total = sum(
        (bound + below) / 2 * (held - less)
        for (bound, held), (below, less) in zip(exact[:-1], ((0.0, 0.0), *exact), strict=False)
    )
    return family(Distribution(tuple((bound, float(floor(held))) for bound, held in exact), total), **labels)


class Benchmark(Part):
    """Results that nobody measured."""

    name = "benchmark"

    def readings(self, now: float) -> Iterator[Reading]:
        """One a scenario every hour; the figures change a little from run to run."""
        runs, since = divmod(now - BEGAN, BETWEEN)
        yield c.BENCHMARK_RUNNING(since < RUNS_FOR)
        finished = runs + (since >= RUNS_FOR)
        change = 1 - 0.03 * (finished % 3)
        for engine in self.machine.engines:
            if engine.down:
                continue
            labels = {"engine": engine.name, "model": engine.model, "scenario": "chat"}
            watts = self.machine.power["gpu0"].high + self.machine.power["cpu"].high / 2
            speed = engine.decode * change
            yield c.BENCHMARK_LAST_RUN(BEGAN + (finished - 1) * BETWEEN + RUNS_FOR, **labels)
            yield c.BENCHMARK_RUNS(finished, **labels)
            yield c.BENCHMARK_RUNS_FAILED(finished // 40, **labels)
            yield c.BENCHMARK_GENERATION_SPEED(speed, **labels)
            yield c.BENCHMARK_PROMPT_SPEED(engine.prefill * change, **labels)
            yield c.BENCHMARK_TTFT_MEDIAN(PROMPT / engine.prefill / change, **labels)
            yield c.BENCHMARK_TTFT_P95(1.4 * PROMPT / engine.prefill / change, **labels)
            yield c.BENCHMARK_PEAK_MEMORY(1.1 * engine.memory, **labels)
            yield c.BENCHMARK_ENERGY_PER_TOKEN(0.8 * watts / speed, **labels)


PARTS = (Engines, Benchmark)
