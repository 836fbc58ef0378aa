"""vLLM, SGLang and the MLX engines of that family: each is taken for what it is, by one adapter only."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.engines import FakeEngine, as_json, response
from fakes.served import LOCKED, listed, page, rapid_mlx, sglang, vllm, vllm_mlx, vmlx
from support.captures import shared_captures
from tokwatt_exporter.engines import scan
from tokwatt_exporter.engines.client import Client, NoAnswer
from tokwatt_exporter.engines.registry import ADAPTERS
from tokwatt_exporter.engines.scan import adapter, recognise
from tokwatt_exporter.errors import EngineError

#: Each of these generates a token, wakes, loads or unloads a model, or empties a cache somewhere.
NEVER = {"/health", "/health_generate", "/slots", "/unload", "/flush_cache", "/admin/wake", "/v1/cache"}
ONE = ({"model_name": "m", "engine": "0"},)


def captures() -> Path:
    return shared_captures() / "engines"


def metrics(engine: str) -> bytes:
    return page(captures() / engine / "metrics.csv", ONE, {})


def locked(server: FakeEngine, *paths: str) -> FakeEngine:
    """The same server where these paths, and those that nobody knows, need a key."""
    server.routes |= dict.fromkeys(paths, LOCKED)
    return server


def greeting_sglang() -> FakeEngine:
    server = sglang(metrics("sglang"))
    server.routes |= {"/": as_json("Ollama is running"), "/api/tags": as_json({"models": [{"digest": "b" * 64}]})}
    return server


def old_sglang() -> FakeEngine:
    server = sglang(None)
    server.routes["/get_model_info"] = server.routes.pop("/model_info")
    return server


def other_greeting_vmlx() -> FakeEngine:
    server = vmlx(captures())
    server.routes["/"] = response(200, b"Ollama is running", "text/plain")
    return server


def pretender(owner: str, **routes: bytes) -> FakeEngine:
    """A proxy or an imitation: only the list of models is that of the engine."""
    return FakeEngine({"/v1/models": listed(owner, "m")} | {"/" + path: body for path, body in routes.items()})


def bare_lock() -> FakeEngine:
    return FakeEngine({}, LOCKED)


Make = Callable[[], FakeEngine]
TABLE: dict[str, tuple[Make, str | None]] = {
    "vllm": (lambda: vllm(metrics("vllm")), "vllm"),
    "vllm without statistics": (lambda: vllm(b""), "vllm"),
    "vllm with an API key": (lambda: locked(vllm(metrics("vllm")), "/v1/models"), "vllm"),
    "sglang": (lambda: sglang(metrics("sglang")), "sglang"),
    "sglang without metrics": (lambda: sglang(None), "sglang"),
    "sglang before /model_info": (old_sglang, "sglang"),
    "sglang, greeting as ollama": (greeting_sglang, "sglang"),
    "sglang with an API key": (
        lambda: locked(sglang(metrics("sglang")), "/v1/models", "/model_info", "/server_info", "/"), "sglang",
    ),
    "vllm-mlx": (lambda: vllm_mlx(captures()), "vllm_mlx"),
    "vllm-mlx with an API key": (lambda: locked(vllm_mlx(captures()), "/v1/models", "/v1/status"), "vllm_mlx"),
    "rapid-mlx": (lambda: rapid_mlx(captures()), "rapid_mlx"),
    "rapid-mlx with an API key": (
        lambda: locked(rapid_mlx(captures()), "/v1/models", "/v1/models/residency", "/v1/status"), "rapid_mlx",
    ),
    "vmlx": (lambda: vmlx(captures()), "vmlx"),
    "vmlx asleep": (lambda: vmlx(captures(), "health.soft-sleep.http"), "vmlx"),
    "vmlx, greeting as ollama to the byte": (other_greeting_vmlx, "vmlx"),
    "vmlx with an API key": (lambda: locked(vmlx(captures()), "/v1/models", "/api/ps", "/api/tags"), "vmlx"),
    "a list as of vllm without a version": (lambda: pretender("vllm"), "openai_compatible"),
    "a list as of sglang": (lambda: pretender("sglang", model_info=as_json({"a": 1})), "openai_compatible"),
    "a list as of vllm-mlx": (lambda: pretender("vllm-mlx"), "openai_compatible"),
    "a list and a state of a relative of vllm-mlx": (
        lambda: FakeEngine({"/v1/models": listed("vllm-mlx", "m"), "/v1/status": as_json({"status": "idle"})}),
        "openai_compatible",
    ),
    "a list as of rapid-mlx": (
        lambda: pretender("rapid-mlx", metrics=response(200, b"up 1\n", "text/plain")), "openai_compatible",
    ),
    "a list as of vmlx": (lambda: pretender("vmlx-engine"), "openai_compatible"),
    "a list of models of several engines": (
        lambda: FakeEngine({
            "/v1/models": as_json({"data": [{"id": "a", "owned_by": "vllm"}, {"id": "b", "owned_by": "sglang"}]}),
            "/version": as_json({"version": "1"}), "/model_info": as_json({"model_path": "", "is_generation": True}),
        }), "openai_compatible",
    ),
    "a web server that wants a password": (bare_lock, None),
}  # fmt: skip


async def _ask(url: str) -> str | None:
    async with Client(url) as ask:
        found = await recognise(ask)
    assert found is None or all(found[1]), "an engine without evidence"
    return found[0] if found else None


def claims(url: str) -> list[str]:
    """Every adapter that takes the server for its own, but the one that takes what nobody else does."""

    async def each() -> list[str]:
        found = []
        for kind in ADAPTERS:
            if kind == "openai_compatible":
                continue
            async with Client(url) as ask:
                try:
                    evidence = await adapter(kind).recognise(ask)
                except NoAnswer:
                    raise
                except EngineError:
                    evidence = None
            found += [kind] if evidence else []
        return found

    return asyncio.run(each())


@pytest.mark.parametrize("who", TABLE)
def test_each_is_taken_for_what_it_is(who: str):
    make, kind = TABLE[who]
    with make() as engine:
        assert asyncio.run(_ask(engine.url)) == kind


@pytest.mark.parametrize("who", TABLE)
def test_no_two_adapters_claim_one_engine(who: str):
    make, kind = TABLE[who]
    with make() as engine:
        assert claims(engine.url) == ([] if kind in (None, "openai_compatible") else [kind])


def test_the_order_of_the_adapters_does_not_matter(monkeypatch: pytest.MonkeyPatch):
    kinds = [kind for kind in ADAPTERS if kind != "openai_compatible"]
    for seed in range(3):
        random.Random(seed).shuffle(kinds)
        monkeypatch.setattr(scan, "ADAPTERS", dict.fromkeys([*kinds, "openai_compatible"], ""))
        for make, kind in TABLE.values():
            with make() as engine:
                assert asyncio.run(_ask(engine.url)) == kind


@pytest.mark.parametrize("who", TABLE)
def test_recognising_only_reads_and_disturbs_nobody(who: str):
    with TABLE[who][0]() as engine:
        asyncio.run(_ask(engine.url))
        assert {request.method for request in engine.requests} == {"GET"}
        assert not NEVER & set(engine.asked())


def test_only_who_greets_as_vmlx_is_asked_for_the_description_of_its_api():
    with vllm(metrics("vllm"), models=LOCKED) as engine:
        asyncio.run(_ask(engine.url))
        claims(engine.url)
        assert "/openapi.json" not in engine.asked()


def test_who_wants_a_password_and_is_no_uvicorn_gets_no_second_question_of_these():
    mine = ("vllm", "sglang", "vllm_mlx", "rapid_mlx", "vmlx")
    with FakeEngine({}, as_json({"error": "Unauthorized"}, 401)) as server:

        async def each() -> None:
            async with Client(server.url) as ask:
                assert [await adapter(kind).recognise(ask) for kind in mine] == [None] * 5

        asyncio.run(each())
        assert server.asked() == ["/v1/models"]
