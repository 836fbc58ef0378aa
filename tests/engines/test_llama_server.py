"""A real llama-server: found, told apart, and its counters on our side equal to those on its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.components import component
from support.engine import LlamaServer, llama_server, tiny_model
from support.net import free_port, wait_for
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.config import Config, EngineConfig, load
from tokwatt_exporter.engines import discovery
from tokwatt_exporter.engines.client import Client
from tokwatt_exporter.engines.discovery import Found
from tokwatt_exporter.engines.llama_cpp import LlamaCpp
from tokwatt_exporter.engines.monitor import EngineMonitor
from tokwatt_exporter.engines.scan import Scan
from tokwatt_exporter.engines.sockets import Listener
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Reading

pytestmark = pytest.mark.e2e


def config(*engines: EngineConfig, **changed: object) -> Config:
    base = load({}, {})
    return Config(**{f: getattr(base, f) for f in base.__dataclass_fields__} | {"engines": engines} | changed)


@contextmanager
def monitor(*engines: EngineConfig, scan: Scan | None = None, **changed: object) -> Iterator[EngineMonitor]:
    settings = config(*engines, **{"discovery_enabled": scan is not None, "sample_interval": 5.0, **changed})
    watched = EngineMonitor(settings, SelfMetrics(), scan=scan)
    try:
        yield watched
    finally:
        watched.close()


def own(metrics: str) -> dict[str, float]:
    """The engine's own counters, read without our parser."""
    lines = [line.split(" ") for line in metrics.splitlines() if line.startswith("llamacpp:")]
    return {name: float(value) for name, value in lines}


def get(url: str, key: str = "") -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return str(answer.read().decode())


def chat(server: LlamaServer, max_tokens: int, **extra: object) -> dict[str, object]:
    body = {"messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": max_tokens, **extra}
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}/v1/chat/completions", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        result: dict[str, object] = json.load(answer)
    return result


def value(readings: list[Reading], family: c.Family, **labels: str) -> float | None:
    found = [r.value for r in readings if r.family is family and labels.items() <= dict(r.labels).items()]
    return found[0] if found else None


def test_the_counters_are_the_engines_own(tmp_path: Path):
    with llama_server(tmp_path) as server, monitor(EngineConfig(server.url, "it")) as watched:
        for _ in range(2):
            chat(server, 12)
        readings = watched.read()
        theirs = own(get(f"{server.url}/metrics"))
    assert theirs["llamacpp:tokens_predicted_total"] > 0
    for name, family in {
        "llamacpp:prompt_tokens_total": c.PROMPT_TOKENS,
        "llamacpp:prompt_tokens_cached_total": c.PREFIX_CACHE_HITS,
        "llamacpp:tokens_predicted_total": c.GENERATION_TOKENS,
        "llamacpp:prompt_seconds_total": c.PROMPT_SECONDS,
        "llamacpp:tokens_predicted_seconds_total": c.GENERATION_SECONDS,
        "llamacpp:requests_processing": c.REQUESTS_RUNNING,
        "llamacpp:requests_deferred": c.REQUESTS_WAITING,
    }.items():
        assert value(readings, family, engine="it", model=server.model) == theirs[name], name


def test_version_model_and_context_are_the_engines_own(tmp_path: Path):
    with llama_server(tmp_path) as server, monitor(EngineConfig(server.url, "it")) as watched:
        readings = watched.read()
        props = json.loads(get(f"{server.url}/props"))
        (listed,) = json.loads(get(f"{server.url}/v1/models"))["data"]
    assert c.ENGINE_INFO(engine="it", kind="llama_cpp", version=props["build_info"]) in readings
    assert listed["id"] == server.model
    assert value(readings, c.MODEL_CONTEXT, model=server.model) == listed["meta"]["n_ctx"]
    info = c.MODEL_INFO(engine="it", model=server.model, quantization=listed["meta"].get("ftype"), format="gguf")
    assert info in readings
    assert value(readings, c.MODEL_MEMORY) is None


def test_discovery_finds_it_by_its_process_and_names_the_process_that_listens(tmp_path: Path):
    with llama_server(tmp_path) as server:
        found: list[Found] = discovery.find_now(config(discovery_port=(server.port,)))
        (one,) = found
        assert one.url == server.url
    assert (one.kind, one.models, one.up) == ("llama_cpp", (server.model,), True)
    assert one.evidence[0] == "answers carry the header Server: llama.cpp"
    assert one.pid is not None


def test_its_process_has_cpu_and_memory_and_owns_its_pid(tmp_path: Path):
    with llama_server(tmp_path) as server:
        listener = wait_for(lambda: _listener(server.port))
        settings = config()
        with monitor(scan=Scan(settings, lambda: [listener], ())) as watched:
            before = watched.read()
            for _ in range(3):
                chat(server, 64, ignore_eos=True)
            after = watched.read()
            assert watched.owner(listener.pid or 0) == "llama_cpp"
    assert value(before, c.ENGINE_PROCESSES) == 1
    memory, cpu = value(before, c.ENGINE_PROCESS_MEMORY), value(before, c.ENGINE_PROCESS_CPU)
    assert memory is not None and memory > 2**20
    assert cpu is not None
    assert (value(after, c.ENGINE_PROCESS_CPU) or 0) > cpu


