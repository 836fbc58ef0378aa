"""oMLX: several MLX models in one server, with a status of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.answers import clean, known, mapping, number, positive, rows
from tokwatt_exporter.engines.base import Answer, Asker, Loading, Model, State
from tokwatt_exporter.engines.openai_compatible import NEEDS_KEY, SHARED_SECONDS, OpenAICompatible, owned_by, owners
from tokwatt_exporter.engines.replies import content, engine_wide, optional, refused
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.snapshot import Reading


class OMLX(OpenAICompatible):
    """oMLX. Its admin pages are never asked for: one of them shows the API key."""

    kind = "omlx"
    ports = (8000,)
    unloads = True

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Its name as the owner of its models and its status; with an API key, the engine pool on /health."""
        first = await ask.get("/v1/models", SHARED_SECONDS)
        if refused(first):
            return ["/health has its engine pool"] if _locked(first) and _pool(await ask.get("/health")) else None
        if not owned_by(first, "omlx"):
            return None
        status = mapping(optional(await ask.get("/api/status")))
        if not _own(status):
            return None
        return ["/api/status is its own", *(["its models are owned by omlx"] if owners(first) else [])]

    async def look(self, ask: Asker, name: str) -> State:
        """Models with their memory, requests, and tokens since the start or since the user cleared them."""
        answer = await ask.get("/api/status")
        if refused(answer):
            return State(problem=NEEDS_KEY)
        status = mapping(content(answer))
        if not _own(status):
            raise EngineError("is not oMLX any more: /api/status says something else")
        version, readings = known(status.get("version")), _readings(name, status)
        listed = await ask.get("/v1/models/status")
        if listed.status != 200:
            # While it starts.
            return State(version, readings=readings, problem=f"does not list its models (HTTP {listed.status})")
        models = _models(mapping(listed.json()))
        loaded = sum(model.state == "loaded" for model in models)
        return State(version, tuple(models), readings, loaded)

    async def unload(self, ask: Asker, model: str) -> bool:
        """Drop a model that is loaded."""
        return (await ask.post(f"/v1/models/{quote(model, safe='')}/unload", {})).status == 200

    async def load(self, ask: Asker, model: str) -> Loading | None:
        """Load a model; older versions do so with a request only."""
        answer = await ask.post(f"/v1/models/{quote(model, safe='')}/load", {})
        return Loading() if answer.status == 200 else None


def _models(status: Mapping[str, Any]) -> list[Model]:
    models: dict[str, Model] = {}
    for row in rows(status.get("models")):
        name = clean(row.get("id"))
        # A profile is another name for a model, and a file converter is none.
        if not name or row.get("source_model_id") or row.get("engine_type") == "markitdown":
            continue
        loaded = row.get("loaded") is True
        models.setdefault(
            name,
            Model(
                name,
                "loaded" if loaded else "loading" if row.get("is_loading") is True else "available",
                # estimated_size is a guess from the files.
                memory_bytes=positive(row.get("actual_size")) if loaded else None,
                context_tokens=positive(row.get("max_context_window")) if loaded else None,
            ),
        )
    return list(models.values())


def _own(status: Mapping[str, Any]) -> bool:
    # Two of its own words: another version may lack one.
    return len({"models_discovered", "loaded_models", "active_requests"} & status.keys()) >= 2


def _readings(name: str, status: Mapping[str, Any]) -> tuple[Reading, ...]:
    active, waiting = number(status.get("active_requests")), number(status.get("waiting_requests"))
    prompt, cached = number(status.get("total_prompt_tokens")), number(status.get("total_cached_tokens"))
    return engine_wide(
        name,
        (
            # Those that wait are among the active ones.
            (c.REQUESTS_RUNNING, None if active is None or waiting is None else max(active - waiting, 0)),
            (c.REQUESTS_WAITING, waiting),
            (c.REQUESTS, number(status.get("total_requests"))),
            (c.PROMPT_TOKENS, None if prompt is None or cached is None or cached > prompt else prompt - cached),
            (c.PREFIX_CACHE_HITS, cached),
            (c.GENERATION_TOKENS, number(status.get("total_completion_tokens"))),
        ),
    )


def _locked(answer: Answer) -> bool:
    # Only after these words: the same page makes SGLang generate a token.
    try:
        body = mapping(answer.json())
    except EngineError:
        return False
    words = (mapping(body.get("error")).get("message"), body.get("detail"))
    return any(text in ("API key required", "Invalid API key") for text in words)


def _pool(answer: Answer) -> bool:
    try:
        pool = mapping(mapping(answer.json()).get("engine_pool"))
    except EngineError:
        return False
    return {"model_count", "loaded_count"} <= pool.keys()
