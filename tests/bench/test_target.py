import sys
from dataclasses import replace

import pytest

from fakes import engines as fakes
from support.captures import shared_captures
from tokwatt_bench import target
from tokwatt_exporter.config import Config, EngineConfig, load
from tokwatt_exporter.engine_config import KeyCommand
from tokwatt_exporter.engines.base import Model
from tokwatt_exporter.engines.discovery import Found
from tokwatt_exporter.errors import EngineError, UsageError

FOUND = Found("ollama", "ollama", "http://127.0.0.1:1")


@pytest.fixture
def config(tmp_path):
    def config(*engines):
        return replace(load({}, {}), engines=tuple(EngineConfig(*one) for one in engines), discovery_enabled=False)

    return config


def models(**states):
    return [Model(name, state) for name, state in states.items()]


def test_the_only_model_in_memory_wins_and_is_named(capsys):
    assert target._model(FOUND, "ollama", models(a="available", b="loaded", c="available"), None) == "b"
    assert capsys.readouterr().err == "tokwatt-bench: model b of ollama, the only one in memory\n"


def test_the_only_model_there_is_wins(capsys):
    assert target._model(FOUND, "ollama", models(a="available"), None) == "a"
    assert "the only one there is" in capsys.readouterr().err


@pytest.mark.parametrize("states", [{"a": "loaded", "b": "loaded"}, {"a": "available", "b": "available"}])
def test_several_models_are_the_users_choice(states):
    with pytest.raises(UsageError, match="ollama has 2 models, choose one with --model: a, b"):
        target._model(FOUND, "ollama", models(**states), None)


def test_no_model_at_all_is_said():
    with pytest.raises(UsageError, match="has no model to measure"):
        target._model(FOUND, "ollama", [], None)


def test_a_model_that_the_engine_does_not_have_is_refused_for_it_would_answer_as_another():
    with pytest.raises(UsageError, match="--model: ollama has no model x; it has: a"):
        target._model(FOUND, "ollama", models(a="loaded"), "x")


def test_a_model_of_an_engine_that_may_know_more_than_it_lists_is_asked_for(capsys):
    assert target._model(FOUND, "openai_compatible", models(a="loaded"), "x") == "x"
    assert "asking for it all the same" in capsys.readouterr().err


def test_a_tag_may_be_left_out():
    found = [Model("a:latest", "loaded")]
    assert target._model(FOUND, "ollama", found, "a") == "a:latest"


def test_a_given_url_is_recognised_and_its_model_found(config):
    with fakes.llama_cpp(shared_captures() / "engines/llama.cpp") as engine:
        found = target.choose(config(), engine.url, None, None)
    assert (found.kind, found.name, found.model, found.local) == ("llama_cpp", "llama_cpp", "tiny.gguf", True)
    assert found.version


def test_a_recorded_ollama_is_asked_in_its_own_dialect(config):
    with fakes.ollama(shared_captures() / "engines/ollama-real") as engine:
        found = target.choose(config(), engine.url, None, None)
    assert found.adapter.generation(found.model, [], 1).dialect == "ollama"


def test_of_several_engines_one_is_chosen_by_name_or_kind(config):
    folder = shared_captures() / "engines"
    with fakes.llama_cpp(folder / "llama.cpp") as one, fakes.ollama(folder / "ollama-real") as other:
        both = config((one.url, "big"), (other.url, "small"))
        with pytest.raises(UsageError, match=f"2 engines, choose one .*big .{one.url}., small .{other.url}."):
            target.choose(both, None, None, None)
        assert target.choose(both, None, "small", None).url == other.url
        assert target.choose(both, None, "llama_cpp", None).url == one.url
        with pytest.raises(UsageError, match="--engine: no engine lemonade was found; found: big"):
            target.choose(both, None, "lemonade", None)
        with pytest.raises(UsageError, match=f"--engine: {other.url} is small, not big"):
            target.choose(both, other.url, "big", None)


def test_the_key_of_a_configured_engine_goes_to_it_alone(config, tmp_path):
    key = tmp_path / "key"
    key.write_text("sesame")
    key.chmod(0o600)
    with fakes.llama_cpp(shared_captures() / "engines/llama.cpp") as engine:
        mine: Config = config((engine.url, None, None, key))
        assert target.choose(mine, engine.url, None, None).key == "sesame"
        mine = config(("http://127.0.0.1:9", None, None, key))
        assert target.choose(mine, engine.url, None, None).key is None


def test_a_key_may_come_from_the_environment_or_a_program(config, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sesame")
    program = KeyCommand((sys.executable, "-c", "print('open sesame'.split()[1])"))
    with fakes.llama_cpp(shared_captures() / "engines/llama.cpp") as engine:
        for source in ({"api_key_env": "MY_KEY"}, {"api_key_command": program}):
            mine = replace(config(), engines=(EngineConfig(engine.url, **source),))
            assert target.choose(mine, engine.url, None, None).key == "sesame"
        assert {request.headers["authorization"] for request in engine.requests} == {"Bearer sesame"}


def test_an_engine_that_is_not_there_is_an_error_of_the_engine(config):
    with pytest.raises(EngineError, match="refuses connections"):
        target.choose(config(), "http://127.0.0.1:9", None, "m")
