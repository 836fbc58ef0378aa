"""Who answers: every recorded engine is taken for what it is, or for nothing in particular, never for another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fakes import engine_kinds as kinds
from fakes import engines as fake
from fakes.engines import FakeEngine, as_json, recorded, response
from support.captures import shared_captures
from tokwatt_exporter.engines.client import Client, NoAnswer
from tokwatt_exporter.engines.registry import KINDS
from tokwatt_exporter.engines.scan import adapter, recognise
from tokwatt_exporter.errors import EngineError

HTTP = {
    "root": "/", "root.404": "/", "health": "/health", "health.200": "/health", "healthz": "/healthz",
    "auth.health": "/health", "auth.props.401": "/props", "auth.v1-models.401": "/v1/models",
    "auth.metrics.401": "/metrics", "v1-models": "/v1/models", "models": "/models", "props": "/props",
    "metrics.fresh": "/metrics", "metrics.404": "/metrics", "api-version": "/api/version", "api-ps": "/api/ps",
    "api-tags": "/api/tags", "api-show": "/api/show", "version": "/version", "version.404": "/version",
    "v1-status": "/v1/status",
}  # fmt: skip


def captures(engine: str) -> Path:
    return shared_captures() / "engines" / engine


def replay(engine: str, default: bytes = response(404, b"Not Found", "text/plain"), only: str = "") -> FakeEngine:
    """Every recorded answer of an engine at its path."""
    files = {file.name.removesuffix(".http"): file for file in sorted(captures(engine).glob(f"{only}*.http"))}
    return FakeEngine({HTTP[name]: recorded(file) for name, file in files.items() if name in HTTP}, default)


def sglang() -> FakeEngine:
    """Where it is told to greet as Ollama it has neither version nor loaded models."""
    return FakeEngine({
        "/": response(200, b"Ollama is running", "text/plain"),
        "/api/tags": as_json({"models": [{"name": "m", "digest": "b" * 64}]}),
        "/v1/models": as_json({"object": "list", "data": [{"id": "m", "owned_by": "sglang"}]}),
    })  # fmt: skip


def old_ollama() -> FakeEngine:
    """The documented answers: no context length yet."""
    folder = captures("ollama")
    return FakeEngine({
        "/": response(200, (folder / "root.txt").read_bytes(), "text/plain"),
        "/api/version": response(200, (folder / "doc.version.01.json").read_bytes()),
        "/api/ps": response(200, (folder / "doc.list-running-models.01.json").read_bytes()),
        "/v1/models": as_json({"object": "list", "data": [{"id": "mistral", "owned_by": "library"}]}),
    }, response(404, b"404 page not found", "text/plain"))  # fmt: skip


def empty_ollama() -> FakeEngine:
    """Freshly installed: nothing on disk, and the list of models is null."""
    engine = fake.ollama(captures("ollama-real"), "19-api-ps-empty")
    engine.routes |= {"/api/tags": as_json({"models": []}), "/v1/models": as_json({"object": "list", "data": None})}
    return engine


def idle_ollama() -> FakeEngine:
    return fake.ollama(captures("ollama-real"), "19-api-ps-empty")


def loading_llama() -> FakeEngine:
    busy = as_json({"error": {"message": "Loading model", "code": 503}}, 503, Server="llama.cpp")
    return FakeEngine({}, busy)


def mlx_lm_with_models() -> FakeEngine:
    return kinds.mlx_lm(captures("mlx-lm"), "mlx-community/Qwen3-4bit")


def no_models(engine: FakeEngine) -> FakeEngine:
    engine.routes["/v1/models"] = as_json({"object": "list", "data": []})
    return engine


def omlx_without(*words: str) -> FakeEngine:
    engine = kinds.omlx("qwen")
    status = {key: value for key, value in kinds.OMLX_STATUS.items() if key not in words}
    engine.routes["/api/status"] = as_json(status)
    return engine


def python_web_server() -> FakeEngine:
    """Python's own web server with a list of models and nothing else of mlx_lm.server."""
    server = {"Server": "BaseHTTP/0.6 Python/3.11.7"}
    rows = as_json({"object": "list", "data": [{"id": "m", "object": "model"}]}, **server)
    return FakeEngine({"/v1/models": rows}, response(404, b"Not Found", "text/plain", **server))


