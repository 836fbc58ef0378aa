"""An engine's own answers with a strange value somewhere: nothing is invented and nothing but an error is raised."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from fakes import engine_kinds as kinds
from fakes import engines as fake
from fakes import served
from fakes.engines import FakeEngine, unframed
from support.captures import shared_captures
from tokwatt_exporter.engines.base import Answer, State
from tokwatt_exporter.engines.registry import KINDS
from tokwatt_exporter.engines.scan import adapter
from tokwatt_exporter.errors import EngineError


def captures(engine: str) -> Any:
    return shared_captures() / "engines" / engine


MODEL = ({"model_name": "m", "engine": "0"},)
ENGINES: dict[str, tuple[str, Callable[[], FakeEngine]]] = {
    "llama.cpp": ("llama_cpp", lambda: fake.llama_cpp(captures("llama.cpp"))),
    "llama.cpp router": ("llama_cpp", lambda: fake.llama_cpp_router(captures("llama.cpp"))),
    "ollama": ("ollama", lambda: fake.ollama(captures("ollama-real"))),
    "lm studio": ("lm_studio", lambda: kinds.lm_studio(captures("lmstudio"))),
    "lm studio before 0.4": ("lm_studio", lambda: kinds.old_lm_studio(captures("lmstudio"))),
    "mlx-lm": ("mlx_lm", lambda: kinds.mlx_lm(captures("mlx-lm"), "m")),
    "mlx-vlm": ("mlx_vlm", lambda: kinds.mlx_vlm(captures("mlx-vlm"))),
    "omlx": ("omlx", lambda: kinds.omlx("qwen")),
    "exo": ("exo", kinds.exo),
    "exo, older": ("exo", lambda: kinds.exo(parts=False)),
    "koboldcpp": ("koboldcpp", lambda: kinds.koboldcpp(captures("koboldcpp"))),
    "jan": ("jan", lambda: kinds.jan("qwen")),
    "localai": ("localai", kinds.local_ai),
    "llama-swap": ("llama_swap", lambda: kinds.llama_swap(("big", "ready"), ("small", "starting"))),
    "docker model runner": (
        "docker_model_runner", lambda: kinds.docker_model_runner(captures("docker-model-runner")),
    ),
    "vllm": ("vllm", lambda: served.vllm(served.page(captures("vllm") / "metrics.csv", MODEL, {}))),
    "sglang": ("sglang", lambda: served.sglang(served.page(captures("sglang") / "metrics.csv", MODEL, {}))),
    "vllm-mlx": ("vllm_mlx", lambda: served.vllm_mlx(captures(""))),
    "rapid-mlx": ("rapid_mlx", lambda: served.rapid_mlx(captures(""))),
    "vmlx": ("vmlx", lambda: served.vmlx(captures(""))),
}  # fmt: skip


def test_every_engine_is_given_strange_values():
    assert {kind for kind, _ in ENGINES.values()} == {*KINDS} - {"openai_compatible"}


STRANGE = some.one_of(
    some.sampled_from([
        None, True, False, 0, -1, -0.5, math.nan, math.inf, 10**400, "", "unknown", "\x00", "\x1b[31m", "\ud800",
        "x" * 10**4, [], {}, [None], [[]], {"": None}, "NaN", "3", [3], {"id": "m"}, ["loaded"],
    ]),
    some.text(max_size=8), some.floats(), some.integers(),
)  # fmt: skip


class Mutated(Answer):
    """An answer whose JSON is given as a value: what no encoder would write can still be tried."""

    value: Any = None

    def json(self) -> Any:
        return self.value


class Replay:
    """The answers of an engine, from memory, with one value in one of them replaced."""

    def __init__(self, who: str, seed: int, strange: Any) -> None:
        answers, self._default, spots = _engine(who)
        path, spot = spots[seed % len(spots)]
        self._answers = answers | {path: _replaced(answers[path], spot, strange)}

    async def get(self, path: str, max_age: float = 0.0) -> Answer:
        return self._answers.get(path) or self._answers.get(path.partition("?")[0]) or self._default

    async def post(self, path: str, body: Any) -> Answer:
        return await self.get(path)


@functools.cache
def _engine(who: str) -> tuple[dict[str, Answer], Answer, list[tuple[str, tuple[Any, ...]]]]:
    """The answers of an engine by path, what it answers elsewhere, and every place where a value is."""
    engine = ENGINES[who][1]()
    answers = {path: _answer(raw) for path, raw in engine.routes.items() if isinstance(raw, bytes)}
    assert isinstance(engine.default, bytes)
    return answers, _answer(engine.default), [(path, spot) for path in answers for spot in _spots(answers[path])]


def _answer(raw: bytes) -> Answer:
    (status, *lines), body = unframed(raw)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(status.split()[1]), headers, body)


def _spots(answer: Answer) -> list[tuple[Any, ...]]:
    try:
        return list(_walk(json.loads(answer.body), ()))
    except ValueError:
        return []


def _walk(value: Any, path: tuple[Any, ...]) -> Any:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _walk(inner, (*path, key))


def _replaced(answer: Answer, spot: tuple[Any, ...], strange: Any) -> Answer:
    body = copy.deepcopy(json.loads(answer.body))
    inner = body
    for key in spot[:-1]:
        inner = inner[key]
    if spot:
        inner[spot[-1]] = strange
    made = Mutated(answer.status, answer.headers, str(body).encode("utf-8", "replace"))
    made.value = body if spot else strange
    return made


@pytest.mark.parametrize("who", ENGINES)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=some.integers(0, 10**6), strange=STRANGE)
def test_a_strange_value_anywhere_costs_at_most_the_look(who: str, seed: int, strange: Any):
    kind, _ = ENGINES[who]
    ask = Replay(who, seed, strange)
    try:
        state: State = asyncio.run(adapter(kind).look(ask, "e"))
    except EngineError as error:
        assert str(error)
        return
    words = [word for m in state.models for word in (m.name, m.quantization, m.format)]
    for text in [*words, state.version, state.problem, *(value for r in state.readings for _, value in r.labels)]:
        assert text is None or (text.isprintable() and 0 < len(text) <= 400), text
    for model in state.models:
        for number in (model.memory_bytes, model.gpu_memory_bytes, model.context_tokens, model.expires):
            assert number is None or (math.isfinite(number) and number > 0) or number == model.gpu_memory_bytes == 0
    assert all(math.isfinite(reading.value) and reading.value >= 0 for reading in state.readings)
    assert len({model.name for model in state.models}) == len(state.models), "a model twice"


@pytest.mark.parametrize("who", ENGINES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=some.integers(0, 10**6), strange=STRANGE)
def test_a_strange_value_never_makes_one_engine_look_like_another(who: str, seed: int, strange: Any):
    async def claims() -> set[str]:
        found = set()
        for kind in {one for one, _ in ENGINES.values()}:
            try:
                evidence = await adapter(kind).recognise(ask)
            except EngineError:
                continue
            if evidence:
                assert all(isinstance(text, str) and text.isprintable() for text in evidence)
                found.add(kind)
        return found

    kind, _ = ENGINES[who]
    ask = Replay(who, seed, strange)
    assert asyncio.run(claims()) <= {kind}
