"""Engines that nobody could record, as their sources and their documentation say that they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fakes.engines import Behaviour, FakeEngine, as_json, recorded, response


def listing(*ids: str, owner: str | None = None, **more: Any) -> bytes:
    """A list of models as the OpenAI API has it."""
    row = {"object": "model", "created": 1795441680, **({"owned_by": owner} if owner else {}), **more}
    return as_json({"object": "list", "data": [{"id": name, **row} for name in ids]})


def lm_studio(folder: Path, **changed: Behaviour) -> FakeEngine:
    """LM Studio since 0.4; every unknown path is HTTP 200."""
    routes: dict[str, Behaviour] = {
        "/v1/models": listing("google/gemma-4-26b-a4b", "deepseek-r1", owner="organization_owner"),
        "/lmstudio-greeting": response(200, (folder / "greeting.json").read_bytes()),
        "/api/v1/models": response(200, (folder / "doc.api-v1-models.01.json").read_bytes()),
        "/api/v0/models": response(200, (folder / "doc.api-v0.01.json").read_bytes()),
        "/api/v1/models/unload": response(200, (folder / "doc.api-v1-models-unload.01.json").read_bytes()),
    }  # fmt: skip
    return FakeEngine(routes | changed, response(200, (folder / "route-missing.http200.json").read_bytes()))


def old_lm_studio(folder: Path, **row: Any) -> FakeEngine:
    """LM Studio before 0.4, with a model that is loaded, one that loads and one that does neither."""
    rows = [
        {"id": "qwen", "state": "loaded", "quantization": "4bit", "compatibility_type": "mlx",
         "max_context_length": 32768, "loaded_context_length": 4096, **row},
        {"id": "llama", "state": "loading", "quantization": "Q4_K_M", "compatibility_type": "gguf",
         "loaded_context_length": 1},
        {"id": "nomic", "state": "not-loaded", "max_context_length": 2048},
    ]  # fmt: skip
    engine = lm_studio(folder)
    del engine.routes["/api/v1/models"]
    engine.routes["/api/v0/models"] = as_json({"object": "list", "data": rows})
    return engine


def locked_lm_studio(status: int = 401) -> FakeEngine:
    """LM Studio that asks for a token, in its own words."""
    message = "An LM Studio API token is required to make requests to this server, but none was provided"
    return FakeEngine(
        {}, as_json({"error": {"type": "invalid_request", "code": "invalid_api_key", "message": message}}, status)
    )


def mlx_lm(folder: Path, *models: str) -> FakeEngine:
    """mlx_lm.server; without models it has no cache folder, and its list has no byte."""
    routes: dict[str, Behaviour] = {
        "/v1/models": recorded(folder / "v1-models.http"), "/health": recorded(folder / "health.http"),
    }  # fmt: skip
    if models:
        rows = [{"id": name, "object": "model", "created": 1795441680} for name in models]
        routes["/v1/models"] = as_json({"object": "list", "data": rows}, Server="BaseHTTP/0.6 Python/3.11.7")
    return FakeEngine(routes, recorded(folder / "root.http"))


def mlx_vlm(folder: Path, metrics: str = "metrics.after") -> FakeEngine:
    """mlx_vlm.server."""
    routes: dict[str, Behaviour] = {
        "/v1/models": recorded(folder / "v1-models.http"), "/health": recorded(folder / "health.http"),
        "/metrics": recorded(folder / f"{metrics}.http"), "/unload": as_json({"status": "success"}),
    }  # fmt: skip
    return FakeEngine(routes, recorded(folder / "version.404.http"))


OMLX_STATUS: dict[str, Any] = {
    "status": "ok", "version": "0.7.0rc1", "uptime_seconds": 10.5, "models_discovered": 3, "models_loaded": 1,
    "models_loading": 1, "default_model": "qwen", "loaded_models": ["qwen"], "total_requests": 7,
    "active_requests": 5, "waiting_requests": 2, "total_prompt_tokens": 1000, "total_completion_tokens": 300,
    "total_cached_tokens": 400, "cache_efficiency": 40.0, "avg_prefill_tps": 900.1, "avg_generation_tps": 50.2,
    "model_memory_used": 4_000_000_000, "model_memory_max": None, "model_memory_max_formatted": "unlimited",
}  # fmt: skip
OMLX_MODELS: list[dict[str, Any]] = [
    {"id": "qwen", "loaded": True, "is_loading": False, "estimated_size": 3, "actual_size": 4_000_000_000,
     "pinned": True, "engine_type": "batched", "max_context_window": 32768, "max_tokens": 4096},
    {"id": "llama", "loaded": False, "is_loading": True, "estimated_size": 5, "actual_size": 0},
    {"id": "phi", "loaded": False, "is_loading": False, "estimated_size": 6, "max_context_window": 4096},
    {"id": "qwen-fast", "source_model_id": "qwen", "loaded": True, "actual_size": 4_000_000_000},
    {"id": "markitdown", "engine_type": "markitdown", "loaded": True, "actual_size": 0},
]  # fmt: skip


def omlx(*ids: str, **status: Any) -> FakeEngine:
    """oMLX with one model loaded and one that loads."""
    return FakeEngine({
        "/v1/models": listing(*ids, owner="omlx"), "/api/status": as_json(OMLX_STATUS | status),
        "/v1/models/status": as_json({"model_count": 3, "loaded_count": 1, "models": OMLX_MODELS}),
        "/health": as_json({"status": "healthy", "engine_pool": {"model_count": 3, "loaded_count": 1}}),
    }, as_json({"detail": "Not Found"}, 404))  # fmt: skip


def locked_omlx() -> FakeEngine:
    """oMLX with an API key: only /health is for everybody."""
    error = {"message": "API key required", "type": "authentication_error", "param": None, "code": None}
    health = {"status": "loading", "engine_pool": {"model_count": 3, "loaded_count": 0, "current_model_memory": 0}}
    return FakeEngine({"/health": as_json(health, 503)}, as_json({"error": error}, 401))


def exo(runner: str = "RunnerReady", parts: bool = True, **changed: Any) -> FakeEngine:
    """Exo with an instance on two nodes; `runner` is the state of one of its runners."""
    instance = {
        "instanceId": "i1", "hostsByNode": {},
        "shardAssignments": {
            "modelId": "mlx-community/Qwen3-4bit", "nodeToRunner": {"n1": "r1", "n2": "r2"},
            "runnerToShard": {"r1": {"PipelineShardMetadata": {}}, "r2": {"PipelineShardMetadata": {}}},
        },
    }  # fmt: skip
    runners = {"r1": {"RunnerReady": {}}, "r2": {runner: {}}, "old": {"RunnerShutdown": {}}}
    state = {"instances": {"i1": {"MlxRingInstance": instance}}, "runners": runners} | changed
    listed = listing("mlx-community/Qwen3-4bit", "mlx-community/Llama-8bit", owner="exo", quantization="4bit")
    routes: dict[str, Behaviour] = {
        "/node_id": as_json("12D3KooW"), "/v1/models": listed, "/models": listed, "/state": as_json(state),
        "/ollama/api/version": as_json({"version": "1.0.0"}),
    }  # fmt: skip
    if parts:
        routes |= {f"/state/{part}": as_json(value) for part, value in state.items()}
    return FakeEngine(routes, as_json({"error": {"message": "Not Found", "type": "Not Found", "code": 404}}, 404))


def koboldcpp(folder: Path, model: str = "koboldcpp/tiny", **facts: Any) -> FakeEngine:
    """KoboldCpp: a web page at the root, Ollama rows with a digest of its own, any path before its own paths."""
    version = response(200, (folder / "api-extra-version.json").read_bytes())
    row = {"name": model, "digest": "1" * 64, "details": {"family": "koboldcpp"}}
    routes: dict[str, Behaviour] = {
        "/api/extra/version": as_json({"result": "KoboldCpp", "version": "1.1", **facts}) if facts else version,
        "/api/extra/perf": response(200, (folder / "api-extra-perf.json").read_bytes()),
        "/api/extra/true_max_context_length": as_json({"value": 8192}), "/api/v1/model": as_json({"result": model}),
        "/api/tags": as_json({"models": [row]}), "/": response(200, b"<html>", "text/html"),
        "/v1/models": listing(model, owner="koboldcpp", root="koboldcpp"),
    }  # fmt: skip
    return FakeEngine(routes, as_json({"detail": {"msg": "Error 404"}}, 404))


def jan(*models: str, owner: str = "user") -> FakeEngine:
    """Jan: its list has the running servers only."""
    title = {"openapi": "3.1.0", "info": {"title": "Jan API Server Endpoints", "version": "0.6.0"}}
    return FakeEngine({
        "/v1/models": listing(*models, owner=owner), "/openapi.json": as_json(title),
        "/": response(200, b"<!DOCTYPE html><title>API Docs</title>", "text/html"),
    }, response(404, b"Not Found", "text/plain"))  # fmt: skip


def locked_jan(words: bytes = b"Missing authorization header", status: int = 401) -> FakeEngine:
    """Jan that refuses, in plain text."""
    engine = jan()
    engine.routes["/v1/models"] = engine.default = response(status, words, "text/plain")
    return engine


def local_ai(loaded: bool = True, stored: bool = True) -> FakeEngine:
    """LocalAI, greeting as Ollama: the nearest to it, with rows whose digests give it away."""
    row = {"name": "m", "size": 0, "size_vram": 0, "expires_at": "2026-11-24T00:00:00Z", "digest": "sha256:" + "a" * 64}
    return FakeEngine({
        "/": response(200, b"Ollama is running", "text/plain"), "/api/version": as_json({"version": "0.9.0"}),
        "/api/ps": as_json({"models": [row] if loaded else []}), "/readyz": response(200, b"OK", "text/plain"),
        "/healthz": response(200, b"OK", "text/plain"), "/version": as_json({"version": "v4.9.0 (82c191a)"}),
        "/api/tags": as_json({"models": [row] if stored else []}),
        "/system": as_json({"backends": ["llama-cpp"], "loaded_models": [{"id": "m"}] if loaded else []}),
        "/v1/models": listing(*(["m", "other"] if stored else [])), "/backend/shutdown": as_json({}),
    }, as_json({"error": {"code": 404, "message": "Resource not found", "type": ""}}, 404))  # fmt: skip


def llama_swap(*running: tuple[str, str]) -> FakeEngine:
    """llama-swap with servers in a state each."""
    rows = [{"model": model, "state": state, "cmd": "llama-server -m x", "ttl": 0} for model, state in running]
    return FakeEngine({
        "/v1/models": listing("big", "small", owner="llama-swap"), "/running": as_json({"running": rows}),
        "/health": response(200, b"OK", "text/plain"),
        "/api/version": as_json({"version": "250", "commit": "0bdb372", "build_date": "2026-11-01"}),
        "/api/models/unload/big": response(200, b"OK", "text/plain"),
    }, response(404, b"404 page not found\n", "text/plain"))  # fmt: skip


def docker_model_runner(folder: Path, stored: bool = True) -> FakeEngine:
    """Docker Model Runner with its Ollama face and one model running."""
    tags = {"models": [{"name": "ai/smollm2:latest", "digest": "sha256:354bf30d0aa3", "details": {"format": "gguf"}}]}
    running = [{"backend_name": "llama.cpp", "model_name": "ai/smollm2:latest", "mode": "completion", "in_use": True}]
    names = ["docker.io/ai/smollm2", "docker.io/ai/gemma3"] if stored else []
    return FakeEngine({
        "/": response(200, (folder / "root.txt").read_bytes(), "text/plain"),
        "/version": as_json({"version": "v1.2.6"}), "/api/version": as_json({"version": "0.1.0"}),
        "/api/ps": as_json({"models": []}), "/api/tags": as_json(tags),
        "/v1/models": listing(*names, owner="docker"), "/engines/ps": as_json(running if stored else []),
        "/engines/unload": as_json({"unloaded_runners": 1}),
    }, response(404, b"404 page not found\n", "text/plain"))  # fmt: skip
