"""`--cold`: the model is dropped and loaded anew before each request, or the user is told why not."""

from __future__ import annotations

import json

import pytest

from fakes import engine_kinds as kinds
from fakes import engines as fakes
from fakes.engines import FakeEngine, as_json, response
from support.captures import shared_captures
from tokwatt_bench import cold, load
from tokwatt_bench.plan import Plan
from tokwatt_bench.request import Load
from tokwatt_bench.result import result
from tokwatt_bench.target import Target
from tokwatt_exporter.engines.base import Model, State
from tokwatt_exporter.engines.openai_compatible import OpenAICompatible
from tokwatt_exporter.engines.scan import adapter
from tokwatt_exporter.errors import EngineError, UsageError

ANSWER = [
    {"message": {"content": "Hi"}, "done": False},
    {"message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 1, "prompt_eval_count": 30},
]


def plan(url, engine, model="m", **options):
    target = Target("e", engine.kind, None, url, model, engine, None, None, True)
    return Plan(target=target, cold=True, idle_seconds=0, **{"runs": 2, "warmup": 0, **options})


def said(value):
    """JSON, after which the server hangs up, as it does, and says so: else the next request may meet its going."""
    return as_json(value, Connection="close")


def ollama(obeys=True):
    """An Ollama with a model in memory that does as it is told."""
    body = "".join(json.dumps(line) + "\n" for line in ANSWER)
    chat = response(200, body.encode(), "application/x-ndjson")
    engine = FakeEngine({"/api/version": said({"version": "0.33.0"}), "/api/chat": chat})
    engine.routes["/api/tags"] = said({"models": [{"name": "m"}]})
    engine.routes["/api/ps"] = said({"models": [{"name": "m", "size": 1}]})

    async def generate(writer):
        if obeys:
            stays = json.loads(engine.requests[-1].body).get("keep_alive") != 0
            engine.routes["/api/ps"] = said({"models": [{"name": "m", "size": 1}] if stays else []})
        writer.write(said({"done": True}))

    engine.routes["/api/generate"] = generate
    return engine


def posted(engine):
    bodies = [(request.path, json.loads(request.body)) for request in engine.requests if request.method == "POST"]
    return ["unload" if body.get("keep_alive") == 0 else path.rpartition("/")[2] for path, body in bodies]


def test_each_request_finds_a_model_that_was_loaded_for_it():
    with ollama() as engine:
        found = result(load.run(plan(engine.url, adapter("ollama"))))
    assert posted(engine) == ["unload", "generate", "chat"] * 2
    assert (found["failures"], found["load_seconds"]["count"], found["load_seconds"]["source"]) == ([], 2, "load")
    assert 0 < found["load_seconds"]["p50"] < 30
    assert found["settings"]["cold"] is True


def test_a_model_that_is_not_in_memory_is_only_loaded():
    with ollama() as engine:
        engine.routes["/api/ps"] = as_json({"models": []})
        cold.load(plan(engine.url, adapter("ollama")))
    assert posted(engine) == ["generate"]


def test_the_engines_own_time_wins():
    folder = shared_captures() / "engines/lmstudio"
    said = (folder / "doc.api-v1-models-load.01.json").read_bytes()
    engine = kinds.lm_studio(folder)
    listed = engine.routes["/api/v1/models"]

    async def drop(writer):
        engine.routes["/api/v1/models"] = as_json({"models": []})
        writer.write(as_json({"instance_id": "google/gemma-4-26b-a4b"}))

    async def bring(writer):
        engine.routes["/api/v1/models"] = listed
        writer.write(response(200, said))

    engine.routes |= {"/api/v1/models/unload": drop, "/api/v1/models/load": bring}
    with engine:
        found = cold.load(plan(engine.url, adapter("lm_studio"), "google/gemma-4-26b-a4b"))
    assert found == Load(9.099, "engine")


class OnRequest(OpenAICompatible):
    """An engine that loads with a request only."""

    unloads = True
    dropped = 0

    async def look(self, ask, name):
        state = "available" if self.dropped else "loaded"
        return State(models=(Model("base", state), Model("err500", state), Model("cutclean", state)))

    async def unload(self, ask, model):
        self.dropped += 1
        return True


def test_where_only_a_request_loads_one_for_a_single_token_does(server):
    engine = OnRequest()
    found = cold.load(plan(server.url, engine, "base"))
    assert (found.source, engine.dropped, server.truths()[-1].tokens) == ("request", 1, 1)
    assert found.seconds > server.truths()[-1].first_token_seconds


@pytest.mark.parametrize(("model", "why"), [("err500", "HTTP 500"), ("cutclean", "the answer is not whole")])
def test_that_request_has_to_succeed(server, model, why):
    with pytest.raises(EngineError, match=f"e did not load {model}: {why}"):
        cold.load(plan(server.url, OnRequest(), model))


def test_an_engine_without_a_way_is_refused_by_name():
    with pytest.raises(UsageError, match=r"^--cold: e \(mlx_lm\) has no way to unload a model; restart it instead$"):
        cold.refuse(plan("http://127.0.0.1:1", adapter("mlx_lm")))
    cold.refuse(plan("http://127.0.0.1:1", adapter("ollama")))


def test_a_model_that_does_not_go_is_not_measured_as_if_it_had():
    with ollama(obeys=False) as engine, pytest.raises(EngineError, match=r"e did not drop m within 0\.3 s"):
        cold.load(plan(engine.url, adapter("ollama"), timeout=0.3))


def test_a_model_that_fails_to_load_is_not_waited_for():
    router = fakes.llama_cpp_router(shared_captures() / "engines/llama.cpp")
    failed = {"value": "unloaded", "failed": True, "exit_code": 1}
    router.routes["/models"] = as_json({"data": [{"id": "big", "status": failed}]})
    router.routes["/models/load"] = as_json({"success": True})
    with router, pytest.raises(EngineError, match="e could not load big; its log says why"):
        cold.load(plan(router.url, adapter("llama_cpp"), "big", timeout=60.0))


def test_an_engine_that_refuses_to_unload_ends_it():
    with ollama() as engine:
        engine.routes["/api/generate"] = as_json({"error": "busy"}, 503)
        with pytest.raises(EngineError, match="e did not unload m"):
            cold.load(plan(engine.url, adapter("ollama")))


def test_a_model_that_is_not_listed_may_be_in_memory_under_another_name():
    with ollama() as engine, pytest.raises(EngineError, match="e does not list other: whether it is in memory"):
        cold.load(plan(engine.url, adapter("ollama"), "other", timeout=1.0))
    assert posted(engine) == []


def test_without_it_nothing_is_said_of_loading(server):
    target = Target("e", "openai_compatible", None, server.url, "base", OpenAICompatible(), None, None, True)
    found = result(load.run(Plan(target=target, runs=1, warmup=0, max_tokens=4, idle_seconds=0)))
    assert "load_seconds" not in found
