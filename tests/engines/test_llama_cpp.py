"""llama.cpp: its own counters under our names, and nothing that it did not say."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fakes import engines as fake
from fakes.engines import FakeEngine, as_json, recorded, response
from support.captures import shared_captures
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.base import State
from tokwatt_exporter.engines.client import Client
from tokwatt_exporter.engines.llama_cpp import LlamaCpp
from tokwatt_exporter.errors import EngineError

LABELS = {"engine": "e", "model": "tiny.gguf"}


@pytest.fixture
def folder() -> Path:
    return shared_captures() / "engines" / "llama.cpp"


def look(engine: FakeEngine) -> State:
    async def once() -> State:
        async with Client(engine.url, deadline=3.0) as ask:
            return await LlamaCpp().look(ask, "e")

    with engine:
        return asyncio.run(once())


def test_counters_are_the_engines_own_with_cached_prompt_tokens_apart(folder: Path):
    state = look(fake.llama_cpp(folder))
    assert set(state.readings) == {
        c.PROMPT_TOKENS(97, **LABELS),
        c.PREFIX_CACHE_HITS(197, **LABELS),
        c.GENERATION_TOKENS(29, **LABELS),
        c.PROMPT_SECONDS(0.024821, **LABELS),
        c.GENERATION_SECONDS(0.022083, **LABELS),
        c.REQUESTS_RUNNING(0, **LABELS),
        c.REQUESTS_WAITING(0, **LABELS),
    }


def test_the_model_has_its_quantization_format_and_context_but_no_memory(folder: Path):
    state = look(fake.llama_cpp(folder))
    (model,) = state.models
    assert (model.name, model.state, model.quantization, model.format) == ("tiny.gguf", "loaded", "F16", "gguf")
    assert model.context_tokens == 1024
    assert model.memory_bytes is None, "meta.size is the file's weights, not memory"
    assert (state.version, state.loaded, state.problem) == ("b1-0c1e570", 1, None)


def test_a_busy_server_shows_its_running_requests(folder: Path):
    state = look(fake.llama_cpp(folder, metrics="metrics.busy.http"))
    assert c.REQUESTS_RUNNING(2, **LABELS) in state.readings


def test_an_old_build_names_its_model_on_v1_models_only(folder: Path):
    engine = fake.llama_cpp(folder)
    engine.routes["/props"] = as_json({"build_info": "b5000", "model_path": "/m/x.gguf"}, Server="llama.cpp")
    state = look(engine)
    assert [(m.name, m.quantization, m.context_tokens) for m in state.models] == [("tiny.gguf", "F16", 1024)]


def test_a_poll_takes_two_requests(folder: Path):
    engine = fake.llama_cpp(folder)
    look(engine)
    assert engine.asked() == ["/props", "/metrics"]


def test_a_sleeping_server_keeps_its_counters_is_not_loaded_and_is_not_woken(folder: Path):
    engine = fake.llama_cpp(folder, props="sleep.props.http", metrics="sleep.metrics.http")
    state = look(engine)
    assert [m.state for m in state.models] == ["sleeping"]
    assert state.loaded == 0
    assert c.GENERATION_TOKENS(0, **LABELS) in state.readings
    assert "/slots" not in engine.asked()


def test_a_server_without_metrics_says_so_and_has_no_counters(folder: Path):
    state = look(fake.llama_cpp(folder, metrics="disabled.metrics.501.http"))
    assert state.readings == ()
    assert state.loaded == 1
    assert "--metrics" in str(state.problem)


def test_a_server_with_an_api_key_is_up_and_unknown(folder: Path):
    state = look(fake.llama_cpp(folder, props="auth.props.401.http", metrics="auth.metrics.401.http"))
    assert (state.models, state.loaded, state.readings) == ((), None, ())
    assert "api-key-file" in str(state.problem)


def test_a_loading_server_is_up_with_no_model_in_memory():
    busy = as_json({"error": {"message": "Loading model"}}, 503, Server="llama.cpp")
    state = look(FakeEngine({}, busy))
    assert (state.loaded, state.models) == (0, ())
    assert "loading" in str(state.problem)


def test_metrics_that_hang_behind_a_long_prompt_cost_only_the_counters(folder: Path):
    engine = fake.llama_cpp(folder)
    engine.routes["/metrics"] = fake.silence
    state = look(engine)
    assert (state.loaded, state.readings) == (1, ())
    assert "did not answer" in str(state.problem)


def test_the_json_quoted_metrics_of_some_builds_are_read(folder: Path):
    _, _, body = (folder / "metrics.scrape-1.http").read_bytes().partition(b"\r\n\r\n")
    engine = fake.llama_cpp(folder)
    engine.routes["/metrics"] = as_json(body.decode(), Server="llama.cpp")
    assert c.PROMPT_TOKENS(97, **LABELS) in look(engine).readings


@pytest.mark.parametrize("value", ["NaN", "-nan", "+Inf", "-Inf", "Infinity", "1e999", "-3", "x", ""])
def test_a_value_that_is_no_number_is_absent_and_the_others_stay(folder: Path, value: str):
    lines = ["llamacpp:prompt_tokens_total 7", f"llamacpp:tokens_predicted_total {value}", "# \xff", "{", "\x00"]
    body = "\n".join([*lines, "llamacpp:requests_processing 1"])
    engine = fake.llama_cpp(folder)
    engine.routes["/metrics"] = response(200, body.encode("latin-1"), "text/plain")
    state = look(engine)
    assert c.GENERATION_TOKENS not in {reading.family for reading in state.readings}
    assert set(state.readings) == {c.PROMPT_TOKENS(7, **LABELS), c.REQUESTS_RUNNING(1, **LABELS)}


def test_counters_above_a_million_are_what_the_engine_printed(folder: Path):
    engine = fake.llama_cpp(folder)
    body = (folder / "metrics.over-1e6.txt").read_bytes()
    engine.routes["/metrics"] = response(200, b"llamacpp:prompt_tokens_total 1.23501e+06\n", "text/plain")
    assert b"1.23501e+06" in body
    assert c.PROMPT_TOKENS(1_235_010, **LABELS) in look(engine).readings


def test_a_metric_that_disappeared_is_named(folder: Path):
    engine = fake.llama_cpp(folder)
    engine.routes["/metrics"] = response(200, b"llamacpp:prompt_tokens_total 1\n", "text/plain")
    expected = "has no llamacpp:tokens_predicted_total on /metrics of version b1-0c1e570"
    assert look(engine).problem == expected


def test_a_router_reports_every_loaded_model_and_loads_none(folder: Path):
    engine = fake.llama_cpp_router(folder)
    state = look(engine)
    assert [(m.name, m.state) for m in state.models] == [("tiny-a", "loaded"), ("tiny-b", "available")]
    assert state.loaded == 1
    assert c.PROMPT_TOKENS(31, engine="e", model="tiny-a") in state.readings
    asked = [request.target for request in engine.requests]
    assert asked == ["/props", "/models", "/metrics?model=tiny-a&autoload=false"]


def test_a_router_with_nothing_loaded_is_asked_for_no_metrics(folder: Path):
    engine = fake.llama_cpp_router(folder)
    engine.routes["/models"] = recorded(folder / "router.models.unloaded.http")
    state = look(engine)
    assert (state.loaded, state.readings) == (0, ())
    assert "/metrics" not in engine.asked()


def test_another_server_on_the_port_is_an_error_and_not_a_state():
    with pytest.raises(EngineError, match="not llama"):
        look(FakeEngine({}))


def test_a_model_that_a_router_could_not_load_is_told(folder: Path):
    router = fake.llama_cpp_router(folder)
    failed = {"value": "unloaded", "failed": True, "exit_code": 1}
    router.routes["/models"] = as_json({"data": [{"id": "big", "status": failed}]})
    state = look(router)
    assert {model.name: model.state for model in state.models} == {"big": "available"}
    assert state.problem == "could not load big; its log says why"


def test_only_a_router_unloads(folder: Path):
    async def unload(engine: FakeEngine) -> bool:
        async with Client(engine.url) as ask:
            return await LlamaCpp().unload(ask, "tiny-a")

    with fake.llama_cpp(folder) as engine:
        assert asyncio.run(unload(engine)) is False
    router = fake.llama_cpp_router(folder)
    router.routes["/models/unload"] = recorded(folder / "router.unload.http")
    with router as engine:
        assert asyncio.run(unload(engine)) is True
        assert engine.requests[-1].body == b'{"model":"tiny-a"}'


def test_a_generation_asks_for_its_usage_and_passes_options_on():
    request = LlamaCpp().generation("m", [{"role": "user", "content": "hi"}], 8, seed=1, cache_prompt=False)
    assert (request.path, request.dialect) == ("/v1/chat/completions", "openai")
    assert request.body["stream_options"] == {"include_usage": True}
    assert (request.body["max_tokens"], request.body["seed"], request.body["cache_prompt"]) == (8, 1, False)
    with pytest.raises(TypeError, match="colour"):
        LlamaCpp().generation("m", [], 8, colour="red")
