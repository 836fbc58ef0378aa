"""vMLX: one model, its state and its queue by /health; it publishes no metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.answers import clean, known, mapping, number, positive
from tokwatt_exporter.engines.base import COULD_NOT_LOAD, Asker, Loading, Model, State
from tokwatt_exporter.engines.openai_compatible import SHARED_SECONDS, OpenAICompatible, owners
from tokwatt_exporter.engines.replies import content, refused
from tokwatt_exporter.errors import EngineError

#: It imitates Ollama, but ends the greeting with a newline.
GREETING = b"Ollama is running\n"
TITLE = "vmlx-engine API"
#: Its description of its API is long and the same as long as the process lives.
API_SECONDS = 3600.0


class VMLX(OpenAICompatible):
    """vMLX. Asking for its state neither wakes it nor keeps it awake."""

    kind = "vmlx"
    ports = (8000,)
    unloads = True

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Owner of the listed models and its way to greet; with an API key, the title of its API."""
        first = await ask.get("/v1/models", SHARED_SECONDS)
        owned = owners(first) == {"vmlx-engine"}
        if not owned and not (refused(first) and first.headers.get("server") == "uvicorn"):
            return None
        greets = (await ask.get("/")).body == GREETING
        if owned and greets:
            return ["its models are owned by vmlx-engine", "it greets as Ollama, with a newline more"]
        if not owned and not greets:
            return None
        title = (await _api(ask)).get("title")
        return [f"/openapi.json is that of {TITLE}"] if title == TITLE else None

    async def look(self, ask: Asker, name: str) -> State:
        """The model and whether it is in memory, requests, and tokens found in the cache."""
        answer, api = await ask.get("/v1/models"), await _api(ask)
        # Another server's /health may generate a token: only this one is asked for it.
        if owners(answer) != {"vmlx-engine"} and not (refused(answer) and api.get("title") == TITLE):
            raise EngineError(f"is not vMLX any more (HTTP {answer.status} on /v1/models)")
        version = known(api.get("version")) if api.get("title") == TITLE else None
        health = mapping(content(await ask.get("/health")))
        loaded = health.get("model_loaded")
        if not isinstance(loaded, bool):
            raise EngineError("does not say on /health whether its model is loaded")
        model = clean(health.get("model_name"))
        # Without a model it goes by the name that stands for any.
        if not model or (model == "default" and not loaded):
            return State(version, loaded=int(loaded), problem=_failure(health))
        readings = tuple(
            family(value, engine=name, model=model)
            for family, key in SCHEDULER
            if (value := number(mapping(health.get("scheduler")).get(key))) is not None
        )
        return State(version, (_model(model, health, loaded),), readings, int(loaded), _failure(health))

    async def unload(self, ask: Asker, model: str) -> bool:
        """Deep sleep drops its only model; the next request brings it back."""
        return (await ask.post("/admin/deep-sleep", {})).status == 200

    async def load(self, ask: Asker, model: str) -> Loading | None:
        """Wake it from its sleep."""
        return Loading() if (await ask.post("/admin/wake", {})).status == 200 else None


SCHEDULER = (
    (c.REQUESTS_RUNNING, "num_running"),
    (c.REQUESTS_WAITING, "num_waiting"),
    (c.PREFIX_CACHE_HITS, "cache_hit_tokens"),
)


def _model(name: str, health: Mapping[str, Any], loaded: bool) -> Model:
    if loaded:
        # Soft sleep (standby_soft) empties the caches; the model stays where it is.
        megabytes = number(mapping(health.get("memory")).get("active_mb"))
        return Model(name, "loaded", memory_bytes=positive(megabytes * 2**20) if megabytes else None)
    return Model(name, "sleeping" if health.get("status") == "standby_deep" else "available")


def _failure(health: Mapping[str, Any]) -> str | None:
    return f"{COULD_NOT_LOAD} its model" if health.get("error") else None


async def _api(ask: Asker) -> Mapping[str, Any]:
    """Title and version of the API, without reading the long rest of the document."""
    try:
        answer = await ask.get("/openapi.json", API_SECONDS)
    except EngineError:
        # It is made at the first question, which can take long; next time it is there.
        return {}
    head = answer.body[:4096].decode("utf-8", errors="replace") if answer.status == 200 else ""
    if not (found := re.search(r'"info"\s*:\s*', head)):
        return {}
    try:
        return mapping(json.JSONDecoder().raw_decode(head, found.end())[0])
    except (ValueError, RecursionError):
        return {}