def nearly_mlx_lm(listed: bytes) -> FakeEngine:
    """All that mlx_lm.server says, but for its list of models."""
    engine = kinds.mlx_lm(captures("mlx-lm"))
    engine.routes["/v1/models"] = listed
    return engine


def proxy(owner: str | None, path: str, ready: bool = False, **answer: Any) -> FakeEngine:
    """The list of models of an engine, and something else where only that engine has its own answer."""
    engine = FakeEngine({"/v1/models": kinds.listing("m", owner=owner), path: as_json(answer)})
    if ready:
        engine.routes["/readyz"] = response(200, b"OK", "text/plain")
    return engine


BASE_HTTP = {"Server": "BaseHTTP/0.6 Python/3.11.7"}
OWNED = as_json({"object": "list", "data": [{"id": "m", "owned_by": "me"}]}, **BASE_HTTP)


TABLE = {
    "llama.cpp": (lambda: fake.llama_cpp(captures("llama.cpp")), "llama_cpp"),
    "llama.cpp router": (lambda: fake.llama_cpp_router(captures("llama.cpp")), "llama_cpp"),
    "llama.cpp with an API key": (lambda: replay("llama.cpp", only="auth."), "llama_cpp"),
    "llama.cpp loading": (loading_llama, "llama_cpp"),
    "ollama": (lambda: fake.ollama(captures("ollama-real")), "ollama"),
    "ollama with nothing loaded": (idle_ollama, "ollama"),
    "ollama with nothing at all": (empty_ollama, "ollama"),
    "ollama before context_length": (old_ollama, "ollama"),
    "lm studio": (lambda: kinds.lm_studio(captures("lmstudio")), "lm_studio"),
    "lm studio with nothing": (lambda: no_models(kinds.lm_studio(captures("lmstudio"))), "lm_studio"),
    "lm studio before 0.4": (lambda: kinds.old_lm_studio(captures("lmstudio")), "lm_studio"),
    "lm studio with a token": (kinds.locked_lm_studio, "lm_studio"),
    "lm studio with a token, politely": (lambda: kinds.locked_lm_studio(200), "lm_studio"),
    "mlx-lm, whose list is empty text": (lambda: kinds.mlx_lm(captures("mlx-lm")), "mlx_lm"),
    "mlx-lm with a cache": (mlx_lm_with_models, "mlx_lm"),
    "mlx-vlm": (lambda: kinds.mlx_vlm(captures("mlx-vlm")), "mlx_vlm"),
    "omlx": (lambda: kinds.omlx("qwen", "llama"), "omlx"),
    "omlx without models": (kinds.omlx, "omlx"),
    "omlx with a word less": (lambda: omlx_without("models_discovered"), "omlx"),
    "omlx with two words less": (lambda: omlx_without("models_discovered", "active_requests"), "openai_compatible"),
    "omlx with an API key": (kinds.locked_omlx, "omlx"),
    "exo": (kinds.exo, "exo"),
    "koboldcpp": (lambda: kinds.koboldcpp(captures("koboldcpp")), "koboldcpp"),
    "jan": (lambda: kinds.jan("qwen"), "jan"),
    "jan with nothing running": (kinds.jan, "jan"),
    "jan with an API key": (kinds.locked_jan, "jan"),
    "jan that does not trust us": (lambda: kinds.locked_jan(b"Invalid host header", 403), "jan"),
    "localai, greeting as ollama": (kinds.local_ai, "localai"),
    "localai, nothing loaded": (lambda: kinds.local_ai(loaded=False), "localai"),
    "localai, no models": (lambda: kinds.local_ai(loaded=False, stored=False), "localai"),
    "llama-swap": (lambda: kinds.llama_swap(("big", "ready")), "llama_swap"),
    "llama-swap at rest": (kinds.llama_swap, "llama_swap"),
    "docker model runner": (lambda: kinds.docker_model_runner(captures("docker-model-runner")), "docker_model_runner"),
    "docker model runner, empty": (
        lambda: kinds.docker_model_runner(captures("docker-model-runner"), stored=False), "docker_model_runner",
    ),
    "a proxy with a list of models": (lambda: FakeEngine({"/v1/models": kinds.listing("gpt")}), "openai_compatible"),
    "a proxy that has no models": (lambda: FakeEngine({"/v1/models": kinds.listing()}), "openai_compatible"),
    "a server owned by an unknown": (
        lambda: FakeEngine({"/v1/models": kinds.listing("m", owner="me")}), "openai_compatible",
    ),
    "a Python web server": (python_web_server, "openai_compatible"),
    "a Python web server with owners": (lambda: nearly_mlx_lm(OWNED), "openai_compatible"),
    "a Python web server without a list": (
        lambda: nearly_mlx_lm(response(404, b"", "application/json", **BASE_HTTP)), None,
    ),
    "a proxy with an API": (lambda: proxy("me", "/openapi.json", info={"title": "an API"}), "openai_compatible"),
    "a proxy that greets back": (lambda: proxy(None, "/lmstudio-greeting", lmstudio="no"), "openai_compatible"),
    "a web server": (lambda: FakeEngine({}), None),
    "a web server with a page for everything": (lambda: FakeEngine({}, response(200, b"<p>", "text/html")), None),
    "a web server with a password": (lambda: FakeEngine({}, response(401, b"Unauthorized", "text/plain")), None),
    "a proxy in front of exo": (lambda: proxy("exo", "/node_id", detail="no"), "openai_compatible"),
    "a proxy of koboldcpp": (lambda: proxy("koboldcpp", "/api/extra/version", result="no"), "openai_compatible"),
    "a proxy in front of llama-swap": (lambda: proxy("llama-swap", "/running", running="no"), "openai_compatible"),
    "a proxy with a system": (lambda: proxy(None, "/system", loaded_models=[], backends=[]), "openai_compatible"),
    "a proxy with half of a system": (lambda: proxy(None, "/system", True, loaded_models=[]), "openai_compatible"),
    "a list of something else": (lambda: FakeEngine({"/v1/models": as_json({"data": [{"name": "x"}]})}), None),
}  # fmt: skip

