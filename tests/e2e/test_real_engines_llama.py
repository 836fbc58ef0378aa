"""A real llama.cpp router that holds a model, and a real server that sleeps: read, and neither loaded nor woken."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.daemon import tokwatt
from support.components import component
from support.engine import llama_server, tiny_model
from support.net import PLAIN, free_port, get, wait_for
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.config import Config, EngineConfig, load
from tokwatt_exporter.engines.client import Client
from tokwatt_exporter.engines.llama_cpp import LlamaCpp
from tokwatt_exporter.engines.monitor import EngineMonitor
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Reading

pytestmark = pytest.mark.e2e

COUNTERS = {
    "llamacpp:prompt_tokens_total": c.PROMPT_TOKENS,
    "llamacpp:tokens_predicted_total": c.GENERATION_TOKENS,
    "llamacpp:tokens_predicted_seconds_total": c.GENERATION_SECONDS,
    "llamacpp:requests_processing": c.REQUESTS_RUNNING,
}


@contextmanager
def router(tmp_path: Path) -> Iterator[str]:
    models, url = tmp_path / "models", f"http://127.0.0.1:{free_port()}"
    models.mkdir()
    for name in ("one", "two"):
        (models / f"{name}.gguf").symlink_to(tiny_model())
    command = [str(component("llama-server")), "--models-dir", str(models), "--port", url.rpartition(":")[2],
               "--metrics", "--threads", "1"]  # fmt: skip
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for(lambda: "ok" in get(f"{url}/health").text, 30, "the router to be ready")
            yield url
        finally:
            # Asked to end, it ends the servers that it has started.
            process.terminate()


def read(url: str) -> list[Reading]:
    base = load({}, {})
    changed = {"engines": (EngineConfig(url, "it"),), "discovery_enabled": False, "sample_interval": 5.0}
    settings = Config(**{field: getattr(base, field) for field in base.__dataclass_fields__} | changed)
    watched = EngineMonitor(settings, SelfMetrics())
    try:
        return watched.read()
    finally:
        watched.close()


def states(url: str) -> dict[str, str]:
    return {row["id"]: row["status"]["value"] for row in get(f"{url}/models").json()["data"]}


def post(url: str, body: dict[str, Any]) -> Any:
    with httpx.Client(trust_env=False, verify=PLAIN, timeout=60) as client:
        return client.post(url, json=body).raise_for_status().json()


def counters(url: str) -> dict[str, float]:
    lines = [line.split(" ") for line in get(url).raise_for_status().text.splitlines() if line.startswith("llamacpp:")]
    return {name: float(number) for name, number in lines}


def value(readings: list[Reading], family: c.Family, **labels: str) -> float | None:
    found = [r.value for r in readings if r.family is family and labels.items() <= dict(r.labels).items()]
    return found[0] if found else None


def test_a_router_with_a_model_is_one_engine_with_that_models_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with router(tmp_path) as url:
        post(f"{url}/models/load", {"model": "one"})
        wait_for(lambda: states(url)["one"] == "loaded", 30, "the router to load a model")
        messages = [{"role": "user", "content": "Hello"}]
        post(f"{url}/v1/chat/completions", {"model": "one", "messages": messages, "max_tokens": 8})
        theirs, readings = counters(f"{url}/metrics?model=one&autoload=false"), read(url)
        assert theirs["llamacpp:tokens_predicted_total"] > 0
        for name, family in COUNTERS.items():
            assert value(readings, family, engine="it", model="one") == theirs[name], name
            assert value(readings, family, model="two") is None
        assert value(readings, c.ENGINE_MODELS_LOADED) == 1
        assert states(url) == {"one": "loaded", "two": "unloaded"}

        [child] = [port for row in get(f"{url}/models").json()["data"] if (port := _port(row)) != "0"]
        monkeypatch.setenv("TOKWATT_DISCOVERY_ENABLED", "true")
        monkeypatch.setenv("TOKWATT_DISCOVERY_PORT", f"{url.rpartition(':')[2]},{child}")
        [found] = json.loads(tokwatt("engines", "--json").stdout)["engines"]
        assert (found["kind"], found["url"], sorted(found["models"])) == ("llama_cpp", url, ["one", "two"])

        assert asyncio.run(_unload(url, "one"))
        wait_for(lambda: states(url)["one"] == "unloaded", 20, "the router to unload the model")
        assert value(read(url), c.ENGINE_MODELS_LOADED) == 0
        assert states(url) == {"one": "unloaded", "two": "unloaded"}


def test_a_server_that_sleeps_keeps_its_counters_and_stays_asleep(tmp_path: Path):
    with llama_server(tmp_path, "--sleep-idle-seconds", "1") as server:
        messages = [{"role": "user", "content": "Hello"}]
        post(f"{server.url}/v1/chat/completions", {"messages": messages, "max_tokens": 8})
        wait_for(lambda: get(f"{server.url}/props").json()["is_sleeping"], 15, "the server to sleep")
        for _ in range(3):
            readings = read(server.url)
        theirs = counters(f"{server.url}/metrics")
        assert get(f"{server.url}/props").json()["is_sleeping"] is True
    assert theirs["llamacpp:tokens_predicted_total"] > 0
    for name, family in COUNTERS.items():
        assert value(readings, family, model=server.model) == theirs[name], name
    assert value(readings, c.ENGINE_MODELS_LOADED) == 0


def _port(row: dict[str, Any]) -> str:
    arguments = row["status"]["args"]
    return str(arguments[arguments.index("--port") + 1])


async def _unload(url: str, model: str) -> bool:
    async with Client(url, deadline=20) as ask:
        return await LlamaCpp().unload(ask, model)
