"""Engines that start others: Jan, LocalAI, llama-swap, Docker Model Runner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakes import engine_kinds as kinds
from fakes.asking import look, states, unload
from fakes.engines import FakeEngine, as_json, response
from support.captures import shared_captures
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.base import Model
from tokwatt_exporter.errors import EngineError


@pytest.fixture
def docker() -> Path:
    return shared_captures() / "engines" / "docker-model-runner"


def metrics(body: str) -> bytes:
    return response(200, body.encode(), "text/plain")


@pytest.mark.parametrize(("owner", "format"), [("user", None), ("llama.cpp", "gguf"), ("mlx", "mlx")])
def test_a_model_that_jan_lists_as_its_own_has_a_server(owner: str, format: str | None):
    state = look("jan", kinds.jan("qwen", owner=owner))
    assert state.models == (Model("qwen", "loaded", format=format),)
    assert (state.loaded, state.version) == (1, None)


@pytest.mark.parametrize("owner", ["remote", "openai"])
def test_a_model_of_a_provider_elsewhere_is_not_in_memory(owner: str):
    state = look("jan", kinds.jan("gpt", owner=owner))
    assert (states(state), state.loaded) == ({"gpt": "available"}, 0)


def test_jan_that_wants_a_key_and_jan_that_does_not_trust_us_say_so():
    key = look("jan", kinds.locked_jan())
    assert "api-key-file" in str(key.problem)
    host = look("jan", kinds.locked_jan(b"Invalid host header", 403))
    assert "trusted hosts" in str(host.problem)
    assert (key.loaded, host.loaded) == (None, None)


def test_localai_has_loaded_and_configured_models_and_its_version_without_the_commit():
    state = look("localai", kinds.local_ai())
    assert (states(state), state.loaded) == ({"m": "loaded", "other": "available"}, 1)
    assert state.version == "v4.9.0"
    assert look("localai", kinds.local_ai(loaded=False)).loaded == 0


def test_localai_counts_generated_tokens_by_model_over_its_users():
    engine = kinds.local_ai()
    engine.routes["/metrics"] = metrics(
        'localai_tokens_total{kind="completion",served_model="m",user="a"} 5\n'
        'localai_tokens_total{kind="completion",served_model="m",user="b"} 7\n'
        'localai_tokens_total{kind="prompt",served_model="m",user="a"} 100\n'
    )
    state = look("localai", engine)
    assert state.readings == (c.GENERATION_TOKENS(12, engine="e", model="m"),)
    assert state.problem is None


def test_localai_unloads_by_stopping_the_backend():
    engine = kinds.local_ai()
    assert unload("localai", engine, "m") is True
    assert (engine.requests[-1].path, json.loads(engine.requests[-1].body)) == ("/backend/shutdown", {"model": "m"})


def test_llama_swap_keeps_ready_and_starting_servers_apart():
    state = look("llama_swap", kinds.llama_swap(("big", "ready"), ("small", "starting")))
    assert (states(state), state.loaded, state.version) == ({"big": "loaded", "small": "loading"}, 1, "250")


@pytest.mark.parametrize("other", ["stopping", "stopped", "shutdown", "unknown"])
def test_a_server_of_llama_swap_in_another_state_is_not_loaded(other: str):
    state = look("llama_swap", kinds.llama_swap(("big", other)))
    assert (states(state), state.loaded) == ({"big": "available", "small": "available"}, 0)


def test_llama_swap_is_asked_for_nothing_that_starts_or_stops_a_server():
    engine = kinds.llama_swap(("big", "ready"))
    look("llama_swap", engine, times=2)
    assert engine.asked() == ["/running", "/v1/models", "/api/version", "/running"]


def test_llama_swap_unloads_one_model():
    engine = kinds.llama_swap(("big", "ready"))
    assert unload("llama_swap", engine, "big") is True
    assert engine.requests[-1].method == "POST"


def test_docker_model_runner_has_running_and_stored_models_once_each(docker: Path):
    state = look("docker_model_runner", kinds.docker_model_runner(docker))
    assert states(state) == {"ai/smollm2:latest": "loaded", "docker.io/ai/gemma3": "available"}
    assert (state.loaded, state.version) == (1, "v1.2.6")


def test_docker_model_runner_tells_a_model_that_loads(docker: Path):
    engine = kinds.docker_model_runner(docker)
    engine.routes["/engines/ps"] = as_json([{"model_name": "m", "loading": True}, {"model_name": "\x00"}, 5])
    state = look("docker_model_runner", engine)
    assert (states(state)["m"], state.loaded) == ("loading", 0)


def test_docker_model_runner_passes_on_the_counters_of_each_model(docker: Path):
    engine = kinds.docker_model_runner(docker)
    engine.routes["/metrics"] = metrics(
        'llamacpp:tokens_predicted_total{backend="llama.cpp",mode="completion",model="a"} 5\n'
        'llamacpp:tokens_predicted_total{backend="llama.cpp",mode="completion",model="b"} 7\n'
        'llamacpp:requests_processing{backend="llama.cpp",mode="completion",model="b"} 1\n'
    )
    state = look("docker_model_runner", engine)
    assert set(state.readings) == {
        c.GENERATION_TOKENS(5, engine="e", model="a"),
        c.GENERATION_TOKENS(7, engine="e", model="b"),
        c.REQUESTS_RUNNING(1, engine="e", model="b"),
    }
    assert state.problem is None
    assert "DISABLE_METRICS" in str(look("docker_model_runner", kinds.docker_model_runner(docker)).problem)


def test_docker_model_runner_unloads_one_model(docker: Path):
    engine = kinds.docker_model_runner(docker)
    assert unload("docker_model_runner", engine, "ai/smollm2") is True
    assert json.loads(engine.requests[-1].body) == {"models": ["ai/smollm2"]}
    engine = kinds.docker_model_runner(docker)
    engine.routes["/engines/unload"] = as_json({"unloaded_runners": 0})
    assert unload("docker_model_runner", engine, "m") is False


@pytest.mark.parametrize("kind", ["localai", "llama_swap"])
def test_a_proxy_that_wants_a_key_is_up_and_unknown(kind: str):
    state = look(kind, FakeEngine({}, as_json({"error": "unauthorized"}, 401)))
    assert (state.models, state.loaded, state.readings) == ((), None, ())
    assert "api-key-file" in str(state.problem)


@pytest.mark.parametrize("kind", ["jan", "localai", "llama_swap", "docker_model_runner"])
def test_another_server_at_its_place_is_an_error(kind: str):
    with pytest.raises(EngineError, match="any more"):
        look(kind, FakeEngine({}, as_json({"some": "thing"})))