def test_busy_slots_are_running_and_the_rest_waits(tmp_path: Path):
    with llama_server(tmp_path) as server, monitor(EngineConfig(server.url, "it")) as watched:
        load_ = {"max_tokens": 3500, "ignore_eos": True}
        threads = [threading.Thread(target=_quietly, args=(server, load_)) for _ in range(3)]
        for thread in threads:
            thread.start()
        readings: list[Reading] = []

        def busy() -> bool:
            readings[:] = watched.read()
            return (value(readings, c.REQUESTS_RUNNING), value(readings, c.REQUESTS_WAITING)) == (2, 1)

        wait_for(busy, 20, "two running and one waiting")
        assert value(readings, c.ENGINE_UP) == 1
        server.process.kill()
        for thread in threads:
            thread.join(10)


def test_without_metrics_it_is_up_with_its_model_and_no_counters(tmp_path: Path):
    with llama_server(tmp_path, metrics=False) as server, monitor(EngineConfig(server.url, "it")) as watched:
        readings = watched.read()
        (found,) = watched.instances()
    assert value(readings, c.ENGINE_UP) == 1
    assert value(readings, c.MODEL_CONTEXT, model=server.model) is not None
    assert c.PROMPT_TOKENS not in {reading.family for reading in readings}
    assert "--metrics" in str(found.problem)


def test_with_an_api_key_it_is_recognised_without_and_read_with_it(tmp_path: Path):
    key = tmp_path / "key"
    key.write_text("sk-test\n")
    key.chmod(0o600)
    with llama_server(tmp_path, "--api-key", "sk-test") as server:
        with monitor(EngineConfig(server.url, "closed")) as watched:
            readings = watched.read()
            assert value(readings, c.ENGINE_UP) == 1
            assert {r.family for r in readings} & {c.PROMPT_TOKENS, c.ENGINE_MODELS_LOADED, c.MODEL_INFO} == set()
            assert "api-key-file" in str(watched.instances()[0].problem)
        with monitor(EngineConfig(server.url, "open", api_key_file=key)) as watched:
            readings = watched.read()
            assert value(readings, c.PROMPT_TOKENS, engine="open", model=server.model) == 0


def test_polling_does_not_keep_a_server_from_sleeping_nor_wake_it(tmp_path: Path):
    with llama_server(tmp_path, "--sleep-idle-seconds", "2") as server:
        with monitor(EngineConfig(server.url, "it"), sample_interval=1.0) as watched:
            readings: list[Reading] = []

            def asleep() -> bool:
                readings[:] = watched.read()
                return value(readings, c.ENGINE_MODELS_LOADED) == 0

            wait_for(asleep, 15, "the server to sleep although it is polled", every=0.3)
            end = time.monotonic() + 3
            while time.monotonic() < end:
                readings = watched.read()
                assert value(readings, c.ENGINE_MODELS_LOADED) == 0
                assert value(readings, c.MODEL_CONTEXT) is None
                time.sleep(0.3)
        assert json.loads(get(f"{server.url}/props"))["is_sleeping"] is True


def test_a_server_that_is_killed_and_started_again_is_down_in_between(tmp_path: Path):
    with llama_server(tmp_path) as server, monitor(EngineConfig(server.url, "it")) as watched:
        chat(server, 4)
        assert (value(watched.read(), c.GENERATION_TOKENS) or 0) > 0
        server.process.kill()
        server.process.wait()
        assert value(watched.read(), c.ENGINE_UP) == 0
        with llama_server(tmp_path, port=server.port):
            readings = watched.read()
            assert value(readings, c.ENGINE_UP) == 1
            assert value(readings, c.GENERATION_TOKENS) == 0


def test_a_real_router_lists_its_models_and_polling_loads_none(tmp_path: Path):
    models, port = tmp_path / "models", free_port()
    models.mkdir()
    for name in ("one", "two"):
        (models / f"{name}.gguf").symlink_to(tiny_model())
    url = f"http://127.0.0.1:{port}"
    command = [str(component("llama-server")), "--models-dir", str(models), "--port", str(port), "--metrics"]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as router:
        try:
            wait_for(lambda: "ok" in get(f"{url}/health"), 30, "the router to be ready")
            with monitor(EngineConfig(url, "it")) as watched:
                readings = [watched.read() for _ in range(3)][-1]
                (found,) = watched.instances()
            states = {row["status"]["value"] for row in json.loads(get(f"{url}/models"))["data"]}
        finally:
            router.kill()
    assert (found.kind, sorted(found.models)) == ("llama_cpp", ["one", "two"])
    assert value(readings, c.ENGINE_MODELS_LOADED, engine="it") == 0
    assert states == {"unloaded"}


def test_a_generation_streams_tokens_and_usage(tmp_path: Path):
    request = LlamaCpp().generation("m", [{"role": "user", "content": "Hello"}], 5, seed=1, temperature=0.0)

    async def stream(server: LlamaServer) -> str:
        async with Client(server.url, deadline=20) as ask:
            return (await ask.post(request.path, request.body)).body.decode()

    with llama_server(tmp_path) as server:
        text = asyncio.run(stream(server))
    assert text.rstrip().endswith("data: [DONE]")
    assert '"completion_tokens":' in text


def _listener(port: int) -> Listener | None:
    from tokwatt_exporter.engines.sockets import Sockets

    return next((one for one in Sockets().listeners() if one.port == port), None)


def _quietly(server: LlamaServer, body: dict[str, object]) -> None:
    import contextlib

    with contextlib.suppress(OSError):
        chat(server, **body)  # type: ignore[arg-type]
