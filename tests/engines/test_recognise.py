"""Who answers: every recorded engine is taken for what it is, or for nothing in particular, never for another."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fakes import engines as fake
from fakes.engines import FakeEngine, as_json, recorded, response
from support.captures import shared_captures
from tokwatt_exporter.engines.client import Client, NoAnswer
from tokwatt_exporter.engines.scan import recognise

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


def lm_studio() -> FakeEngine:
    """Any unknown path is HTTP 200; the list of models is the documented one."""
    folder = captures("lmstudio")
    listed = {"object": "list", "data": [{"id": "qwen", "object": "model", "owned_by": "organization_owner"}]}
    return FakeEngine(
        {"/v1/models": as_json(listed), "/lmstudio-greeting": response(200, (folder / "greeting.json").read_bytes())},
        response(200, (folder / "route-missing.http200.json").read_bytes()),
    )


def docker_model_runner() -> FakeEngine:
    """Its Ollama face and its list of models."""
    tags = {"models": [{"name": "ai/smollm2:latest", "digest": "sha256:354bf30d0aa3", "details": {"format": "gguf"}}]}
    return FakeEngine({
        "/": response(200, (captures("docker-model-runner") / "root.txt").read_bytes(), "text/plain"),
        "/api/version": as_json({"version": "0.1.0"}), "/api/ps": as_json({"models": []}), "/api/tags": as_json(tags),
        "/v1/models": as_json({"object": "list", "data": [{"id": "ai/smollm2", "owned_by": "docker"}]}),
    })  # fmt: skip


def kobold() -> FakeEngine:
    """A web page at the root and Ollama rows with a digest of its own."""
    row = {"name": "koboldcpp/m", "digest": "1" * 64, "details": {"family": "koboldcpp"}}
    return FakeEngine({
        "/api/extra/version": response(200, (captures("koboldcpp") / "api-extra-version.json").read_bytes()),
        "/api/tags": as_json({"models": [row]}), "/": response(200, b"<html>", "text/html"),
        "/v1/models": as_json({"object": "list", "data": [{"id": "koboldcpp/m", "owned_by": "koboldcpp"}]}),
    })  # fmt: skip


def local_ai(loaded: bool = True, stored: bool = True) -> FakeEngine:
    """The nearest to Ollama: greeting, version, and rows whose digests give it away."""
    row = {"name": "m", "size": 0, "size_vram": 0, "expires_at": "2026-11-24T00:00:00Z", "digest": "sha256:" + "a" * 64}
    return FakeEngine({
        "/": response(200, b"Ollama is running", "text/plain"), "/api/version": as_json({"version": "0.9.0"}),
        "/api/ps": as_json({"models": [row] if loaded else []}), "/readyz": response(200, b"OK", "text/plain"),
        "/api/tags": as_json({"models": [row] if stored else []}),
        "/v1/models": as_json({"object": "list", "data": [{"id": "m", "object": "model"}]}),
    })  # fmt: skip


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


TABLE = {
    "llama.cpp": (lambda: fake.llama_cpp(captures("llama.cpp")), "llama_cpp"),
    "llama.cpp router": (lambda: fake.llama_cpp_router(captures("llama.cpp")), "llama_cpp"),
    "llama.cpp with an API key": (lambda: replay("llama.cpp", only="auth."), "llama_cpp"),
    "llama.cpp loading": (loading_llama, "llama_cpp"),
    "ollama": (lambda: fake.ollama(captures("ollama-real")), "ollama"),
    "ollama with nothing loaded": (idle_ollama, "ollama"),
    "ollama with nothing at all": (empty_ollama, "ollama"),
    "ollama before context_length": (old_ollama, "ollama"),
    "vmlx, greeting as ollama": (lambda: replay("vmlx"), "openai_compatible"),
    "localai, greeting as ollama": (local_ai, "openai_compatible"),
    "localai, nothing loaded": (lambda: local_ai(loaded=False), "openai_compatible"),
    "localai, no models": (lambda: local_ai(loaded=False, stored=False), "openai_compatible"),
    "sglang, greeting as ollama": (sglang, "openai_compatible"),
    "docker model runner": (docker_model_runner, "openai_compatible"),
    "koboldcpp": (kobold, "openai_compatible"),
    "lm studio": (lm_studio, "openai_compatible"),
    "mlx-vlm": (lambda: replay("mlx-vlm"), "openai_compatible"),
    "rapid-mlx": (lambda: replay("rapid-mlx"), "openai_compatible"),
    "vllm-mlx": (lambda: replay("vllm-mlx"), "openai_compatible"),
    "mlx-lm, whose list is empty text": (lambda: replay("mlx-lm"), None),
    "a web server": (lambda: FakeEngine({}), None),
    "a web server with a page for everything": (lambda: FakeEngine({}, response(200, b"<p>", "text/html")), None),
    "a list of something else": (lambda: FakeEngine({"/v1/models": as_json({"data": [{"name": "x"}]})}), None),
}  # fmt: skip


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
        assert "/v1/models" in replay_routes(engine)


def replay_routes(engine: str) -> list[str]:
    server = replay(engine)
    server._loop.close()
    return list(server.routes)


def test_a_server_that_is_no_engine_is_asked_exactly_one_question():
    with FakeEngine({}) as server:
        assert kind_of(server.url) is None
        assert server.asked() == ["/v1/models"]


def test_recognising_only_reads(monkeypatch: pytest.MonkeyPatch):
    for make, _ in TABLE.values():
        with make() as engine:
            kind_of(engine.url)
            assert {request.method for request in engine.requests} == {"GET"}
            # Each of these generates a token, wakes, loads or unloads a model somewhere.
            assert not {"/health", "/slots", "/unload", "/flush_cache", "/health_generate"} & set(engine.asked())


def test_a_server_that_cannot_answer_yet_may_be_asked_again():
    with FakeEngine({}, response(503, b"starting")) as server, pytest.raises(NoAnswer, match="HTTP 503"):
        kind_of(server.url)
