"""Dropping models and bringing them back, by each engine's own way."""

import asyncio
import json

import pytest

from fakes import engine_kinds as kinds
from fakes import engines as fakes
from fakes.asking import unload
from fakes.engines import FakeEngine, as_json, response
from support.captures import shared_captures
from tokwatt_exporter.engines.base import Engine, Loading
from tokwatt_exporter.engines.client import Client
from tokwatt_exporter.engines.registry import ADAPTERS
from tokwatt_exporter.engines.scan import adapter

QWEN, LLAMA = "mlx-community/Qwen3-4bit", "mlx-community/Llama-8bit"


def load(kind, engine, model):
    async def once():
        async with Client(engine.url, deadline=3.0) as ask:
            return await adapter(kind).load(ask, model)

    with engine:
        return asyncio.run(once())


@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_engine_says_whether_it_can_unload(kind):
    engine = type(adapter(kind))
    assert engine.unloads == (engine.unload is not Engine.unload)
    assert engine.unloads or engine.load is Engine.load


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [("ollama", "/api/generate", {"model": "a/b", "stream": False}), ("llama_cpp", "/models/load", {"model": "a/b"}),
     ("omlx", "/v1/models/a%2Fb/load", {}), ("rapid_mlx", "/v1/models/load", {"model": "a/b"}),
     ("vmlx", "/admin/wake", {}), ("exo", "/place_instance", {"model_id": "a/b"})],
)  # fmt: skip
def test_loading_is_one_question_and_a_refusal_is_none(kind, path, body):
    engine = FakeEngine({path: as_json({"success": True})})
    assert load(kind, engine, "a/b") == Loading()
    [request] = engine.requests
    assert (request.method, json.loads(request.body)) == ("POST", body)
    assert load(kind, FakeEngine({path: as_json({"error": "no"}, 400)}), "a/b") is None


def test_lm_studio_says_how_long_loading_took():
    said = (shared_captures() / "engines/lmstudio/doc.api-v1-models-load.01.json").read_bytes()
    engine = FakeEngine({"/api/v1/models/load": response(200, said)})
    assert load("lm_studio", engine, "openai/gpt-oss-20b") == Loading(9.099)
    assert (
        load("lm_studio", FakeEngine({"/api/v1/models/load": as_json({"error": "Unexpected endpoint"})}), "m") is None
    )


def test_what_a_recorded_router_and_vmlx_answered_is_a_load():
    folder = shared_captures() / "engines"
    router = FakeEngine({"/models/load": fakes.recorded(folder / "llama.cpp/router.load.http")})
    assert load("llama_cpp", router, "tiny-a") == Loading()
    vmlx = FakeEngine({"/admin/wake": fakes.recorded(folder / "vmlx/admin-wake.http")})
    assert load("vmlx", vmlx, "m") == Loading()


def test_rapid_mlx_unloads_by_deleting():
    engine = FakeEngine({"/v1/models/a%2Fb": response(204, b"")})
    assert unload("rapid_mlx", engine, "a/b") is True
    assert [request.method for request in engine.requests] == ["DELETE"]
    assert unload("rapid_mlx", FakeEngine({"/v1/models/m": as_json({"detail": "busy"}, 409)}), "m") is False


def test_exo_takes_down_every_instance_of_the_model_and_no_other():
    def instance(model):
        return {"MlxRingInstance": {"shardAssignments": {"modelId": model, "runnerToShard": {}}}}

    engine = kinds.exo(instances={"i1": instance(QWEN), "i/2": instance(QWEN), "i3": instance(LLAMA)})
    engine.routes |= {"/instance/i1": as_json({"message": "ok"}), "/instance/i%2F2": as_json({"message": "ok"})}
    assert unload("exo", engine, QWEN) is True
    deleted = [request.path for request in engine.requests if request.method == "DELETE"]
    assert deleted == ["/instance/i1", "/instance/i%2F2"]


def test_exo_unloads_nothing_where_nothing_runs_or_an_instance_stays():
    assert unload("exo", kinds.exo(), LLAMA) is False
    assert unload("exo", kinds.exo(), QWEN) is False
