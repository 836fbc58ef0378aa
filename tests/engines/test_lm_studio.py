"""LM Studio: listed is not loaded, and HTTP 200 is not an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fakes import engine_kinds as kinds
from fakes.asking import look, model, states, unload
from fakes.engines import as_json, response
from support.captures import shared_captures
from tokwatt_exporter.engines.base import Model
from tokwatt_exporter.errors import EngineError

GEMMA = "google/gemma-4-26b-a4b"
NOMIC = "text-embedding-nomic-embed-text-v1.5-embedding"


@pytest.fixture
def folder() -> Path:
    return shared_captures() / "engines" / "lmstudio"


def instances(*rows: Any) -> bytes:
    return as_json({"models": [{"key": "qwen", "format": "mlx", "loaded_instances": list(rows)}]})


def test_a_model_is_loaded_only_where_it_has_an_instance(folder: Path):
    state = look("lm_studio", kinds.lm_studio(folder))
    assert states(state) == {GEMMA: "loaded", "deepseek-r1": "available", NOMIC: "available"}
    assert state.loaded == 1


def test_the_context_is_the_allocated_one_and_the_size_of_the_file_is_no_memory(folder: Path):
    state = look("lm_studio", kinds.lm_studio(folder))
    assert model(state, GEMMA) == Model(GEMMA, "loaded", "Q4_K_M", "gguf", context_tokens=4096)
    assert model(state, NOMIC).context_tokens is None, "max_context_length is what it could have"


def test_there_are_neither_a_version_nor_counters(folder: Path):
    state = look("lm_studio", kinds.lm_studio(folder))
    assert (state.version, state.readings, state.problem) == (None, (), None)


def test_every_instance_of_a_model_is_one_that_is_loaded(folder: Path):
    engine = kinds.lm_studio(folder)
    engine.routes["/api/v1/models"] = instances({"id": "qwen"}, {"id": "qwen:2"})
    state = look("lm_studio", engine)
    assert (states(state), state.loaded) == ({"qwen": "loaded", "qwen:2": "loaded"}, 2)


def test_an_older_one_says_which_model_is_loading(folder: Path):
    state = look("lm_studio", kinds.old_lm_studio(folder))
    assert states(state) == {"qwen": "loaded", "llama": "loading", "nomic": "available"}
    assert model(state, "qwen") == Model("qwen", "loaded", "4bit", "mlx", context_tokens=4096)
    assert {model(state, name).context_tokens for name in ("llama", "nomic")} == {None}
    assert state.loaded == 1


def test_the_documented_list_of_an_older_one_has_nothing_loaded(folder: Path):
    engine = kinds.lm_studio(folder)
    del engine.routes["/api/v1/models"]
    state = look("lm_studio", engine)
    assert (set(states(state).values()), state.loaded) == ({"available"}, 0)


def test_a_page_that_an_older_one_does_not_have_is_asked_for_once(folder: Path):
    engine = kinds.old_lm_studio(folder)
    look("lm_studio", engine, times=3)
    assert engine.asked() == ["/api/v1/models", *3 * ["/api/v0/models"]]


def test_a_page_that_is_gone_with_http_404_leads_to_the_older_list_too(folder: Path):
    engine = kinds.old_lm_studio(folder)
    engine.routes["/api/v1/models"] = response(404, b"")
    assert look("lm_studio", engine).loaded == 1


def test_of_a_model_that_is_listed_twice_the_loaded_one_counts(folder: Path):
    engine = kinds.lm_studio(folder)
    rows = [{"key": "a"}, {"key": "a", "loaded_instances": [{}]}, {"key": "a"}]
    engine.routes["/api/v1/models"] = as_json({"models": rows})
    assert states(look("lm_studio", engine)) == {"a": "loaded"}


def test_nothing_is_asked_that_names_a_model_or_would_be_an_error_in_the_log(folder: Path):
    engine = kinds.lm_studio(folder)
    look("lm_studio", engine, times=3)
    assert set(engine.asked()) == {"/api/v1/models"}
    assert {request.method for request in engine.requests} == {"GET"}


@pytest.mark.parametrize("status", [401, 403, 200])
def test_one_that_wants_a_token_is_up_and_unknown(status: int):
    state = look("lm_studio", kinds.locked_lm_studio(status))
    assert (state.models, state.loaded) == ((), None)
    assert "api-key-file" in str(state.problem)


def test_a_refusal_does_not_lead_to_the_older_list(folder: Path):
    engine = kinds.lm_studio(folder)
    engine.routes["/api/v1/models"] = as_json({"error": "no"}, 401)
    look("lm_studio", engine)
    assert "/api/v0/models" not in engine.asked()


@pytest.mark.parametrize("body", [b"{}", b'{"models": null}', b'{"models": {}}', b"[]", b"\xff", b'{"error": {}}'])
def test_another_answer_than_its_own_is_an_error(folder: Path, body: bytes):
    engine = kinds.lm_studio(folder)
    engine.routes["/api/v1/models"] = response(200, body)
    with pytest.raises(EngineError, match="not LM Studio any more"):
        look("lm_studio", engine)


@pytest.mark.parametrize("row", [None, 3, "x", {}, {"id": 7}, {"id": "\x00", "config": {"context_length": -1}}])
def test_an_instance_without_a_name_has_the_models_and_a_wrong_context_is_absent(folder: Path, row: object):
    engine = kinds.lm_studio(folder)
    engine.routes["/api/v1/models"] = instances(row)
    state = look("lm_studio", engine)
    assert states(state) == {"qwen": "loaded" if isinstance(row, dict) else "available"}
    assert state.models[0].context_tokens is None


def test_ten_thousand_models_are_listed_in_time(folder: Path):
    engine = kinds.lm_studio(folder)
    rows = [{"key": f"m{n}", "loaded_instances": [{"id": f"m{n}"}] * (n % 2)} for n in range(10_000)]
    engine.routes["/api/v1/models"] = as_json({"models": rows})
    assert look("lm_studio", engine).loaded == 5_000


def test_unloading_names_the_instance_and_an_error_with_http_200_is_none(folder: Path):
    engine = kinds.lm_studio(folder)
    assert unload("lm_studio", engine, "openai/gpt-oss-20b") is True
    assert json.loads(engine.requests[-1].body) == {"instance_id": "openai/gpt-oss-20b"}
    older = kinds.old_lm_studio(folder)
    del older.routes["/api/v1/models/unload"]
    assert unload("lm_studio", older, "m") is False
