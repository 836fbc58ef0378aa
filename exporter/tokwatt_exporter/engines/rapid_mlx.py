"""Rapid-MLX: metrics that are always on and open, and the models it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.answers import clean, known, mapping, positive, rows
from tokwatt_exporter.engines.base import Asker, Loading, Model, State
from tokwatt_exporter.engines.exposition import Page, Row, Table, fetch
from tokwatt_exporter.engines.keyed import speaks
from tokwatt_exporter.engines.openai_compatible import NEEDS_KEY, SHARED_SECONDS, OpenAICompatible, owners
from tokwatt_exporter.engines.replies import STEADY_SECONDS, optional, refused
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.snapshot import Reading

BUILD, LOADED, LIFECYCLE = "rapid_mlx_build_info", "rapid_mlx_model_loaded", "rapid_mlx_model_lifecycle_state"

#: The hits of its cache are requests; the tokens that they saved are counted too.
METRICS = Table((
    Row("rapid_mlx_requests_running", c.REQUESTS_RUNNING, always=True),
    Row("rapid_mlx_requests_waiting", c.REQUESTS_WAITING, always=True),
    Row("rapid_mlx_model_requests_total", c.REQUESTS),
    Row("rapid_mlx_model_requests_total", c.REQUESTS_FAILED, only={"outcome": ("failed",)}),
    Row("rapid_mlx_prefix_cache_tokens_saved_total", c.PREFIX_CACHE_HITS),
    # Those of each model outlive its unloading; those of the engine do not.
    Row("rapid_mlx_model_prompt_tokens_total", c.PROMPT_TOKENS),
    Row("rapid_mlx_prompt_tokens_total", c.PROMPT_TOKENS, always=True),
    Row("rapid_mlx_model_completion_tokens_total", c.GENERATION_TOKENS),
    Row("rapid_mlx_completion_tokens_total", c.GENERATION_TOKENS, always=True),
    Row("rapid_mlx_model_ttft_seconds", c.TIME_TO_FIRST_TOKEN),
    # Without a model in memory it shows none of the engine's.
), model="model", also=(BUILD, LOADED, LIFECYCLE), working="rapid_mlx_requests_processed_total")  # fmt: skip

#: What it calls the state of a model, of the main one and of those beside it.
STATES = {
    "resident": "loaded", "ready": "loaded", "unloading": "loaded", "retiring": "loaded", "loading": "loading",
    "standby": "sleeping",
}  # fmt: skip


class RapidMlx(OpenAICompatible):
    """Rapid-MLX. Its /health is slow under load and is not asked for."""

    kind = "rapid_mlx"
    ports = tuple(range(8000, 8010))
    unloads = True

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Owner of the listed models and the names of its metrics; with an API key the latter alone."""
        if "rapid-mlx" in (owners(await ask.get("/v1/models", SHARED_SECONDS)) or ()):
            page, _ = await fetch(ask, METRICS)
            seen = page and next((name for name in (BUILD, *(r.theirs for r in METRICS.rows)) if page.has(name)), None)
            return ["its models are owned by rapid-mlx", f"/metrics has {seen}"] if seen else None
        metric = await speaks(ask, "rapid_mlx_")
        return [f"/metrics has {metric}"] if metric else None

    async def look(self, ask: Asker, name: str) -> State:
        """Version, models with their state and measured memory, and its counters, by model where it can."""
        page, problem = await fetch(ask, METRICS)
        if page and not page.has(BUILD) and not any(page.has(row.theirs) for row in METRICS.rows):
            raise EngineError("is not Rapid-MLX any more: /metrics has nothing of it")
        version = _build(page, "version")
        answer = await ask.get("/v1/models/residency")
        residency = mapping(optional(answer))
        if page is None and "models" not in residency and not refused(answer):
            raise EngineError(f"does not say which models it holds (HTTP {answer.status}); {problem}")
        models = _resident(residency, await _contexts(ask))
        if not models:
            models = _main(page)
        main = _build(page, "model") or (models[0].name if models else None)
        readings, lacks = page.readings(name, main, version) if page else ((), None)
        readings = _served(readings, residency)
        loaded = sum(model.state == "loaded" for model in models) if models else None
        problem = NEEDS_KEY if refused(answer) else problem or lacks
        return State(version, models, readings, loaded, problem, page.dropped if page else 0)

    async def unload(self, ask: Asker, model: str) -> bool:
        """Drop a model that is resident and neither pinned nor busy."""
        return (await ask.delete(f"/v1/models/{quote(model, safe='')}")).status == 204

    async def load(self, ask: Asker, model: str) -> Loading | None:
        """Make a model resident; it is answered when the model is there."""
        return Loading() if (await ask.post("/v1/models/load", {"model": model})).status == 200 else None


def _build(page: Page | None, label: str) -> str | None:
    samples = page.samples(BUILD) if page else []
    return known(samples[0].labels.get(label)) if samples else None


def _resident(residency: Mapping[str, Any], contexts: Mapping[str, float | None]) -> tuple[Model, ...]:
    found = {name: row for row in rows(residency.get("models")) if (name := clean(row.get("id")))}
    return tuple(
        Model(
            name,
            STATES.get(str(row.get("state")), "available"),  # type: ignore[arg-type]
            # estimated_bytes is what it reserves, not what the model takes.
            memory_bytes=positive(row.get("measured_bytes")),
            context_tokens=contexts.get(name),
        )
        for name, row in found.items()
    )


def _served(readings: tuple[Reading, ...], residency: Mapping[str, Any]) -> tuple[Reading, ...]:
    """The readings under the names that models are served under: its counters call them by their paths."""
    names = {clean(row.get("model_path")): clean(row.get("id")) for row in rows(residency.get("models"))}
    return tuple(
        reading._replace(
            labels=tuple((key, (names.get(text) or text) if key == "model" else text) for key, text in reading.labels)
        )
        for reading in readings
    )


def _main(page: Page | None) -> tuple[Model, ...]:
    """The main model as the open metrics know it, where its API refuses to say more."""
    name = _build(page, "model")
    if page is None or name is None:
        return ()
    state = next((s.labels.get("state") for s in page.samples(LIFECYCLE) if s.value == 1), None)
    if state is None and page.value(LOADED) == 1:
        state = "ready"
    return (Model(name, STATES[state]),) if state in STATES else ()  # type: ignore[arg-type]


async def _contexts(ask: Asker) -> Mapping[str, float | None]:
    listed = rows(mapping(optional(await ask.get("/v1/models", STEADY_SECONDS))).get("data"))
    return {name: positive(row.get("context_window")) for row in listed if (name := clean(row.get("id")))}
