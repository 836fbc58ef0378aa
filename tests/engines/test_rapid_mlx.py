"""Rapid-MLX: the version that is really running, the models it holds, and what it counts for each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from fakes.engines import as_json, response, silence
from fakes.served import look, rapid_mlx
from support.captures import shared_captures
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.rapid_mlx import METRICS, RapidMlx
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.families import Distribution

LABELS = {"engine": "e", "model": "/srv/llm/mlxtiny"}
LOCKED = as_json({"error": {"message": "API key required"}}, 401, Server="uvicorn")


@pytest.fixture
def captures() -> Path:
    return shared_captures() / "engines"


def held(captures: Path, *models: dict[str, Any]):
    server = rapid_mlx(captures)
    server.routes["/v1/models/residency"] = as_json({"models": list(models)})
    return server


#: Of its time to first token.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, math.inf)


def test_counters_are_the_engines_own_and_hits_are_tokens(captures: Path):
    assert set(look(RapidMlx(), rapid_mlx(captures)).readings) == {
        c.REQUESTS_RUNNING(0, **LABELS),
        c.REQUESTS_WAITING(0, **LABELS),
        c.REQUESTS(4, **LABELS),
        c.REQUESTS_FAILED(0, **LABELS),
        c.PREFIX_CACHE_HITS(13, **LABELS),
        c.PROMPT_TOKENS(20, **LABELS),
        c.GENERATION_TOKENS(20, **LABELS),
        *c.TIME_TO_FIRST_TOKEN(Distribution(tuple((bound, 4) for bound in BOUNDS), 0.085412), **LABELS),
    }


def test_models_are_told_apart_where_the_engine_does(captures: Path):
    server = rapid_mlx(captures)
    lines = [
        f'rapid_mlx_model_completion_tokens_total{{model="{name}"}} {count}' for name, count in (("a", 5), ("b", 7))
    ]
    lines += ["rapid_mlx_completion_tokens_total 12", 'rapid_mlx_build_info{version="9.9",model="a"} 1']
    lines += ["rapid_mlx_requests_running 2", "rapid_mlx_requests_processed_total 3"]
    server.routes["/metrics"] = response(200, "\n".join(lines).encode(), "text/plain")
    state = look(RapidMlx(), server)
    assert set(state.readings) == {
        c.GENERATION_TOKENS(5, engine="e", model="a"),
        c.GENERATION_TOKENS(7, engine="e", model="b"),
        c.REQUESTS_RUNNING(2, engine="e", model="a"),
    }
    assert state.problem == "has no rapid_mlx_requests_waiting on /metrics of version 9.9"


def test_every_name_is_one_that_rapid_mlx_has(captures: Path):
    recorded = (captures / "rapid-mlx" / "metrics.csv").read_text()
    assert [name for name in METRICS.families() if f"\n{name}," not in recorded] == []


def test_an_estimate_is_no_measurement(captures: Path):
    state = look(RapidMlx(), rapid_mlx(captures))
    (model,) = state.models
    assert (model.name, model.state, model.memory_bytes) == ("/srv/llm/mlxtiny", "loaded", None)
    assert model.context_tokens == 4096
    assert (state.version, state.loaded, state.problem) == ("0.16.10", 1, None)


@pytest.mark.parametrize(
    ("theirs", "ours", "loaded"),
    [
        ("resident", "loaded", 1), ("loading", "loading", 0), ("standby", "sleeping", 0),
        ("registered", "available", 0), ("error", "available", 0), (None, "available", 0),
    ],
)  # fmt: skip
def test_a_model_in_every_state(captures: Path, theirs: str | None, ours: str, loaded: int):
    state = look(RapidMlx(), held(captures, {"id": "m", "state": theirs, "measured_bytes": 5}))
    assert ([(model.state, model.memory_bytes) for model in state.models], state.loaded) == ([(ours, 5)], loaded)


def test_without_a_model_in_memory_no_metric_is_missed(captures: Path):
    server = held(captures, {"id": "m", "state": "standby"})
    body = b'rapid_mlx_build_info{version="0.16.10",model="m"} 1\nrapid_mlx_model_loaded NaN\n'
    server.routes["/metrics"] = response(200, body, "text/plain")
    state = look(RapidMlx(), server)
    assert (state.readings, state.loaded, state.problem) == ((), 0, None)


def test_with_an_api_key_the_open_metrics_are_still_read(captures: Path):
    server = rapid_mlx(captures)
    server.routes |= {"/v1/models": LOCKED, "/v1/models/residency": LOCKED}
    state = look(RapidMlx(), server)
    assert "api-key-file" in str(state.problem)
    assert [(model.name, model.state) for model in state.models] == [("/srv/llm/mlxtiny", "loaded")]
    assert c.GENERATION_TOKENS(20, **LABELS) in state.readings


def test_a_version_that_only_says_that_the_model_is_loaded(captures: Path):
    server = rapid_mlx(captures)
    body = b'rapid_mlx_build_info{version="0.9",model="m"} 1\nrapid_mlx_model_loaded 1\n'
    server.routes = {"/metrics": response(200, body, "text/plain"), "/v1/models/residency": LOCKED}
    assert [(model.name, model.state) for model in look(RapidMlx(), server).models] == [("m", "loaded")]


def test_metrics_that_hang_cost_only_the_counters(captures: Path):
    server = rapid_mlx(captures)
    server.routes["/metrics"] = silence
    state = look(RapidMlx(), server)
    assert (state.loaded, state.version, state.readings) == (1, None, ())
    assert "did not answer" in str(state.problem)


def test_its_slow_health_is_not_asked_for(captures: Path):
    server = rapid_mlx(captures)
    look(RapidMlx(), server)
    assert server.asked() == ["/metrics", "/v1/models/residency", "/v1/models"]


@pytest.mark.parametrize("metrics", [response(200, b"other_total 1\n", "text/plain"), response(404, b"no")])
def test_another_server_on_the_port_is_an_error_and_not_a_state(captures: Path, metrics: bytes):
    server = rapid_mlx(captures)
    server.routes = {"/metrics": metrics}
    with pytest.raises(EngineError):
        look(RapidMlx(), server)


def test_counters_of_a_model_have_the_name_it_is_served_under(captures: Path):
    row = {"id": "tiny", "model_path": "/srv/llm/mlxtiny", "state": "resident"}
    state = look(RapidMlx(), held(captures, row))
    assert [model.name for model in state.models] == ["tiny"]
    assert {dict(reading.labels)["model"] for reading in state.readings} == {"tiny"}
