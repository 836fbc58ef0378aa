"""mlx_lm.server: what lies in its cache, and nothing about what it has in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import engine_kinds as kinds
from fakes import engines as fake
from fakes.asking import look, states, unload
from fakes.engines import as_json
from support.captures import shared_captures
from tokwatt_exporter.errors import EngineError


@pytest.fixture
def folder() -> Path:
    return shared_captures() / "engines" / "mlx-lm"


def test_a_model_in_the_cache_is_available_and_whether_it_is_loaded_is_not_known(folder: Path):
    state = look("mlx_lm", kinds.mlx_lm(folder, "a/b", "c/d", "a/b"))
    assert states(state) == {"a/b": "available", "c/d": "available"}
    assert (state.loaded, state.version, state.readings, state.problem) == (None, None, (), None)


def test_a_list_without_a_byte_is_a_cache_that_is_not_there(folder: Path):
    state = look("mlx_lm", kinds.mlx_lm(folder))
    assert (state.models, state.loaded) == ((), None)
    assert "cache folder does not exist" in str(state.problem)


def test_the_cache_is_searched_once_and_health_is_asked_each_time(folder: Path):
    engine = kinds.mlx_lm(folder, "m")
    look("mlx_lm", engine, times=3)
    assert engine.asked() == ["/health", "/v1/models", "/health", "/health"]


def test_a_slow_search_costs_only_the_list(folder: Path):
    engine = kinds.mlx_lm(folder, "m")
    engine.routes["/v1/models"] = fake.silence
    state = look("mlx_lm", engine)
    assert state.models == ()
    assert "did not answer" in str(state.problem)


def test_one_that_is_not_well_is_up_and_says_so(folder: Path):
    engine = kinds.mlx_lm(folder, "m")
    engine.routes["/health"] = as_json({"status": "unavailable"}, 503)
    state = look("mlx_lm", engine)
    assert "unavailable" in str(state.problem)
    assert engine.asked() == ["/health"]


@pytest.mark.parametrize("body", [{}, {"status": "healthy"}, [], "ok", None])
def test_another_health_than_its_own_is_an_error(folder: Path, body: object):
    engine = kinds.mlx_lm(folder, "m")
    engine.routes["/health"] = as_json(body)
    with pytest.raises(EngineError, match=r"not mlx_lm.server any more"):
        look("mlx_lm", engine)


def test_it_cannot_unload(folder: Path):
    engine = kinds.mlx_lm(folder, "m")
    assert unload("mlx_lm", engine, "m") is False
    assert engine.requests == []
