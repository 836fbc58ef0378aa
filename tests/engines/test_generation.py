"""What each engine is asked to generate: by which of its APIs, and never in a way that breaks it."""

import pytest

from tokwatt_exporter.engines.openai_compatible import text_of
from tokwatt_exporter.engines.registry import ADAPTERS
from tokwatt_exporter.engines.scan import adapter
from tokwatt_exporter.errors import UsageError

HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
WAYS = [(kind, api) for kind in ADAPTERS for api in adapter(kind).apis]


@pytest.mark.parametrize(("kind", "api"), WAYS)
def test_every_way_to_generate_streams_and_has_its_length_and_model(kind, api):
    request = adapter(kind).generation("m", HELLO, 8, api, temperature=0.5)
    assert request.path.startswith("/")
    assert (request.body["model"], request.body["stream"]) == ("m", True)
    assert 8 in [*request.body.values(), *request.body.get("options", {}).values()]
    assert 0.5 in [*request.body.values(), *request.body.get("options", {}).values()]


@pytest.mark.parametrize(("kind", "api"), [way for way in WAYS if way[1] != "native"])
def test_openais_apis_are_always_asked_for_their_usage(kind, api):
    request = adapter(kind).generation("m", HELLO, 8, api)
    assert request.body["stream_options"] == {"include_usage": True}
    assert request.dialect == "openai"
    asked = {
        "chat": ("/v1/chat/completions", "messages", HELLO),
        "completions": ("/v1/completions", "prompt", "Be brief.\n\nHello"),
    }
    path, name, said = asked[api]
    assert (request.path, request.body[name]) == (path, said)
    assert not {"messages", "prompt"} - {name} & request.body.keys()


@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_api_that_an_engine_does_not_have_is_refused_in_one_line(kind):
    engine = adapter(kind)
    for api in {"chat", "completions", "native"} - set(engine.apis):
        with pytest.raises(UsageError, match=f"^--api: {kind} has no {api} API; it has: {', '.join(engine.apis)}$"):
            engine.generation("m", HELLO, 8, api)


def test_ollamas_own_dialect_is_its_first():
    request = adapter("ollama").generation("m", HELLO, 8)
    assert (request.path, request.dialect, request.body["messages"]) == ("/api/chat", "ollama", HELLO)


def test_lm_studios_own_chat_is_not_kept_and_takes_no_seed():
    request = adapter("lm_studio").generation("m", HELLO, 8, "native")
    assert (request.path, request.dialect) == ("/api/v1/chat", "lm_studio")
    assert request.body == {
        "model": "m",
        "input": "Be brief.\n\nHello",
        "max_output_tokens": 8,
        "store": False,
        "stream": True,
    }
    with pytest.raises(UsageError, match="--seed: the native API of lm_studio takes none"):
        adapter("lm_studio").generation("m", HELLO, 8, "native", seed=1)


def test_messages_of_parts_are_their_text_and_anything_else_needs_the_chat_api():
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert text_of([{"role": "user", "content": parts}, {"role": "user", "content": "three"}]) == "one\ntwo\n\nthree"
    for content in ([{"type": "image_url", "image_url": {}}], None, 3):
        with pytest.raises(UsageError, match="--api chat"):
            text_of([{"role": "user", "content": content}])
