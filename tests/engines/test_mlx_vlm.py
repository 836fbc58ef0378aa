"""mlx_vlm.server: version, models in memory, and totals of the whole server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import engine_kinds as kinds
from fakes import engines as fake
from fakes.asking import look, states, unload
from fakes.engines import as_json
from support.captures import shared_captures
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.replies import engine_wide
from tokwatt_exporter.errors import EngineError

TINY = "/srv/llm/mlxtiny"
HEADER = {"Server": "mlx_vlm/0.7.10"}


@pytest.fixture
def folder() -> Path:
    return shared_captures() / "engines" / "mlx-vlm"


def metrics(**changed: Any) -> bytes:
    server = {"loaded_models": {"text_generation": {"model": "m"}}, "request_queue_depth": 1, **changed}
    return as_json({"summary": {"in_flight": 3}, "server": server}, **HEADER)


def test_version_and_model_in_memory_are_those_of_the_recorded_server(folder: Path):
    state = look("mlx_vlm", kinds.mlx_vlm(folder))
    assert (state.version, states(state), state.loaded) == ("0.7.10", {TINY: "loaded"}, 1)
    assert state.models[0].context_tokens is None
    assert state.problem is None


def test_totals_are_the_servers_and_carry_no_model(folder: Path):
    state = look("mlx_vlm", kinds.mlx_vlm(folder))
    assert state.readings == engine_wide(
        "e",
        [
            (c.REQUESTS_RUNNING, 0), (c.REQUESTS_WAITING, 0), (c.REQUESTS, 2), (c.REQUESTS_FAILED, 0),
            (c.PROMPT_TOKENS, 10), (c.GENERATION_TOKENS, 9),
        ],
    )  # fmt: skip
    assert all(reading.labels == (("engine", "e"),) for reading in state.readings)


def test_a_request_that_waits_is_not_running(folder: Path):
    engine = kinds.mlx_vlm(folder)
    engine.routes["/metrics"] = metrics(effective_context_limit=4096)
    state = look("mlx_vlm", engine)
    assert state.readings == engine_wide("e", [(c.REQUESTS_RUNNING, 2), (c.REQUESTS_WAITING, 1)])
    assert state.models[0].context_tokens == 4096


@pytest.mark.parametrize("depth", [None, -1, "x", True])
def test_without_the_depth_of_the_queue_it_is_not_known_what_runs(folder: Path, depth: object):
    engine = kinds.mlx_vlm(folder)
    engine.routes["/metrics"] = metrics(request_queue_depth=depth)
    assert look("mlx_vlm", engine).readings == ()


def test_a_model_on_disk_only_is_available(folder: Path):
    engine = kinds.mlx_vlm(folder)
    engine.routes["/v1/models"] = kinds.listing(TINY, "other")
    state = look("mlx_vlm", engine)
    assert (states(state), state.loaded) == ({TINY: "loaded", "other": "available"}, 1)


def test_a_slow_search_of_the_disk_costs_only_what_lies_there(folder: Path):
    engine = kinds.mlx_vlm(folder)
    engine.routes["/v1/models"] = fake.silence
    assert states(look("mlx_vlm", engine)) == {TINY: "loaded"}


def test_one_with_an_api_key_is_up_with_its_version(folder: Path):
    engine = kinds.mlx_vlm(folder)
    engine.routes["/metrics"] = as_json({"detail": "Invalid API key"}, 401, **HEADER)
    state = look("mlx_vlm", engine)
    assert (state.version, state.loaded, state.readings) == ("0.7.10", None, ())
    assert "api-key-file" in str(state.problem)


def test_another_server_at_its_place_is_an_error(folder: Path):
    engine = kinds.mlx_vlm(folder)
    engine.routes["/metrics"] = as_json({"summary": {}, "server": {}}, Server="uvicorn")
    with pytest.raises(EngineError, match="any more"):
        look("mlx_vlm", engine)


def test_it_is_asked_to_unload_only_while_that_model_alone_is_loaded(folder: Path):
    engine = kinds.mlx_vlm(folder)
    assert unload("mlx_vlm", engine, TINY) is True
    assert engine.requests[-1].path == "/unload"
    other = kinds.mlx_vlm(folder)
    assert unload("mlx_vlm", other, "another") is False
    assert {request.method for request in other.requests} == {"GET"}
