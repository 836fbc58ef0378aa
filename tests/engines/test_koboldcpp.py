"""KoboldCpp: its model, its context and who waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import engine_kinds as kinds
from fakes.asking import look, states
from fakes.engines import as_json
from support.captures import shared_captures
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.base import Model
from tokwatt_exporter.engines.replies import engine_wide
from tokwatt_exporter.errors import EngineError


@pytest.fixture
def folder() -> Path:
    return shared_captures() / "engines" / "koboldcpp"


def test_version_model_and_allocated_context(folder: Path):
    state = look("koboldcpp", kinds.koboldcpp(folder))
    assert state.models == (Model("koboldcpp/tiny", "loaded", context_tokens=8192),)
    assert (state.version, state.loaded, state.problem) == ("1.122.1", 1, None)


def test_one_request_at_a_time_and_the_others_wait(folder: Path):
    state = look("koboldcpp", kinds.koboldcpp(folder))
    assert state.readings == engine_wide("e", [(c.REQUESTS_RUNNING, 1), (c.REQUESTS_WAITING, 1)])


def test_speeds_of_the_last_request_are_not_taken_for_counters(folder: Path):
    families = {reading.family for reading in look("koboldcpp", kinds.koboldcpp(folder)).readings}
    assert families == {c.REQUESTS_RUNNING, c.REQUESTS_WAITING}


@pytest.mark.parametrize("idle", [2, 0.5, None, "0", True])
def test_a_word_on_idleness_that_is_none_is_absent(folder: Path, idle: object):
    engine = kinds.koboldcpp(folder)
    engine.routes["/api/extra/perf"] = as_json({"idle": idle, "queue": 0})
    assert look("koboldcpp", engine).readings == engine_wide("e", [(c.REQUESTS_WAITING, 0)])


@pytest.mark.parametrize(("name", "llm"), [("inactive", True), ("koboldcpp/inactive", True), ("koboldcpp/x", False)])
def test_without_a_language_model_nothing_is_loaded(folder: Path, name: str, llm: bool):
    state = look("koboldcpp", kinds.koboldcpp(folder, name, llm=llm))
    assert (states(state), state.loaded) == ({}, 0)


def test_with_a_password_its_model_is_not_known_and_the_user_is_told(folder: Path):
    state = look("koboldcpp", kinds.koboldcpp(folder, "koboldcpp/protected-model"))
    assert (states(state), state.loaded) == ({}, None)
    assert "api-key-file" in str(state.problem)


def test_another_server_at_its_place_is_an_error(folder: Path):
    engine = kinds.koboldcpp(folder)
    engine.routes["/api/extra/version"] = as_json({"result": "OtherCpp"})
    with pytest.raises(EngineError, match="not KoboldCpp any more"):
        look("koboldcpp", engine)
