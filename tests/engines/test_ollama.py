"""Ollama: what /api/ps says about loaded models, and no counters."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fakes import engines as fake
from fakes.engines import FakeEngine, as_json
from support.captures import shared_captures
from tokwatt_exporter.engines.base import Model, State
from tokwatt_exporter.engines.client import Client
from tokwatt_exporter.engines.ollama import Ollama
from tokwatt_exporter.errors import EngineError

DIGEST = "d" * 64


@pytest.fixture
def folder() -> Path:
    return shared_captures() / "engines" / "ollama-real"


def look(engine: FakeEngine) -> State:
    async def once() -> State:
        async with Client(engine.url) as ask:
            return await Ollama().look(ask, "e")

    with engine:
        return asyncio.run(once())


def with_row(folder: Path, **row: Any) -> FakeEngine:
    engine = fake.ollama(folder)
    engine.routes["/api/ps"] = as_json({"models": [{"name": "m:latest", "digest": DIGEST, **row}]})
    return engine


def test_a_loaded_model_has_what_ollama_says_about_it(folder: Path):
    state = look(fake.ollama(folder))
    expires = datetime(2026, 11, 23, 14, 18, 40, 261032, UTC).timestamp()
    assert state.models == (
        Model("tiny:latest", "loaded", "F16", "gguf", 19954400, 0, 2048, pytest.approx(expires)),
    )  # fmt: skip
    assert (state.version, state.loaded) == ("0.0.0", 1)


def test_there_are_no_counters(folder: Path):
    assert look(fake.ollama(folder)).readings == ()


def test_a_model_on_disk_only_is_available(folder: Path):
    state = look(fake.ollama(folder, "19-api-ps-empty"))
    assert state.models == (Model("tiny:latest", "available"),)
    assert state.loaded == 0


def test_a_model_that_stays_for_ever_has_no_unload_time(folder: Path):
    assert look(with_row(folder, expires_at="2319-03-05T12:00:00Z")).models[0].expires is None


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "soon", "", None, 5, "2026-11-23T14:18:40", "x" * 100])
def test_an_unload_time_that_is_none_is_absent(folder: Path, text: object):
    assert look(with_row(folder, expires_at=text)).models[0].expires is None


def test_an_offset_in_the_unload_time_is_honoured(folder: Path):
    state = look(with_row(folder, expires_at="2026-11-23T14:00:00.123456789-07:00"))
    assert state.models[0].expires == pytest.approx(datetime(2026, 11, 23, 21, 0, 0, 123456, UTC).timestamp())


@pytest.mark.parametrize("size", [0, -1, "5", None, True, 10**400])
def test_a_size_that_is_not_known_is_absent_with_its_share(folder: Path, size: object):
    engine = with_row(folder, size=size if size != 10**400 else None, size_vram=7)
    if size == 10**400:
        row = f'{{"models":[{{"name":"m:latest","size":1{"0" * 400},"size_vram":7}}]}}'
        engine.routes["/api/ps"] = fake.response(200, row.encode())
    (model, *_) = look(engine).models
    assert (model.memory_bytes, model.gpu_memory_bytes) == (None, None)


def test_an_unknown_quantization_is_absent(folder: Path):
    details = {"quantization_level": "unknown", "format": ""}
    (model, *_) = look(with_row(folder, details=details)).models
    assert (model.quantization, model.format) == (None, None)


def test_names_lose_control_characters_and_are_cut(folder: Path):
    engine = fake.ollama(folder)
    rows = [{"name": "a\x1b[31m\n\u202eb\ud800"}, {"name": "n" * 10**6}, {"name": "\x00"}, {"name": 7}, "row"]
    engine.routes["/api/ps"] = as_json({"models": rows})
    names = [model.name for model in look(engine).models if model.state == "loaded"]
    assert names == ["a[31mb", "n" * 200]


def test_a_poll_is_one_request_once_version_and_stored_models_are_known(folder: Path):
    async def thrice() -> None:
        async with Client(engine.url) as ask:
            for _ in range(3):
                await Ollama().look(ask, "e")

    with fake.ollama(folder) as engine:
        asyncio.run(thrice())
        assert engine.asked() == ["/api/ps", "/api/version", "/api/tags", "/api/ps", "/api/ps"]


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b"\xff", b'{"models"'])
def test_another_answer_than_ollamas_is_an_error(folder: Path, body: bytes):
    engine = fake.ollama(folder)
    engine.routes["/api/ps"] = fake.response(200, body)
    with pytest.raises(EngineError):
        look(engine)


def test_unloading_keeps_the_model_for_no_time(folder: Path):
    async def unload() -> bool:
        async with Client(engine.url) as ask:
            return await Ollama().unload(ask, "tiny")

    with fake.ollama(folder) as engine:
        assert asyncio.run(unload()) is True
        assert json.loads(engine.requests[-1].body) == {"model": "tiny", "keep_alive": 0}


def test_a_generation_is_a_native_chat():
    request = Ollama().generation("m", [{"role": "user", "content": "hi"}], 8, seed=1, temperature=0.0)
    assert (request.path, request.dialect) == ("/api/chat", "ollama")
    assert request.body["stream"] is True
    assert request.body["options"] == {"num_predict": 8, "seed": 1, "temperature": 0.0}
