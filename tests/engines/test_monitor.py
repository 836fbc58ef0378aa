"""The collector of engines: what it publishes, what one bad engine may cost, and how engines come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fakes import engines as fake
from fakes.engines import FakeEngine, as_json, response
from support.captures import shared_captures
from support.net import free_port, wait_for
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.config import Config, EngineConfig, load
from tokwatt_exporter.engines.monitor import EngineMonitor
from tokwatt_exporter.engines.scan import Scan
from tokwatt_exporter.engines.sockets import Listener
from tokwatt_exporter.engines.watch import MANY_REASONS, MAX_REASONS
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Reading


def config(*engines: EngineConfig, **changed: float) -> Config:
    base = load({}, {})
    changes = {"engines": engines, "sample_interval": 10.0, "discovery_interval": 0.1} | changed
    return Config(**{name: getattr(base, name) for name in base.__dataclass_fields__} | changes)


@contextmanager
def monitor(
    ports: list[int], *engines: EngineConfig, metrics: SelfMetrics | None = None, clock: object = None, **changed: float
) -> Iterator[EngineMonitor]:
    """A monitor that sees these ports only; the list may change while it runs."""
    settings = config(*engines, **changed)
    scan = Scan(settings, lambda: [Listener("127.0.0.1", port) for port in ports], ())
    # The scan takes ports of hidden processes only where engines usually listen: here that is everywhere.
    scan._hints = _Everywhere()  # type: ignore[assignment]
    watched = EngineMonitor(settings, metrics or SelfMetrics(), clock, scan)  # type: ignore[arg-type]
    try:
        yield watched
    finally:
        watched.close()


class _Everywhere(set[int]):
    def __contains__(self, port: object) -> bool:
        return True


class StoppedClock:
    """A clock that a test moves."""

    now = 1000.0

    def wall(self) -> float:
        return self.now

    def awake(self) -> float:
        return self.now


def llama(port: int = 0) -> FakeEngine:
    engine = fake.llama_cpp(shared_captures() / "engines/llama.cpp")
    engine.port = port
    return engine


def ollama(port: int = 0) -> FakeEngine:
    engine = fake.ollama(shared_captures() / "engines/ollama-real")
    engine.port = port
    return engine


def until(watched: EngineMonitor, seen: Callable[[list[Reading]], object]) -> list[Reading]:
    """The first sample that has what the test waits for."""
    latest: list[Reading] = []

    def look() -> bool:
        latest[:] = watched.read()
        return bool(seen(latest))

    wait_for(look, 10, "the reading", every=0.02)
    return latest


def up(readings: list[Reading]) -> dict[str, float]:
    return {dict(r.labels)["engine"]: r.value for r in readings if r.family is c.ENGINE_UP}


def test_two_engines_are_published_with_state_models_and_counters():
    with llama() as one, ollama() as two, monitor([one.port, two.port]) as watched:
        readings = watched.read()
    model = {"engine": "llama_cpp", "model": "tiny.gguf"}
    other = {"engine": "ollama", "model": "tiny:latest"}
    assert {
        c.ENGINE_UP(1, engine="llama_cpp"),
        c.ENGINE_INFO(engine="llama_cpp", kind="llama_cpp", version="b1-0c1e570"),
        c.ENGINE_MODELS_LOADED(1, engine="llama_cpp"),
        c.MODEL_INFO(**model, quantization="F16", format="gguf"),
        c.MODEL_CONTEXT(1024, **model),
        c.PROMPT_TOKENS(97, **model),
        c.ENGINE_UP(1, engine="ollama"),
        c.MODEL_MEMORY(19954400, **other),
        c.MODEL_GPU_MEMORY(0, **other),
        c.MODEL_CONTEXT(2048, **other),
    } <= set(readings)
    assert {dict(r.labels)["engine"] for r in readings if r.family is c.ENGINE_PROBE_DURATION} == {
        "llama_cpp",
        "ollama",
    }
    assert c.MODEL_MEMORY not in {r.family for r in readings if dict(r.labels).get("engine") == "llama_cpp"}


def test_no_engine_is_no_reading():
    with monitor([]) as watched:
        assert watched.read() == []
        assert watched.instances() == ()


def test_instances_are_what_the_command_line_would_list():
    with llama() as one, monitor([one.port]) as watched:
        watched.read()
        (found,) = watched.instances()
    assert (found.kind, found.name, found.url, found.models) == ("llama_cpp", "llama_cpp", one.url, ("tiny.gguf",))
    assert found.up


def test_a_hung_engine_is_down_after_its_own_time_and_the_others_are_not_touched():
    with llama() as good, ollama() as bad, monitor([good.port, bad.port], sample_interval=3.0) as watched:
        assert up(watched.read()) == {"llama_cpp": 1, "ollama": 1}
        bad.routes.clear()
        bad.default = fake.silence
        began = time.monotonic()
        readings = watched.read()
        assert time.monotonic() - began < 0.8 * 3.0
        assert up(readings) == {"llama_cpp": 1, "ollama": 0}
        assert c.PROMPT_TOKENS in {reading.family for reading in readings}


def test_a_hung_engine_holds_up_one_sample_only():
    with llama() as good, ollama() as bad, monitor([good.port, bad.port]) as watched:
        watched.read()
        bad.routes.clear()
        bad.default = fake.silence
        watched.read()
        began = time.monotonic()
        for _ in range(5):
            readings = watched.read()
            assert up(readings) == {"llama_cpp": 1, "ollama": 0}
            # Also while the next answer is still waited for.
            assert [dict(r.labels)["engine"] for r in readings if r.family == c.ENGINE_PROBLEM] == ["ollama"]
        assert time.monotonic() - began < 2.0


def test_an_engine_that_hung_comes_back():
    with ollama() as engine, monitor([engine.port]) as watched:
        watched.read()
        routes, default = dict(engine.routes), engine.default
        engine.routes.clear()
        engine.default = fake.silence
        until(watched, lambda readings: up(readings) == {"ollama": 0})
        engine.routes, engine.default = routes, default
        readings = until(watched, lambda readings: up(readings) == {"ollama": 1})
    assert c.ENGINE_MODELS_LOADED(1, engine="ollama") in readings


@pytest.mark.parametrize(
    "behaviour", [fake.garbage, fake.hang_up, fake.endless, fake.trickle, fake.endless_headers, fake.too_short,
                  fake.redirect("http://127.0.0.1:1/"), response(200, b"\xff\xfe"), response(200, b"[" * 10**5),
                  as_json({"models": [{"name": {}}, 7], "data": "x"}), response(500, b"")],
)  # fmt: skip
def test_an_engine_that_answers_nonsense_costs_only_itself(behaviour: fake.Behaviour):
    with llama() as good, ollama() as bad, monitor([good.port, bad.port]) as watched:
        watched.read()
        bad.routes.clear()
        bad.default = behaviour
        watched.read()
        # A busy machine may read the good one, too, a sample later.
        readings = until(watched, lambda readings: c.PROMPT_TOKENS in {reading.family for reading in readings})
    assert c.ENGINE_UP(1, engine="llama_cpp") in readings
    of_bad = {reading.family for reading in readings if dict(reading.labels).get("engine") == "ollama"}
    said = {c.ENGINE_UP, c.ENGINE_PROBE_DURATION, c.ENGINE_INFO, c.ENGINE_MODELS_LOADED, c.ENGINE_PROBLEM}
    assert of_bad - said == set()


def test_counters_that_are_missing_have_a_reason():
    with llama() as engine, monitor([engine.port]) as watched:
        assert c.ENGINE_PROBLEM not in {reading.family for reading in watched.read()}
        engine.routes["/metrics"] = response(501, b"")
        readings = until(watched, lambda readings: c.ENGINE_PROBLEM in {reading.family for reading in readings})
        (problem,) = [reading for reading in readings if reading.family is c.ENGINE_PROBLEM]
        assert dict(problem.labels)["reason"].startswith("is running without --metrics")
        assert up(readings) == {"llama_cpp": 1}


def test_an_engine_that_makes_up_reasons_gets_few_of_them():
    with ollama() as engine, monitor([engine.port]) as watched:
        until(watched, lambda readings: up(readings) == {"ollama": 1})
        engine.routes.clear()
        reasons = set()
        for number in range(3 * MAX_REASONS):
            engine.default = fake.redirect(f"http://127.0.0.1:9/{number}")
            reasons |= {dict(r.labels)["reason"] for r in watched.read() if r.family is c.ENGINE_PROBLEM}
        assert MANY_REASONS in reasons
        assert len(reasons) <= MAX_REASONS + 1


def test_a_gzip_bomb_as_metrics_costs_the_counters_only():
    with llama() as engine, monitor([engine.port]) as watched:
        watched.read()
        engine.routes["/metrics"] = fake.bomb()
        readings = watched.read()
    assert up(readings) == {"llama_cpp": 1}
    assert c.PROMPT_TOKENS not in {reading.family for reading in readings}


def test_a_counter_that_begins_anew_is_not_held_where_it_was():
    with llama() as engine, monitor([engine.port]) as watched:
        before = until(watched, lambda readings: c.PROMPT_TOKENS in {reading.family for reading in readings})
        page = (shared_captures() / "engines/llama.cpp/metrics.fresh.http").read_bytes()
        engine.routes["/metrics"] = response(200, page.partition(b"\r\n\r\n")[2], "text/plain")
        after = until(watched, lambda readings: tokens(readings) != tokens(before))
    assert tokens(before) > 0 and tokens(after) == 0


def tokens(readings: list[Reading]) -> float:
    [found] = [reading.value for reading in readings if reading.family == c.PROMPT_TOKENS]
    return found


def test_an_engine_started_later_appears():
    ports: list[int] = []
    with monitor(ports) as watched:
        assert watched.read() == []
        with llama() as engine:
            ports.append(engine.port)
            until(watched, lambda readings: up(readings) == {"llama_cpp": 1})


def test_a_dead_engine_is_down_and_later_forgotten():
    clock = StoppedClock()
    ports: list[int] = []
    with monitor(ports, clock=clock, discovery_forget_after=3600) as watched:
        with llama() as engine:
            ports.append(engine.port)
            until(watched, lambda readings: up(readings) == {"llama_cpp": 1})
        ports.clear()
        readings = until(watched, lambda readings: up(readings) == {"llama_cpp": 0})
        assert {reading.family for reading in readings} == {c.ENGINE_UP, c.ENGINE_PROBE_DURATION, c.ENGINE_PROBLEM}
        assert c.ENGINE_PROBLEM(engine="llama_cpp", reason="refuses connections") in readings
        clock.now += 3590
        time.sleep(0.3)
        assert up(watched.read()) == {"llama_cpp": 0}
        clock.now += 20
        until(watched, lambda readings: readings == [])


def test_a_configured_engine_that_is_down_is_never_forgotten():
    clock = StoppedClock()
    url = f"http://127.0.0.1:{free_port()}"
    with monitor([], EngineConfig(url, "mine", "ollama"), clock=clock, discovery_forget_after=1) as watched:
        for _ in range(3):
            assert up(watched.read()) == {"mine": 0}
            clock.now += 10
            time.sleep(0.15)


def test_a_configured_identity_wins():
    with ollama() as engine, monitor([engine.port], EngineConfig(engine.url, "mine", "openai_compatible")) as watched:
        readings = watched.read()
    assert c.ENGINE_INFO(engine="mine", kind="openai_compatible") in readings
    assert set(up(readings)) == {"mine"}
    assert c.ENGINE_MODELS_LOADED not in {reading.family for reading in readings}


def test_engines_that_swap_ports_are_told_apart_at_the_next_probe():
    one, two = free_port(), free_port()
    with llama(one) as first, ollama(two) as second, monitor([one, two]) as watched:
        assert up(until(watched, lambda readings: len(up(readings)) == 2)) == {"llama_cpp": 1, "ollama": 1}
        first.close()
        second.close()
        with ollama(one), llama(two):
            # A busy machine may take a sample longer over a probe; it must not take one for the other meanwhile.
            readings = until(watched, lambda readings: list(up(readings).values()) == [1, 1])
            urls = {found.kind: found.url for found in watched.instances()}
    assert up(readings) == {"llama_cpp": 1, "ollama": 1}
    assert urls == {"ollama": f"http://127.0.0.1:{one}", "llama_cpp": f"http://127.0.0.1:{two}"}
    assert c.MODEL_CONTEXT(1024, engine="llama_cpp", model="tiny.gguf") in readings
    assert c.MODEL_CONTEXT(2048, engine="ollama", model="tiny:latest") in readings


def test_several_instances_keep_their_names_when_one_of_them_dies():
    with llama() as one, llama() as two, monitor([one.port, two.port]) as watched:
        assert up(watched.read()) == {"llama_cpp": 1, "llama_cpp-2": 1}
        down = min(one, two, key=lambda engine: engine.port)
        down.close()
        assert up(until(watched, lambda readings: 0 in up(readings).values())) == {"llama_cpp": 0, "llama_cpp-2": 1}


def test_models_beyond_the_limit_are_counted_and_not_published():
    metrics = SelfMetrics()
    row = {"digest": "d" * 64, "expires_at": "2026-11-24T00:00:00Z", "size_vram": 0}
    with ollama() as engine, monitor([engine.port], metrics=metrics) as watched:
        rows = [{"name": f"m{number}", **row} for number in range(c.MODELS_PER_ENGINE + 5)]
        engine.routes["/api/ps"] = as_json({"models": rows})
        readings = watched.read()
    models = {dict(reading.labels)["model"] for reading in readings if reading.family is c.MODEL_INFO}
    assert len(models) == c.MODELS_PER_ENGINE
    assert c.ENGINE_MODELS_LOADED(c.MODELS_PER_ENGINE + 5, engine="ollama") in readings
    (dropped,) = [r for r in metrics.readings() if dict(r.labels).get("reason") == "label_limit"]
    assert dropped.value >= 5


def test_models_that_are_gone_make_room_for_new_ones():
    row = {"digest": "d" * 64, "expires_at": "2026-11-24T00:00:00Z", "size_vram": 0}
    with ollama() as engine, monitor([engine.port]) as watched:
        for generation in range(3):
            rows = [{"name": f"{generation}-{number}", **row} for number in range(c.MODELS_PER_ENGINE)]
            engine.routes["/api/ps"] = as_json({"models": rows})
            readings = watched.read()
            assert sum(reading.family is c.MODEL_INFO for reading in readings) == c.MODELS_PER_ENGINE


def test_an_unsafe_configuration_is_refused_at_the_start(tmp_path):
    key = tmp_path / "key"
    key.write_text("k")
    key.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        EngineMonitor(config(EngineConfig("http://127.0.0.1:1", api_key_file=key)), SelfMetrics())


def test_a_configured_engine_gets_its_key(tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-1\n")
    key.chmod(0o600)
    with llama() as engine, monitor([], EngineConfig(engine.url, api_key_file=key)) as watched:
        assert up(watched.read()) == {engine.url.removeprefix("http://"): 1}
        assert {request.headers["authorization"] for request in engine.requests} == {"Bearer sk-1"}


def test_without_discovery_only_configured_engines_are_asked():
    with llama() as engine:
        settings = config(EngineConfig(engine.url, "mine"), discovery_enabled=False)
        watched = EngineMonitor(settings, SelfMetrics())
        try:
            assert up(watched.read()) == {"mine": 1}
        finally:
            watched.close()
