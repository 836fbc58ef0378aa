"""Two machines to draw boards of: one that reports every metric there is, and one that has hardly a sensor.

Values move as they would; nothing here is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf, pi, sin

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.families import Distribution
from tokwatt_exporter.snapshot import Reading, Snapshot

GIB = 2**30
OLLAMA = {"engine": "ollama", "model": "qwen3:8b"}
LLAMA = {"engine": "llama_cpp", "model": "llama-3.1-8b-q4_k_m"}
COLLECTORS = ("host", "cpu", "memory", "temperature", "fan", "battery", "rapl", "nvidia", "process", "engines")


def snapshot(readings: Iterable[Reading], time: float) -> Snapshot:
    """The readings as the exporter would hold them."""
    return Snapshot.of(int(time * 1000), readings)


def workstation(t: float, started: float = 0) -> Iterator[Reading]:
    """A machine with two engines, a GPU and every sensor, `t` seconds after its exporter `started` (Unix time)."""
    yield from _exporter(t, started, COLLECTORS)
    yield from _identity("Linux", "AMD Ryzen 9 7950X", "workstation")
    yield c.DEMO_INFO(machine="workstation")
    yield c.COLLECTOR_PROBLEM(collector="amdgpu", problem="not_available", reason="no AMD GPU: is the driver loaded?")
    yield from _power(t)
    yield from _gpu(t)
    yield from _cpu(t, cores=32)
    yield from _heat(t)
    yield from _memory(t, 64 * GIB)
    yield from _engines(t, started)
    yield from _proxy(t)
    yield from _benchmarks(t, started)


def virtual_machine(t: float, started: float = 0) -> Iterator[Reading]:
    """A machine with a CPU and memory, no engine and no sensor."""
    yield from _exporter(t, started, ("host", "cpu", "memory", "process", "engines"))
    yield from _identity("Linux", None, None)
    for collector, reason in (
        ("rapl", "no RAPL: is intel_rapl_common loaded?"),
        ("nvidia", "no NVIDIA driver: libnvidia-ml is not installed"),
        ("temperature", "no sensor below /sys/class/hwmon"),
    ):
        yield c.COLLECTOR_PROBLEM(collector=collector, problem="not_available", reason=reason)
    yield from _cpu(t, cores=2)
    yield c.MEMORY_SIZE(4 * GIB)
    yield c.MEMORY_AVAILABLE(3 * GIB)
    yield c.MEMORY_USED(0.8 * GIB, kind="anon")
    yield c.BENCHMARK_RUNNING(0)


def _wave(t: float, low: float, high: float, period: float = 1800.0) -> float:
    return low + (high - low) * (1 + sin(2 * pi * t / period)) / 2


def _grown(t: float, low: float, high: float, period: float = 1800.0) -> float:
    """The integral of `_wave`."""
    angle = 2 * pi / period
    return (low + high) / 2 * t + (high - low) / 2 * (1 - _cosine(angle * t)) / angle


def _cosine(x: float) -> float:
    return sin(x + pi / 2)


def _exporter(t: float, started: float, collectors: Iterable[str]) -> Iterator[Reading]:
    yield c.BUILD_INFO(version="0.1.0", revision="0123abc", python_version="3.13.0")
    for collector in collectors:
        failed = collector == "fan" and 3000 < t < 4200
        yield c.COLLECTOR_SUCCESS(not failed, collector=collector)
        yield c.COLLECTOR_DURATION(0.002, collector=collector)
        yield c.COLLECTOR_LAST_SUCCESS(started + (3000 if failed else t), collector=collector)
        yield c.COLLECTOR_FAILURES(240 if collector == "fan" and t > 4200 else 0, collector=collector)
    yield c.SAMPLE_INTERVAL(5)
    yield c.SAMPLES_DROPPED(0, reason="label_limit")
    yield c.LOG_MESSAGES(12, level="info")
    yield c.STORE_ROWS_WRITTEN(30 * t)
    yield c.STORE_FAILURES(0)
    yield c.STORE_BUFFERED_ROWS(360)
    yield c.STORE_LAST_FLUSH(started + t - t % 60)
    yield c.STORE_SIZE(12e6 + 20 * t)
    yield c.STORE_DAMAGED(started - 86_400)
    yield c.STORE_EXPORT_FAILURES(0)
    yield c.STORE_LAST_EXPORT(started + t - t % 3600)
    yield c.OTLP_EXPORTS(t // 15)
    yield c.OTLP_EXPORT_FAILURES(0)
    yield c.OTLP_ACKNOWLEDGED(started + t - t % 15)
    yield c.HTTP_REJECTED(0, reason="limit")
    yield c.PROCESS_CPU(0.004 * t)
    yield c.PROCESS_RESIDENT_MEMORY(61e6)
    yield c.PROCESS_OPEN_FDS(21)
    yield c.PROCESS_START_TIME(started)


def _identity(os: str, chip: str | None, machine: str | None) -> Iterator[Reading]:
    yield c.HOST_INFO(os=os, os_version="13", arch="x86_64", chip=chip, machine_model=machine)
    yield c.DEVICE_INFO(device="cpu", kind="cpu", model=chip)


def _power(t: float) -> Iterator[Reading]:
    yield c.ENERGY(_grown(t, 12, 90), device="cpu")
    yield c.ENERGY(_grown(t, 2, 5), device="dram")
    yield c.ENERGY(_grown(t, 18, 280), device="gpu0")
    yield c.POWER(_wave(t, 12, 90), device="cpu")
    yield c.PACKAGE_ENERGY(_grown(t, 30, 110))
    yield c.SYSTEM_ENERGY(_grown(t, 85, 460))
    yield c.SYSTEM_POWER(_wave(t, 85, 460))
    yield c.POWER_LIMIT(300, device="gpu0")
    yield c.BATTERY_CHARGE(0.8)
    yield c.BATTERY_HEALTH(0.93)
    yield c.BATTERY_CYCLES(212)
    yield c.BATTERY_POWER(-60 if 5000 < t < 5600 else 0)
    yield c.ADAPTER_POWER(140)
    yield from c.POWER_SOURCE("battery" if 5000 < t < 5600 else "ac")
    yield from c.POWER_MODE("low" if 5000 < t < 5600 else "high")


def _gpu(t: float) -> Iterator[Reading]:
    gpu = {"device": "gpu0"}
    yield c.GPU_BUSY(_grown(t, 0.05, 0.97), **gpu)
    yield c.GPU_UTILIZATION(_wave(t, 0.05, 0.97), **gpu)
    yield c.GPU_FREQUENCY(_wave(t, 0.6e9, 2.4e9), **gpu)
    yield c.GPU_FREQUENCY_MAX(2.5e9, **gpu)
    yield c.GPU_MEMORY_SIZE(24 * GIB, **gpu)
    yield c.GPU_MEMORY_USED(_wave(t, 6, 19) * GIB, **gpu)
    yield c.GPU_MEMORY_ALLOCATED(22 * GIB, **gpu)
    for kind in ("device", "renderer", "tiler"):
        yield c.GPU_DRIVER_UTILIZATION(_wave(t, 0.04, 0.9), kind=kind, **gpu)
    yield c.GPU_RECOVERIES(1 if t > 6000 else 0, **gpu)
    yield c.THROTTLED(_grown(t, 0, 0.2), reason="power", **gpu)
    yield c.THROTTLED(_grown(t, 0, 0.05), reason="thermal", **gpu)


def _cpu(t: float, cores: int) -> Iterator[Reading]:
    yield c.CPU_BUSY(_grown(t, 0.03 * cores, 0.6 * cores), cluster="cpu")
    yield c.CPU_CORES(cores, cluster="cpu")
    yield c.CPU_FREQUENCY(_wave(t, 2e9, 5e9), cluster="cpu")
    yield c.CPU_FREQUENCY_MAX(5.4e9, cluster="cpu")


def _heat(t: float) -> Iterator[Reading]:
    late = t - 120
    yield c.TEMPERATURE(_wave(late, 41, 83), device="cpu", sensor="Tctl")
    yield c.TEMPERATURE(_wave(late, 38, 78), device="cpu", sensor="Tccd1")
    yield c.TEMPERATURE(_wave(late, 35, 71), device="gpu0", sensor="gpu")
    yield c.TEMPERATURE(44, device="nvme0", sensor="Composite")
    yield c.TEMPERATURE_SENSORS(2, device="cpu")
    yield from c.THERMAL_STATE("serious" if 6500 < t < 7000 else "fair" if 6200 < t < 7300 else "nominal")
    yield c.TEMPERATURE_LIMIT(95, device="cpu", sensor="Tctl")
    yield c.TEMPERATURE_LIMIT(88, device="gpu0", sensor="gpu")
    yield c.FAN_SPEED(_wave(late, 620, 1480), fan="cpu")
    yield c.FAN_SPEED(_wave(late, 480, 1100), fan="case")
    yield c.FAN_SPEED_MAX(2200, fan="cpu")


def _memory(t: float, size: float) -> Iterator[Reading]:
    anon = _wave(t, 14, 38) * GIB
    yield c.MEMORY_SIZE(size)
    yield c.MEMORY_AVAILABLE(size - anon - 4 * GIB)
    yield c.MEMORY_CACHED(4 * GIB)
    yield c.MEMORY_COMPRESSED(1.3 * GIB)
    yield c.DRAM_READ(_grown(t, 1e9, 80e9))
    yield c.DRAM_WRITTEN(_grown(t, 0.2e9, 9e9))
    for kind, used in (("anon", anon), ("kernel", 1.9 * GIB), ("shmem", 0.7 * GIB), ("compressed", 0.5 * GIB)):
        yield c.MEMORY_USED(used, kind=kind)
    yield from c.MEMORY_PRESSURE("critical" if 7000 < t < 7200 else "warn" if 6600 < t < 7500 else "normal")
    yield c.MEMORY_STALLED(_grown(t, 0, 0.03), scope="some")
    yield c.SWAP_SIZE(8 * GIB)
    yield c.SWAP_USED(_wave(t, 0.2, 1.4) * GIB)
    yield c.SWAP_IN(_grown(t, 0, 2e6))
    yield c.SWAP_OUT(_grown(t, 0, 5e6))
    yield c.DISK_READ(_grown(t, 0, 300e6), device="disk0")
    yield c.DISK_WRITTEN(_grown(t, 0, 20e6), device="disk0")
    yield c.NETWORK_RECEIVED(_grown(t, 0, 3e6), device="en0")
    yield c.NETWORK_SENT(_grown(t, 0, 1e6), device="en0")


def _engines(t: float, started: float) -> Iterator[Reading]:
    ollama = "0.14.2" if t < 3000 else "0.15.0"
    for engine, kind, version in (("ollama", "ollama", ollama), ("llama_cpp", "llama_cpp", "b11669")):
        up = not (engine == "llama_cpp" and 4000 < t < 4900)
        yield c.ENGINE_UP(up, engine=engine)
        yield c.ENGINE_INFO(engine=engine, kind=kind, version=version)
        yield c.ENGINE_PROBE_DURATION(0.004, engine=engine)
        if engine == "ollama" or not up:
            reason = "could not load gemma3:27b; its log says why" if up else "refuses connections"
            yield c.ENGINE_PROBLEM(engine=engine, reason=reason)
        yield c.ENGINE_MODELS_LOADED(1 if up else 0, engine=engine)
        yield c.ENGINE_PROCESSES(2, engine=engine)
        yield c.ENGINE_PROCESS_CPU(_grown(t, 0.1, 3), engine=engine)
        yield c.ENGINE_PROCESS_MEMORY(7 * GIB, engine=engine)
        yield c.ENGINE_PROCESS_GPU_MEMORY(6 * GIB, engine=engine, device="gpu0")
        yield c.ENGINE_PROCESS_FOOTPRINT(6.5 * GIB, engine=engine)
        yield c.ENGINE_PROCESS_NEURAL(0.1 * GIB, engine=engine)
        yield c.ENGINE_PROCESS_ENERGY(_grown(t, 0.5, 9), engine=engine)
        yield c.ENGINE_PROCESS_GPU_SECONDS(_grown(t, 0, 0.8), engine=engine)
    yield c.MODEL_INFO(**OLLAMA, quantization="Q4_K_M", format="gguf")
    yield c.MODEL_INFO(**LLAMA, quantization="Q4_K_M", format="gguf")
    yield c.MODEL_MEMORY(6 * GIB, **OLLAMA)
    yield c.MODEL_GPU_MEMORY(5 * GIB, **OLLAMA)
    yield c.MODEL_CONTEXT(8192, **OLLAMA)
    yield c.MODEL_EXPIRES(started + t + 300, **OLLAMA)
    yield c.REQUESTS_RUNNING(round(_wave(t, 0, 4)), **LLAMA)
    yield c.REQUESTS_WAITING(round(_wave(t, -3, 3)) if _wave(t, -3, 3) > 0 else 0, **LLAMA)
    yield c.REQUESTS(_grown(t, 0, 0.4), **LLAMA)
    yield c.REQUESTS_FAILED(_grown(t, 0, 0.01), **LLAMA)
    yield c.KV_CACHE_USAGE(_wave(t, 0.1, 0.9), **LLAMA)
    yield c.PREFIX_CACHE_QUERIES(_grown(t, 0, 400), **LLAMA)
    yield c.PREFIX_CACHE_HITS(_grown(t, 0, 90), **LLAMA)
    yield c.PREEMPTIONS(_grown(t, 0, 0.02), **LLAMA)
    yield c.PROMPT_TOKENS(_grown(t, 0, 400), **LLAMA)
    yield c.GENERATION_TOKENS(_grown(t, 0, 85), **LLAMA)
    yield c.PROMPT_SECONDS(_grown(t, 0, 0.25), **LLAMA)
    yield c.GENERATION_SECONDS(_grown(t, 0, 0.7), **LLAMA)
    yield from c.TIME_TO_FIRST_TOKEN(_spread(_grown(t, 0, 0.4), 0.1, 0.25, 0.5, 1), **LLAMA)
    yield from c.INTER_TOKEN_LATENCY(_spread(_grown(t, 0, 85), 0.005, 0.01, 0.025, 0.05), **LLAMA)
    yield from c.REQUEST_DURATION(_spread(_grown(t, 0, 0.4), 0.5, 1, 5, 30), **LLAMA)


def _proxy(t: float) -> Iterator[Reading]:
    yield c.PROXY_CONNECTIONS(round(_wave(t, 0, 6)), engine="ollama")
    yield c.PROXY_UNOBSERVED(0, engine="ollama", reason="no_count")
    for status, high in (("2xx", 0.4), ("4xx", 0.002), ("cut", 0.001), ("disconnected", 0.01)):
        yield c.PROXY_REQUESTS(int(_grown(t, 0, high)), status=status, **OLLAMA)
    yield c.PROXY_PROMPT_TOKENS(_grown(t, 0, 400), **OLLAMA)
    yield c.PROXY_CACHED_PROMPT_TOKENS(_grown(t, 0, 150), **OLLAMA)
    yield c.PROXY_GENERATION_TOKENS(_grown(t, 0, 70), **OLLAMA)
    yield from c.PROXY_TIME_TO_FIRST_TOKEN(_spread(_grown(t, 0, 0.4), 0.1, 0.25, 0.5, 1), **OLLAMA)
    yield from c.PROXY_INTER_TOKEN_LATENCY(_spread(_grown(t, 0, 70), 0.005, 0.01, 0.025, 0.05), **OLLAMA)
    yield from c.PROXY_REQUEST_DURATION(_spread(_grown(t, 0, 0.4), 0.5, 1, 5, 30), status="2xx", **OLLAMA)


def _spread(count: float, *bounds: float) -> Distribution:
    """As many values in each bucket but the last, which has none."""
    held = [float(int(count) * number // len(bounds)) for number in range(1, len(bounds) + 1)]
    return Distribution((*zip(bounds, held, strict=True), (inf, held[-1])), held[-1] * bounds[-1] / 2)


def _benchmarks(t: float, started: float) -> Iterator[Reading]:
    running = t % 3600 < 240
    yield c.BENCHMARK_RUNNING(running)
    runs = 1 + t // 3600
    for key, speed in ((OLLAMA, 71.0), (LLAMA, 96.0)):
        labels = {**key, "scenario": "chat"}
        speed -= 3 * (runs % 3)
        yield c.BENCHMARK_LAST_RUN(started + (runs - 1) * 3600 - 600, **labels)
        yield c.BENCHMARK_RUNS(runs, **labels)
        yield c.BENCHMARK_RUNS_FAILED(1 if key is OLLAMA and runs > 2 else 0, **labels)
        yield c.BENCHMARK_GENERATION_SPEED(speed, **labels)
        yield c.BENCHMARK_PROMPT_SPEED(18 * speed, **labels)
        yield c.BENCHMARK_TTFT_MEDIAN(9 / speed, **labels)
        yield c.BENCHMARK_TTFT_P95(14 / speed, **labels)
        yield c.BENCHMARK_PEAK_MEMORY(6.5 * GIB, **labels)
        if key is LLAMA:
            # The other one ran where no energy counter was readable.
            yield c.BENCHMARK_ENERGY_PER_TOKEN(280 / speed, **labels)
