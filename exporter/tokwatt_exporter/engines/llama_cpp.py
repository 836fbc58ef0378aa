"""llama.cpp's llama-server, alone or as a router of several models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.answers import clean, known, mapping, positive, rows
from tokwatt_exporter.engines.base import COULD_NOT_LOAD, Asker, Loading, Model, State
from tokwatt_exporter.engines.exposition import Row, Table, fetch
from tokwatt_exporter.engines.openai_compatible import NEEDS_KEY, SHARED_SECONDS, OpenAICompatible
from tokwatt_exporter.engines.replies import optional
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.snapshot import Reading

#: Theirs → ours. The counters are printed with six digits: from 1e6 on they move in steps of ten, from 1e8 of 1000.
METRICS = Table((
    Row("llamacpp:prompt_tokens_total", c.PROMPT_TOKENS, always=True),
    Row("llamacpp:prompt_tokens_cached_total", c.PREFIX_CACHE_HITS),
    Row("llamacpp:tokens_predicted_total", c.GENERATION_TOKENS, always=True),
    Row("llamacpp:prompt_seconds_total", c.PROMPT_SECONDS),
    Row("llamacpp:tokens_predicted_seconds_total", c.GENERATION_SECONDS),
    Row("llamacpp:requests_processing", c.REQUESTS_RUNNING, always=True),
    Row("llamacpp:requests_deferred", c.REQUESTS_WAITING),
    # Old builds only.
    Row("llamacpp:kv_cache_usage_ratio", c.KV_CACHE_USAGE),
))  # fmt: skip

STATES = {"loaded": "loaded", "loading": "loading", "sleeping": "sleeping", "unloaded": "available"}


class LlamaCpp(OpenAICompatible):
    """llama-server. Nothing asked here wakes a sleeping model (as /slots would) or makes a router load one."""

    kind = "llama_cpp"
    ports = (8080, 9931)
    unloads = True
    options = ("seed", "temperature", "cache_prompt")

    async def recognise(self, ask: Asker) -> list[str] | None:
        """The `Server` header, which every answer carries: also with an API key (401) and while loading (503)."""
        answer = await ask.get("/v1/models", SHARED_SECONDS)
        if answer.headers.get("server") != "llama.cpp":
            return None
        return ["answers carry the header Server: llama.cpp"]

    async def look(self, ask: Asker, name: str) -> State:
        """Model, requests and token counters; of a router, those of every loaded model."""
        props = await ask.get("/props")
        if props.headers.get("server") != "llama.cpp":
            raise EngineError("is not llama.cpp any more")
        if props.status in (401, 403):
            return State(problem=NEEDS_KEY)
        if props.status == 503:
            return State(loaded=0, problem="is loading its model")
        facts = mapping(props.json()) if props.status == 200 else {}
        version = known(facts.get("build_info"))
        if facts.get("role") == "router":
            return await _router(ask, name, version)
        return await _single(ask, name, version, facts)

    async def unload(self, ask: Asker, model: str) -> bool:
        """Only a router can unload a model."""
        return (await ask.post("/models/unload", {"model": model})).status == 200

    async def load(self, ask: Asker, model: str) -> Loading | None:
        """A router begins to load a model; it answers before the model is there."""
        return Loading() if (await ask.post("/models/load", {"model": model})).status == 200 else None


async def _single(ask: Asker, name: str, version: str | None, facts: Mapping[str, Any]) -> State:
    model = await _model(ask, facts)
    if not model:
        return State(version, problem="does not say which model it serves")
    loaded = int(model.state == "loaded")
    if facts.get("endpoint_metrics") is False:
        return State(version, (model,), loaded=loaded, problem=NO_METRICS)
    readings, problem = await _metrics(ask, "/metrics", name, model.name, version)
    return State(version, (model,), readings, loaded, problem)


async def _model(ask: Asker, facts: Mapping[str, Any]) -> Model | None:
    row: Mapping[str, Any] = {}
    # Only new builds say in /props what the model is; they use the same name on /v1/models.
    if "model_ftype" not in facts or not clean(facts.get("model_alias")):
        row = next(iter(rows(mapping(optional(await ask.get("/v1/models"))).get("data"))), {})
    meta = mapping(row.get("meta"))
    model = clean(row.get("id")) or clean(facts.get("model_alias"))
    if not model:
        return None
    context = mapping(facts.get("default_generation_settings")).get("n_ctx") or meta.get("n_ctx")
    # meta.size is the weights in the file: neither the cache nor what is left on disk, so not the memory it takes.
    return Model(
        model,
        "sleeping" if facts.get("is_sleeping") is True else "loaded",
        quantization=known(facts.get("model_ftype") or meta.get("ftype")),
        format="gguf",
        context_tokens=positive(context),
    )


async def _router(ask: Asker, name: str, version: str | None) -> State:
    models: list[Model] = []
    problems: list[str | None] = []
    listed = mapping(optional(await ask.get("/models"))).get("data")
    for row in rows(listed):
        status = mapping(row.get("status"))
        model, state = clean(row.get("id")), STATES.get(str(status.get("value")))
        if model and status.get("failed") is True:
            problems.append(f"{COULD_NOT_LOAD} {model}; its log says why")
        meta = mapping(row.get("meta"))
        if model and state:
            models.append(
                Model(
                    model,
                    state,  # type: ignore[arg-type]
                    quantization=known(meta.get("ftype")),
                    format="gguf",
                    context_tokens=positive(meta.get("n_ctx")),
                )
            )
    readings: list[Reading] = []
    loaded = [model.name for model in models if model.state == "loaded"][: c.MODELS_PER_ENGINE]
    for model in loaded:
        # Without autoload=false the question itself would load a model that was unloaded since.
        path = f"/metrics?model={quote(model, safe='')}&autoload=false"
        found, problem = await _metrics(ask, path, name, model, version)
        readings += found
        problems.append(problem)
    count = len(loaded) if isinstance(listed, list) else None
    return State(version, tuple(models), tuple(readings), count, next(filter(None, problems), None))


NO_METRICS = "is running without --metrics: no token counters"


async def _metrics(
    ask: Asker, path: str, name: str, model: str, version: str | None
) -> tuple[tuple[Reading, ...], str | None]:
    page, problem = await fetch(ask, METRICS, path, {501: NO_METRICS})
    return page.readings(name, model, version) if page else ((), problem)
