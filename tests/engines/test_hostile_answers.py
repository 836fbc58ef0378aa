"""Whatever an engine answers, an adapter gives a state with clean names and finite numbers, or an `EngineError`."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tokwatt_exporter.engines.answers import clean, known, number, positive, unload_time
from tokwatt_exporter.engines.base import Answer, State
from tokwatt_exporter.engines.registry import KINDS
from tokwatt_exporter.engines.scan import adapter, recognise
from tokwatt_exporter.engines.sockets import Listener
from tokwatt_exporter.errors import EngineError

JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20) | some.just("loaded"),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
#: Objects with the keys that adapters look for, and anything at all in them.
KEYS = ("models", "data", "id", "name", "meta", "status", "value", "role", "build_info", "model_alias", "model_ftype",
        "default_generation_settings", "n_ctx", "size", "size_vram", "expires_at", "details", "version", "digest",
        "is_sleeping", "owned_by", "ftype", "context_length", "quantization_level",
        "key", "loaded_instances", "config", "quantization", "format", "state", "result", "queue", "idle", "error",
        "instances", "runners", "shardAssignments", "modelId", "runnerToShard", "shards", "running", "model",
        "loaded_models", "backends", "summary", "server", "in_flight", "request_queue_depth", "apc", "enabled",
        "models_discovered", "active_requests", "waiting_requests", "total_prompt_tokens", "total_cached_tokens",
        "loaded", "is_loading", "actual_size", "max_context_window", "engine_pool", "detail", "info", "title",
        "model_name", "loading", "prompt_tokens_total", "generated_tokens_total", "lmstudio")  # fmt: skip
ROW = some.dictionaries(some.sampled_from(KEYS), JSON, max_size=6)
BODY = some.one_of(
    JSON, ROW, some.dictionaries(some.sampled_from(("models", "data")), some.lists(ROW | JSON, max_size=4), min_size=1)
)


class Canned:
    """Answers every question from a list, over and over."""

    def __init__(self, answers: list[Answer]) -> None:
        self._answers = answers
        self._count = 0

    async def get(self, path: str, max_age: float = 0.0) -> Answer:
        self._count += 1
        return self._answers[self._count % len(self._answers)]

    async def post(self, path: str, body: Any) -> Answer:
        return await self.get(path)


class Parsed(Answer):
    """An answer whose JSON is given as a value: what no encoder would write can still be tried."""

    value: Any = None

    def json(self) -> Any:
        return self.value


def answer(value: Any, status: int, server: str) -> Answer:
    made = Parsed(status, {"server": server}, str(value).encode("utf-8", "replace"))
    made.value = value
    return made


ANSWERS = some.lists(
    some.builds(answer, BODY, some.sampled_from((200, 200, 200, 404, 500, 503)), some.sampled_from(("llama.cpp", "x"))),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(answers=ANSWERS, kind=some.sampled_from(KINDS))
def test_whatever_is_answered_costs_no_more_than_an_engine_error(answers: list[Answer], kind: str):
    # One test for both questions: making up the answers takes longer than asking them.
    asyncio.run(_recognised(answers))
    asyncio.run(_looked_at(answers, kind))


async def _recognised(answers: list[Answer]) -> None:
    """Recognising gives evidence, nothing, or an `EngineError`."""
    try:
        found = await recognise(Canned(answers))
    except EngineError:
        return
    assert found is None or (found[0] in KINDS and all(found[1]))


async def _looked_at(answers: list[Answer], kind: str) -> None:
    """A state has clean names and finite numbers; it is that or an `EngineError`."""
    try:
        state: State = await adapter(kind).look(Canned(answers), "e")
    except EngineError as error:
        assert str(error)
        return
    words = [word for m in state.models for word in (m.name, m.quantization, m.format)]
    for text in [state.version, state.problem, *words]:
        assert text is None or (text.isprintable() and 0 < len(text) <= 200)
    for model in state.models:
        for value in (model.memory_bytes, model.gpu_memory_bytes, model.context_tokens, model.expires):
            assert value is None or (math.isfinite(value) and value >= 0)
    assert all(math.isfinite(reading.value) for reading in state.readings)


@pytest.mark.parametrize(
    ("text", "name"),
    [("a b", "a b"), (" a\n", "a"), ("\x1b]0;x\x07", "]0;x"), ("\u202egnp", "gnp"), ("", None), (None, None),
     (3, None), ("x" * 10**7, "x" * 200), ("\ud800", None), ("模型:7b", "模型:7b")],
)  # fmt: skip
def test_a_name_keeps_printable_characters_and_at_most_200(text: object, name: str | None):
    assert clean(text) == name


@pytest.mark.parametrize("text", ["unknown", "Unknown", "", None])
def test_a_word_for_not_knowing_is_not_a_name(text: object):
    assert known(text) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, -0.5, True, "5", None, [], 10**400])
def test_what_is_no_number_is_absent(value: object):
    assert number(value) is None
    assert positive(value) is None


def test_nought_is_a_number_but_not_a_size():
    assert number(0) == 0
    assert positive(0) is None


def test_an_unload_time_before_the_calendar_or_after_it_is_absent():
    for text in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "2319-01-01T00:00:00Z"):
        assert unload_time(text, 1.8e9) is None


def test_an_address_of_ipv6_is_bracketed():
    assert Listener("::1", 8080).url == "http://[::1]:8080"
