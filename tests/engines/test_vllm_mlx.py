"""vllm-mlx: its state and counters, and nothing where its numbers stand for something else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from fakes.engines import FakeEngine, as_json, response
from fakes.served import look, vllm_mlx
from support.captures import shared_captures
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.vllm_mlx import METRICS, VllmMlx
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.families import Distribution
from tokwatt_exporter.snapshot import Reading

LABELS = {"engine": "e", "model": "/srv/llm/mlxtiny"}


@pytest.fixture
def captures() -> Path:
    return shared_captures() / "engines"


def status(captures: Path, **changed: Any) -> FakeEngine:
    """The recorded engine with another /v1/status."""
    server = vllm_mlx(captures)
    whole = {"status": "running", "model": "/srv/llm/mlxtiny", "residency": None, "embedding": None}
    server.routes["/v1/status"] = as_json(whole | changed)
    return server


TTFT = ((0.005, 0), *((bound, 1) for bound in (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)),
        *((bound, 2) for bound in (2.5, 5, 10, math.inf)))  # fmt: skip
#: Streamed requests and others, added up.
DURATION = ((0.01, 0), *((bound, 2) for bound in (0.025, 0.05, 0.1, 0.25, 0.5, 1)),
            *((bound, 3) for bound in (2.5, 5, 10, 30, 60, math.inf)))  # fmt: skip


def test_counters_are_those_of_generation(captures: Path):
    assert set(look(VllmMlx(), vllm_mlx(captures)).readings) == {
        c.REQUESTS_RUNNING(0, **LABELS),
        c.REQUESTS_WAITING(0, **LABELS),
        c.REQUESTS(3, **LABELS),
        c.PROMPT_TOKENS(14, **LABELS),
        c.GENERATION_TOKENS(14, **LABELS),
        *c.TIME_TO_FIRST_TOKEN(Distribution(TTFT, 2.119789135999781), **LABELS),
        *c.REQUEST_DURATION(Distribution(DURATION, 2.1436404799997035 + 0.018371700999978202), **LABELS),
    }


def test_before_the_first_request_there_are_no_token_counters_and_none_is_missed(captures: Path):
    state = look(VllmMlx(), vllm_mlx(captures, "metrics.fresh.http"))
    assert {reading.family for reading in state.readings} == {c.REQUESTS_RUNNING, c.REQUESTS_WAITING}
    assert state.problem is None


def test_what_embeddings_and_errors_count(captures: Path):
    server = vllm_mlx(captures)
    counts = {("embeddings", "success"): 90, ("completions", "error"): 2, ("completions", "success"): 5}
    lines = [
        f'vllm_mlx_inference_requests_total{{endpoint="{endpoint}",result="{result}",stream="false"}} {count}'
        for (endpoint, result), count in counts.items()
    ]
    server.routes["/metrics"] = response(200, "\n".join(lines).encode(), "text/plain")
    readings = look(VllmMlx(), server).readings
    assert set(readings) == {c.REQUESTS(7, **LABELS), c.REQUESTS_FAILED(2, **LABELS)}


def test_every_name_is_one_that_vllm_mlx_has(captures: Path):
    recorded = (captures / "vllm-mlx" / "metrics.live.csv").read_text()
    assert [name for name in METRICS.families() if f"{name}," not in recorded] == []


def test_a_model_that_is_always_loaded(captures: Path):
    state = look(VllmMlx(), vllm_mlx(captures))
    assert [(model.name, model.state, model.memory_bytes) for model in state.models] == [
        ("/srv/llm/mlxtiny", "loaded", None)
    ]
    assert (state.version, state.loaded, state.problem) == (None, 1, None)


@pytest.mark.parametrize(
    ("residency", "state", "loaded"),
    [("loaded", "loaded", 1), ("loading", "loading", 0), ("unloaded", "sleeping", 0), ("unloading", "loaded", 1)],
)
def test_a_model_that_comes_and_goes(captures: Path, residency: str, state: str, loaded: int):
    found = look(VllmMlx(), status(captures, residency={"state": residency}))
    assert ([model.state for model in found.models], found.loaded) == ([state], loaded)


def test_a_model_without_a_lifecycle_that_is_not_loaded(captures: Path):
    found = look(VllmMlx(), status(captures, status="not_loaded"))
    assert ([model.state for model in found.models], found.loaded) == (["available"], 0)


def test_a_model_that_could_not_be_loaded_is_a_problem(captures: Path):
    found = look(VllmMlx(), status(captures, status="not_loaded", residency={"state": "failed"}))
    assert ([model.state for model in found.models], found.loaded) == (["available"], 0)
    assert found.problem == "could not load its model"


@pytest.mark.parametrize(
    ("active", "embedding", "memory"),
    [(3.5, None, 3.5e9), (3.5, {"model": "x"}, None), (0.0, None, None), ("3", None, None)],
)
def test_what_is_active_is_the_models_where_there_is_only_one(captures: Path, active: Any, embedding: Any, memory: Any):
    found = look(VllmMlx(), status(captures, metal={"active_memory_gb": active}, embedding=embedding))
    assert [model.memory_bytes for model in found.models] == [memory]


def test_several_managed_models_share_their_counters_and_have_no_queue(captures: Path):
    models = [
        {"id": "a", "status": "loaded", "memory_gb": 4.0},
        {"id": "b", "status": "unloaded"},
        {"id": "c", "status": "loading"},
    ]
    server = vllm_mlx(captures)
    server.routes["/v1/status"] = as_json({"status": "running", "model_manager": {"models": models}})
    state = look(VllmMlx(), server)
    found = [(model.name, model.state, model.memory_bytes) for model in state.models]
    assert found == [("a", "loaded", None), ("b", "available", None), ("c", "loading", None)]
    assert state.loaded == 1
    assert Reading(c.GENERATION_TOKENS, (("engine", "e"),), 14.0) in state.readings
    assert not {c.REQUESTS_RUNNING, c.REQUESTS_WAITING} & {reading.family for reading in state.readings}


def test_without_metrics_it_says_so(captures: Path):
    server = vllm_mlx(captures)
    del server.routes["/metrics"]
    state = look(VllmMlx(), server)
    assert (state.readings, state.loaded) == ((), 1)
    assert "--enable-metrics" in str(state.problem)


def test_with_an_api_key_the_open_metrics_are_still_read(captures: Path):
    server = vllm_mlx(captures)
    server.routes["/v1/status"] = as_json({"detail": "API key required"}, 401)
    state = look(VllmMlx(), server)
    assert "api-key-file" in str(state.problem)
    assert (state.models, state.loaded) == ((), None)
    assert Reading(c.GENERATION_TOKENS, (("engine", "e"),), 14.0) in state.readings


def test_a_look_asks_for_two_harmless_pages(captures: Path):
    server = vllm_mlx(captures)
    look(VllmMlx(), server)
    assert server.asked() == ["/v1/status", "/metrics"]


@pytest.mark.parametrize(
    "answer", [as_json({"status": "ok"}), as_json([]), response(404, b"no"), response(200, b"<p>")]
)
def test_another_server_on_the_port_is_an_error_and_not_a_state(captures: Path, answer: bytes):
    server = vllm_mlx(captures)
    server.routes["/v1/status"] = answer
    with pytest.raises(EngineError):
        look(VllmMlx(), server)
