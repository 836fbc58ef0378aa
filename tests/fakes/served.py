"""vLLM, SGLang and the MLX engines of that family: recorded answers, and pages of metrics with the recorded names."""

from __future__ import annotations

import asyncio
import csv
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tokwatt_exporter.engines.base import Engine, State
from tokwatt_exporter.engines.client import Client

from .engines import FakeEngine, as_json, recorded, response

#: Labels that some families have besides those of every family, with all their values.
MORE_LABELS = {
    "vllm:request_success": ("finished_reason", ("stop", "length", "abort", "error")),
    "vllm:prompt_tokens_by_source": ("source", ("local_compute", "local_cache_hit", "external_kv_transfer")),
    "vllm:engine_sleep_state": ("sleep_state", ("awake", "weights_offloaded", "discard_all")),
    "sglang:cached_tokens_total": ("cache_source", ("device", "host")),
    "sglang:num_requests_total": ("is_streaming", ("true", "false")),
    "sglang:prompt_tokens_total": ("is_streaming", ("true", "false")),
    "sglang:generation_tokens_total": ("is_streaming", ("true", "false")),
}

Values = Mapping[str, float | str]


def page(
    names: Path, shards: Iterable[Mapping[str, str]], values: Values, without: Sequence[str] = ()
) -> bytes:  # fmt: skip
    """A page of metrics with the families recorded in a CSV file, for each shard; what is not in `values` is 0.

    `values` are by sample name, or by name and the value of its further label: `vllm:request_success_total/error`.
    """
    lines = []
    for row in csv.DictReader(names.read_text().splitlines()):
        if row["name"] in without:
            continue
        lines += [f"# HELP {row['name']} {row['help']}", f"# TYPE {row['name']} {row['type']}"]
        label, options = MORE_LABELS.get(row["name"], ("", ("",)))
        for shard, option in itertools.product(shards, options):
            labels = dict(shard) | ({label: option} if label else {})
            text = ",".join(f'{key}="{value}"' for key, value in labels.items())
            for sample in _samples(row["name"], row["type"]):
                value = values.get(f"{sample}/{option}", values.get(sample, 0))
                bucket = ',le="+Inf"' if sample.endswith("_bucket") else ""
                lines.append(f"{sample}{{{text}{bucket}}} {value}")
    return ("\n".join(lines) + "\n").encode()


def _samples(name: str, kind: str) -> list[str]:
    if kind == "histogram":
        return [f"{name}_{part}" for part in ("bucket", "count", "sum")]
    return [name if kind != "counter" or name.endswith("_total") else f"{name}_total"]


def listed(owner: str, *ids: str, **more: object) -> bytes:
    """A list of models."""
    data = [{"id": name, "object": "model", "owned_by": owner, **more} for name in ids]
    return as_json({"object": "list", "data": data}, Server="uvicorn")


#: What uvicorn's middleware says without the key.
LOCKED = as_json({"error": "Unauthorized"}, 401, Server="uvicorn")


def vllm(metrics: bytes, version: str = "0.33.0", models: bytes = b"") -> FakeEngine:
    """vLLM with one model; anything else is FastAPI's 404."""
    return FakeEngine({
        "/v1/models": models or listed("vllm", "m", root="m", parent=None, max_model_len=4096),
        "/version": as_json({"version": version}, Server="uvicorn"), "/health": response(200, b""),
        "/ping": response(200, b""), "/metrics": response(200, metrics, "text/plain"),
    }, as_json({"detail": "Not Found"}, 404, Server="uvicorn"))  # fmt: skip


def sglang(metrics: bytes | None, models: bytes = b"") -> FakeEngine:
    """SGLang with one model; a /metrics only where it is enabled."""
    routes = {
        "/v1/models": models or listed("sglang", "m", root="m", parent=None, max_model_len=8192),
        "/model_info": as_json({"model_path": "/srv/m", "served_model_name": "m", "is_generation": True}),
        "/server_info": as_json({"version": "0.5.23", "quantization": "fp8", "internal_states": [{}]}),
        "/": as_json("SGLang is running"), "/ready": response(200, b""),
    }  # fmt: skip
    if metrics is not None:
        routes["/metrics"] = response(200, metrics, "text/plain")
    return FakeEngine(routes, as_json({"detail": "Not Found"}, 404, Server="uvicorn"))


def replay(folder: Path, **files: str) -> FakeEngine:
    """Recorded answers at `path=file`, where the path is written with `__` for `/`; `root` is the root."""
    routes = {"/" + path.replace("root", "").replace("__", "/"): recorded(folder / f) for path, f in files.items()}
    return FakeEngine(routes, as_json({"detail": "Not Found"}, 404, Server="uvicorn"))


def vllm_mlx(captures: Path, metrics: str = "metrics.after.http") -> FakeEngine:
    """A recorded vllm-mlx."""
    return replay(
        captures / "vllm-mlx", v1__models="v1-models.http", v1__status="v1-status.after.http", metrics=metrics,
        health="health.http", v1__cache__stats="v1-cache-stats.http",
    )  # fmt: skip


def rapid_mlx(captures: Path, metrics: str = "metrics.after.http") -> FakeEngine:
    """A recorded Rapid-MLX."""
    return replay(
        captures / "rapid-mlx", v1__models="v1-models.http", v1__models__residency="v1-models-residency.http",
        metrics=metrics, health="health.http", healthz="healthz.http", root="root.http", v1__status="v1-status.http",
    )  # fmt: skip


def vmlx(captures: Path, health: str = "health.http") -> FakeEngine:
    """A recorded vMLX; the description of its API is that of the recorded title and version."""
    info = (captures / "vmlx" / "openapi.info.txt").read_bytes().splitlines()[0]
    engine = replay(
        captures / "vmlx", v1__models="v1-models.http", root="root.http", health=health, api__tags="api-tags.http",
        api__ps="api-ps.http", api__version="api-version.http", v1__cache__stats="v1-cache-stats.http",
    )  # fmt: skip
    engine.routes["/openapi.json"] = response(200, b'{"openapi":"3.1.0","info":' + info + b',"paths":{}}')
    return engine


def look(adapter: Engine, server: FakeEngine) -> State:
    """One look of an adapter at a server that is started for it; the engine's name is "e"."""

    async def once() -> State:
        async with Client(server.url, deadline=3.0) as ask:
            return await adapter.look(ask, "e")

    with server:
        return asyncio.run(once())