#: Engines for which another table says who they are.
OTHERS = {
    "vmlx, greeting as ollama": lambda: replay("vmlx"),
    "sglang, greeting as ollama": sglang,
    "rapid-mlx": lambda: replay("rapid-mlx"),
    "vllm-mlx": lambda: replay("vllm-mlx"),
}
OURS = sorted({kind for _, kind in TABLE.values() if kind} - {"openai_compatible"})
ENGINES = {name: make for name, (make, _) in TABLE.items()} | OTHERS


def kind_of(url: str) -> str | None:
    async def once() -> str | None:
        async with Client(url) as ask:
            found = await recognise(ask)
        assert found is None or all(found[1]), "an engine without evidence"
        return found[0] if found else None

    return asyncio.run(once())


@pytest.mark.parametrize("who", TABLE)
def test_every_recorded_engine_is_taken_for_what_it_is(who: str):
    make, kind = TABLE[who]
    with make() as engine:
        assert kind_of(engine.url) == kind


def test_the_replay_of_every_engine_with_recorded_answers_has_a_list_of_models():
    for engine in ("vmlx", "mlx-lm", "mlx-vlm", "rapid-mlx", "vllm-mlx"):
        assert "/v1/models" in replay(engine).routes


@pytest.mark.parametrize("default", [None, response(401, b"Unauthorized"), response(200, b"<html>", "text/html")])
def test_a_server_that_is_no_engine_is_asked_exactly_one_question(default: bytes | None):
    with FakeEngine({}, default) as server:
        assert kind_of(server.url) is None
        assert server.asked() == ["/v1/models"]


