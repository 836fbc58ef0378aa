"""vllm-mlx: its own state, and counters with --enable-metrics. It does not say its version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.answers import clean, mapping, number, positive, rows
from tokwatt_exporter.engines.base import Asker, Model, State
from tokwatt_exporter.engines.exposition import Row, Table, fetch
from tokwatt_exporter.engines.keyed import speaks
from tokwatt_exporter.engines.openai_compatible import NEEDS_KEY, SHARED_SECONDS, OpenAICompatible, owners
from tokwatt_exporter.engines.replies import content, optional, refused
from tokwatt_exporter.errors import EngineError

#: Other models than the one that generates work on these.
GENERATION = {"endpoint": ("embeddings", "rerank", "audio_transcriptions", "audio_speech")}

#: The hits of its cache are requests, not tokens, and its cache is not the KV cache: neither is read.
METRICS = Table((
    Row("vllm_mlx_scheduler_running_requests", c.REQUESTS_RUNNING, always=True),
    Row("vllm_mlx_scheduler_waiting_requests", c.REQUESTS_WAITING, always=True),
    Row("vllm_mlx_inference_requests_total", c.REQUESTS, without=GENERATION, always=True),
    Row("vllm_mlx_inference_requests_total", c.REQUESTS_FAILED, only={"result": ("error",)}, without=GENERATION),
    Row("vllm_mlx_prompt_tokens_total", c.PROMPT_TOKENS, without=GENERATION, always=True),
    Row("vllm_mlx_completion_tokens_total", c.GENERATION_TOKENS, without=GENERATION, always=True),
    Row("vllm_mlx_inference_ttft_seconds", c.TIME_TO_FIRST_TOKEN, without=GENERATION),
    Row("vllm_mlx_inference_request_duration_seconds", c.REQUEST_DURATION, without=GENERATION),
))  # fmt: skip
#: Where several models are managed these are 0 whatever happens.
OF_ONE_MODEL = {c.REQUESTS_RUNNING, c.REQUESTS_WAITING}

NO_METRICS = "is running without --enable-metrics: no token counters"

RESIDENCY = {"loaded": "loaded", "loading": "loading", "unloading": "loaded", "unloaded": "sleeping"}
MANAGED = {"loaded": "loaded", "preempting": "loaded", "unloading": "loaded", "loading": "loading"}


class VllmMlx(OpenAICompatible):
    """vllm-mlx. rapid-mlx ships a package of the same name, so no command line proves it."""

    kind = "vllm_mlx"
    ports = (8000,)

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Owner of the listed models and its own state; with an API key, the names of its metrics."""
        if "vllm-mlx" in (owners(await ask.get("/v1/models", SHARED_SECONDS)) or ()):
            status = mapping(optional(await ask.get("/v1/status")))
            fits = "status" in status and not {"residency", "model_manager"}.isdisjoint(status)
            return ["its models are owned by vllm-mlx", "/v1/status has its residency"] if fits else None
        metric = await speaks(ask, "vllm_mlx_")
        return [f"/metrics has {metric}"] if metric else None

    async def look(self, ask: Asker, name: str) -> State:
        """Models with their state, and its counters; those of several managed models cannot be told apart."""
        answer = await ask.get("/v1/status")
        if refused(answer):
            page, _ = await fetch(ask, METRICS)
            return State(readings=page.readings(name)[0] if page else (), problem=NEEDS_KEY)
        status = mapping(content(answer))
        if "status" not in status or {"residency", "model_manager"}.isdisjoint(status):
            raise EngineError("is not vllm-mlx any more: /v1/status has no residency")
        managed = "model_manager" in status
        models = _managed(mapping(status["model_manager"])) if managed else _single(status)
        page, problem = await fetch(ask, METRICS, off={404: NO_METRICS})
        one = None if managed or not models else models[0].name
        readings, lacks = page.readings(name, one) if page else ((), None)
        failed = mapping(status.get("residency")).get("state") == "failed"
        return State(
            None,
            models,
            tuple(reading for reading in readings if not (managed and reading.family in OF_ONE_MODEL)),
            sum(model.state == "loaded" for model in models) if models else None,
            "could not load its model" if failed else problem or lacks,
        )


def _single(status: Mapping[str, Any]) -> tuple[Model, ...]:
    name, residency = clean(status.get("model")), mapping(status.get("residency"))
    if not name:
        return ()
    # Without a lifecycle a model is loaded before the server starts, and stays.
    state = RESIDENCY.get(str(residency.get("state")), "available") if residency else "loaded"
    if status.get("status") == "not_loaded" and state == "loaded":
        state = "available"
    active = number(mapping(status.get("metal")).get("active_memory_gb"))
    # All that is active in MLX is this model's, unless there is another one for embeddings.
    alone = state == "loaded" and active is not None and status.get("embedding") is None
    memory = positive(active * 1e9) if alone and active is not None else None
    return (Model(name, state, memory_bytes=memory),)  # type: ignore[arg-type]


def _managed(manager: Mapping[str, Any]) -> tuple[Model, ...]:
    # Their memory is an estimate.
    found = {name: row for row in rows(manager.get("models")) if (name := clean(row.get("id")))}
    return tuple(
        Model(name, MANAGED.get(str(row.get("status")), "available"))  # type: ignore[arg-type]
        for name, row in found.items()
    )
