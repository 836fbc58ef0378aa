"""Recorded engines at other moments than the usual one: new, busy, asleep, loading, with something switched off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fakes import engine_kinds as kinds
from fakes import engines as fake
from fakes.engines import FakeEngine, recorded, response
from fakes.served import page, rapid_mlx, vllm, vllm_mlx
from support.captures import shared_captures


def captures() -> Path:
    return shared_captures() / "engines"


def llama_cpp(**changed: str) -> FakeEngine:
    return fake.llama_cpp(captures() / "llama.cpp", **changed)


def router(models: str) -> FakeEngine:
    engine = fake.llama_cpp_router(captures() / "llama.cpp")
    engine.routes["/models"] = recorded(captures() / f"llama.cpp/router.models.{models}.http")
    return engine


def large_counters() -> FakeEngine:
    """Counters above a million, of which llama.cpp prints six digits."""
    engine = llama_cpp()
    counters = (captures() / "llama.cpp/metrics.over-1e6.txt").read_bytes()
    engine.routes["/metrics"] = response(200, counters, "text/plain; version=0.0.4", Server="llama.cpp")
    return engine


def vllm_that_lost(family: str) -> FakeEngine:
    """vLLM of a version that no longer has a metric, or has given it another name."""
    shard = ({"model_name": "m", "engine": "0"},)
    return vllm(page(captures() / "vllm/metrics.csv", shard, {}, without=(family,)))


def changed(engine: FakeEngine, **files: str) -> FakeEngine:
    """The same engine with other recorded answers, at `path=file` with `__` for `/`."""
    engine.routes |= {"/" + path.replace("__", "/"): recorded(captures() / file) for path, file in files.items()}
    return engine


Make = Callable[[], FakeEngine]
MOMENTS: dict[str, tuple[Make, str | None]] = {
    "llama.cpp asleep": (
        lambda: llama_cpp(
            health="sleep.health.http", props="sleep.props.http", v1__models="sleep.v1-models.http",
            metrics="sleep.metrics.http",
        ), "llama_cpp",
    ),
    "llama.cpp busy": (lambda: llama_cpp(metrics="metrics.busy.http", slots="slots.busy.http"), "llama_cpp"),
    "llama.cpp new": (lambda: llama_cpp(metrics="metrics.fresh.http", slots="slots.fresh.http"), "llama_cpp"),
    "llama.cpp a moment later": (lambda: llama_cpp(metrics="metrics.scrape-2-immediately.http"), "llama_cpp"),
    "llama.cpp with much behind it": (large_counters, "llama_cpp"),
    "llama.cpp without metrics": (
        lambda: llama_cpp(metrics="disabled.metrics.501.http", slots="disabled.slots.501.http"), "llama_cpp",
    ),
    "llama.cpp without a slot": (lambda: llama_cpp(slots="slots.fail_on_no_slot.http"), "llama_cpp"),
    "llama.cpp router loading": (lambda: router("loading"), "llama_cpp"),
    "llama.cpp router with nothing loaded": (lambda: router("unloaded"), "llama_cpp"),
    "llama.cpp router after an unload": (lambda: router("after-unload"), "llama_cpp"),
    "ollama once more": (lambda: fake.ollama(captures() / "ollama-real", "22-api-ps-after"), "ollama"),
    "mlx-vlm new": (lambda: kinds.mlx_vlm(captures() / "mlx-vlm", "metrics.fresh"), "mlx_vlm"),
    "vllm that lost a metric": (lambda: vllm_that_lost("vllm:num_requests_running"), "vllm"),
    "vllm-mlx new": (
        lambda: changed(vllm_mlx(captures(), "metrics.fresh.http"), v1__status="vllm-mlx/v1-status.http"), "vllm_mlx",
    ),
    "rapid-mlx new": (lambda: rapid_mlx(captures(), "metrics.fresh.http"), "rapid_mlx"),
    "rapid-mlx after some work": (
        lambda: changed(rapid_mlx(captures()), v1__status="rapid-mlx/v1-status.after.http"), "rapid_mlx",
    ),
}  # fmt: skip