#: What no engine is ever asked, by anybody.
FORBIDDEN = {
    "/slots", "/unload", "/flush_cache", "/health_generate", "/upstream", "/engines/requests", "/state/tasks",
    "/admin/api/stats",
}  # fmt: skip


def test_recognising_only_reads():
    for make in ENGINES.values():
        with make() as engine:
            kind_of(engine.url)
            assert {request.method for request in engine.requests} == {"GET"}
            # Each of these wakes, loads or unloads a model somewhere, or shows what is none of our business.
            assert not FORBIDDEN & set(engine.asked())


def test_health_which_makes_sglang_generate_is_asked_only_of_who_is_not_sglang():
    asked = set()
    for name, make in ENGINES.items():
        with make() as engine:
            kind_of(engine.url)
            if "/health" in engine.asked():
                asked.add(name)
    assert asked == {"mlx-lm, whose list is empty text", "mlx-lm with a cache", "omlx with an API key"}


def test_lm_studio_is_not_asked_for_a_page_that_it_does_not_have():
    for make in (kinds.lm_studio, kinds.old_lm_studio):
        with make(captures("lmstudio")) as engine:
            kind_of(engine.url)
            assert set(engine.asked()) <= {"/v1/models", "/lmstudio-greeting"}


def evidence_of(url: str) -> dict[str, list[str]]:
    """What every adapter says, each asked on its own."""

    async def each() -> dict[str, list[str]]:
        found = {}
        async with Client(url) as ask:
            for kind in KINDS:
                ask.forget()
                try:
                    evidence = await adapter(kind).recognise(ask)
                except EngineError:
                    continue
                if evidence:
                    found[kind] = evidence
        return found

    return asyncio.run(each())


@pytest.mark.parametrize("who", ENGINES)
def test_no_two_adapters_claim_the_same_engine_in_whatever_order_they_are_asked(who: str):
    with ENGINES[who]() as engine:
        claimed = evidence_of(engine.url).keys() - {"openai_compatible"}
    if who in OTHERS:
        assert not claimed & set(OURS)
    else:
        assert claimed == {TABLE[who][1]} - {"openai_compatible", None}


def test_two_engines_that_swap_their_ports_are_told_apart():
    one, other = kinds.omlx("qwen"), kinds.lm_studio(captures("lmstudio"))
    with one, other:
        ports = one.port, other.port
        assert (kind_of(one.url), kind_of(other.url)) == ("omlx", "lm_studio")
    one, other = kinds.omlx("qwen"), kinds.lm_studio(captures("lmstudio"))
    other.port, one.port = ports
    with one, other:
        assert kind_of(f"http://127.0.0.1:{ports[0]}") == "lm_studio"
        assert kind_of(f"http://127.0.0.1:{ports[1]}") == "omlx"


@pytest.mark.parametrize(
    ("owner", "asked"), [("me", ["/", "/openapi.json"]), (None, ["/", "/readyz"])],
)  # fmt: skip
def test_an_engine_that_nobody_knows_is_asked_only_what_its_list_leaves_open(owner: str | None, asked: list[str]):
    with FakeEngine({"/v1/models": kinds.listing("m", owner=owner)}) as server:
        assert kind_of(server.url) == "openai_compatible"
        assert server.asked() == ["/v1/models", "/lmstudio-greeting", *asked]


def test_a_server_that_cannot_answer_yet_may_be_asked_again():
    with FakeEngine({}, response(503, b"starting")) as server, pytest.raises(NoAnswer, match="HTTP 503"):
        kind_of(server.url)
