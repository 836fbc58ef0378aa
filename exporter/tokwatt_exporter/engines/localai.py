"""LocalAI: one API in front of many backends."""

from __future__ import annotations

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.answers import clean, known, mapping, rows
from tokwatt_exporter.engines.base import Asker, Model, State
from tokwatt_exporter.engines.exposition import Row, Table, fetch
from tokwatt_exporter.engines.openai_compatible import (
    NEEDS_KEY,
    SHARED_SECONDS,
    OpenAICompatible,
    model_rows,
    owners,
)
from tokwatt_exporter.engines.replies import STEADY_SECONDS, content, optional, refused
from tokwatt_exporter.errors import EngineError

#: By user, model and kind. Its prompt tokens are those that are billed, not those that were processed.
METRICS = Table(
    (Row("localai_tokens_total", c.GENERATION_TOKENS, only={"kind": ("completion",)}),), model="served_model"
)
NO_METRICS = "is running without its metrics: no token counters"


class LocalAI(OpenAICompatible):
    """LocalAI."""

    kind = "localai"
    ports = (8080,)
    unloads = True

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Backends and loaded models on /system, beside a page that says whether it is ready."""
        if owners(await ask.get("/v1/models", SHARED_SECONDS)) != set():
            return None
        if (await ask.get("/readyz")).status not in (200, 503):
            return None
        system = mapping(optional(await ask.get("/system")))
        if not isinstance(system.get("loaded_models"), list) or "backends" not in system:
            return None
        return ["/system lists its backends and loaded models", "/readyz says whether it is ready"]

    async def look(self, ask: Asker, name: str) -> State:
        """The models in memory and the configured ones."""
        answer = await ask.get("/system")
        if refused(answer):
            return State(problem=NEEDS_KEY)
        system = mapping(content(answer))
        if "loaded_models" not in system:
            raise EngineError("is not LocalAI any more: /system lists no loaded models")
        loaded = {text: None for row in rows(system["loaded_models"]) if (text := clean(row.get("id")))}
        listed = model_rows(await ask.get("/v1/models", STEADY_SECONDS)) or ()
        available = {text: None for row in listed if (text := clean(row.get("id"))) and text not in loaded}
        models = (*(Model(text, "loaded") for text in loaded), *(Model(text, "available") for text in available))
        page, problem = await fetch(ask, METRICS, off={404: NO_METRICS, 401: NO_METRICS, 403: NO_METRICS})
        readings = page.readings(name)[0] if page else ()
        return State(await _version(ask), models, readings, len(loaded), problem, page.dropped if page else 0)

    async def unload(self, ask: Asker, model: str) -> bool:
        """Stop the backend of a model."""
        return (await ask.post("/backend/shutdown", {"model": model})).status == 200


async def _version(ask: Asker) -> str | None:
    text = known(mapping(optional(await ask.get("/version", STEADY_SECONDS))).get("version"))
    # The commit follows in brackets.
    return known(text.partition(" (")[0]) if text else None
