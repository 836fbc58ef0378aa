"""vMLX: one model that may sleep softly or deeply, and what its /health says of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fakes.engines import FakeEngine, as_json, response, silence
from fakes.served import listed, look, vmlx
from support.captures import shared_captures
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.client import Client
from tokwatt_exporter.engines.vmlx import VMLX
from tokwatt_exporter.errors import EngineError

LABELS = {"engine": "e", "model": "res/mlxtiny"}
LOCKED = as_json({"detail": "API key required"}, 401, Server="uvicorn")


@pytest.fixture
def captures() -> Path:
    return shared_captures() / "engines"


def changed(captures: Path, **fields: Any) -> FakeEngine:
    """The recorded engine with a /health that says something else."""
    server = vmlx(captures)
    health = server.routes["/health"]
    assert isinstance(health, bytes)
    server.routes["/health"] = as_json(json.loads(health.partition(b"\r\n\r\n")[2]) | fields)
    return server


def test_the_model_its_memory_and_the_version(captures: Path):
    state = look(VMLX(), vmlx(captures))
    (model,) = state.models
    assert (model.name, model.state, model.memory_bytes) == ("res/mlxtiny", "loaded", 1.4 * 2**20)
    assert (state.version, state.loaded, state.problem) == ("1.6.81", 1, None)


def test_queue_and_cached_tokens_are_the_schedulers(captures: Path):
    scheduler = {"num_running": 2, "num_waiting": 1, "cache_hit_tokens": 64, "cache_hit_requests": 3}
    assert set(look(VMLX(), changed(captures, scheduler=scheduler)).readings) == {
        c.REQUESTS_RUNNING(2, **LABELS),
        c.REQUESTS_WAITING(1, **LABELS),
        c.PREFIX_CACHE_HITS(64, **LABELS),
    }


def test_without_a_scheduler_there_are_no_readings(captures: Path):
    assert look(VMLX(), changed(captures, scheduler=None)).readings == ()


def test_a_softly_sleeping_model_is_still_in_memory(captures: Path):
    state = look(VMLX(), vmlx(captures, "health.soft-sleep.http"))
    assert ([model.state for model in state.models], state.loaded) == (["loaded"], 1)


def test_a_deeply_sleeping_model_is_not(captures: Path):
    state = look(VMLX(), changed(captures, status="standby_deep", model_loaded=False))
    assert ([(model.state, model.memory_bytes) for model in state.models], state.loaded) == ([("sleeping", None)], 0)


def test_without_a_model_there_is_none(captures: Path):
    state = look(VMLX(), changed(captures, status="no_model", model_loaded=False, model_name="default"))
    assert (state.models, state.readings, state.loaded) == ((), (), 0)


def test_a_model_that_could_not_be_loaded_is_a_problem(captures: Path):
    state = look(VMLX(), changed(captures, status="no_model", model_loaded=False, error="<path> is broken"))
    assert ([model.state for model in state.models], state.problem) == (["available"], "could not load its model")


def test_a_description_of_its_api_that_takes_too_long_costs_only_the_version(captures: Path):
    server = vmlx(captures)
    server.routes["/openapi.json"] = silence
    state = look(VMLX(), server)
    assert (state.version, state.loaded) == (None, 1)


def test_the_description_of_another_api_has_no_version_of_vmlx(captures: Path):
    server = vmlx(captures)
    server.routes["/openapi.json"] = as_json({"info": {"title": "a proxy", "version": "2.0"}})
    assert look(VMLX(), server).version is None


def test_with_an_api_key_its_health_is_open(captures: Path):
    server = vmlx(captures)
    server.routes["/v1/models"] = LOCKED
    state = look(VMLX(), server)
    assert (state.version, state.loaded) == ("1.6.81", 1)


@pytest.mark.parametrize("models", [listed("sglang", "m"), LOCKED, response(404, b"no")])
def test_nobody_else_is_asked_for_a_health_that_may_generate_a_token(captures: Path, models: bytes):
    server = vmlx(captures)
    server.routes |= {"/v1/models": models, "/openapi.json": as_json({"info": {"title": "FastAPI", "version": "1"}})}
    with pytest.raises(EngineError, match="not vMLX"):
        look(VMLX(), server)
    assert "/health" not in server.asked()


@pytest.mark.parametrize("loaded", [None, 1, "true"])
def test_a_health_that_does_not_say_whether_the_model_is_loaded_is_an_error(captures: Path, loaded: object):
    with pytest.raises(EngineError, match="whether"):
        look(VMLX(), changed(captures, model_loaded=loaded))


def test_unloading_is_its_deep_sleep(captures: Path):
    server = vmlx(captures)
    server.routes["/admin/deep-sleep"] = as_json({"status": "deep_sleep"})

    async def unload() -> bool:
        async with Client(server.url) as ask:
            return await VMLX().unload(ask, "res/mlxtiny")

    with server:
        assert asyncio.run(unload()) is True
        assert [request.method for request in server.requests] == ["POST"]
