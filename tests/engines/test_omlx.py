"""oMLX: models with their measured memory, and totals of the whole server."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import engine_kinds as kinds
from fakes.asking import look, model, states, unload
from fakes.engines import as_json
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.base import Model
from tokwatt_exporter.engines.replies import engine_wide
from tokwatt_exporter.errors import EngineError


def test_loaded_loading_and_available_models_are_told_apart():
    state = look("omlx", kinds.omlx("qwen", "llama", "phi"))
    assert states(state) == {"qwen": "loaded", "llama": "loading", "phi": "available"}
    assert (state.version, state.loaded, state.problem) == ("0.7.0rc1", 1, None)


def test_memory_is_what_it_measured_and_not_what_it_guessed():
    state = look("omlx", kinds.omlx("qwen"))
    assert model(state, "qwen") == Model("qwen", "loaded", memory_bytes=4e9, context_tokens=32768)
    assert (model(state, "llama").memory_bytes, model(state, "phi").memory_bytes) == (None, None)


def test_totals_are_the_servers_with_cached_prompt_tokens_apart():
    state = look("omlx", kinds.omlx("qwen"))
    assert state.readings == engine_wide(
        "e",
        [
            (c.REQUESTS_RUNNING, 3), (c.REQUESTS_WAITING, 2), (c.REQUESTS, 7), (c.PROMPT_TOKENS, 600),
            (c.PREFIX_CACHE_HITS, 400), (c.GENERATION_TOKENS, 300),
        ],
    )  # fmt: skip


@pytest.mark.parametrize(("prompt", "cached"), [(10, 20), (10, None), (None, 10), ("10", 1), (-1, 0)])
def test_prompt_tokens_are_absent_where_it_cannot_be_told_how_many_were_cached(prompt: object, cached: object):
    state = look("omlx", kinds.omlx("qwen", total_prompt_tokens=prompt, total_cached_tokens=cached))
    assert c.PROMPT_TOKENS not in {reading.family for reading in state.readings}


@pytest.mark.parametrize("version", ["", "unknown", None, 7])
def test_a_version_that_is_none_is_absent(version: object):
    assert look("omlx", kinds.omlx("qwen", version=version)).version is None


def test_one_with_an_api_key_is_up_and_unknown():
    state = look("omlx", kinds.locked_omlx())
    assert (state.models, state.loaded, state.readings) == ((), None, ())
    assert "api-key-file" in str(state.problem)


def test_one_that_cannot_list_its_models_yet_is_up():
    engine = kinds.omlx("qwen")
    engine.routes["/v1/models/status"] = as_json({"detail": "Server not initialized"}, 503)
    state = look("omlx", engine)
    assert (state.version, state.models, state.loaded) == ("0.7.0rc1", (), None)
    assert "HTTP 503" in str(state.problem)


def test_a_poll_is_two_questions_and_none_is_for_an_admin():
    engine = kinds.omlx("qwen")
    look("omlx", engine)
    assert engine.asked() == ["/api/status", "/v1/models/status"]


@pytest.mark.parametrize("body", [{}, [], {"status": "ok", "version": "1"}])
def test_another_status_than_its_own_is_an_error(body: Any):
    engine = kinds.omlx("qwen")
    engine.routes["/api/status"] = as_json(body)
    with pytest.raises(EngineError, match="not oMLX any more"):
        look("omlx", engine)


def test_unloading_is_a_post_to_the_model_with_its_slash_escaped():
    engine = kinds.omlx("a/b")
    engine.routes["/v1/models/a%2Fb/unload"] = as_json({"status": "ok", "model_id": "a/b"})
    assert unload("omlx", engine, "a/b") is True
    assert engine.requests[-1].method == "POST"
    assert unload("omlx", kinds.omlx("a/b"), "gone") is False
