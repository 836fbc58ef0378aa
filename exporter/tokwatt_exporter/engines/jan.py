"""Jan: a proxy in the app, in front of the llama-server processes that it starts."""

from __future__ import annotations

from typing import Literal

from tokwatt_exporter.engines.answers import clean, mapping
from tokwatt_exporter.engines.base import Answer, Asker, Model, State
from tokwatt_exporter.engines.openai_compatible import NEEDS_KEY, SHARED_SECONDS, OpenAICompatible, model_rows
from tokwatt_exporter.engines.replies import optional, refused
from tokwatt_exporter.errors import EngineError

UNTRUSTED = b"Invalid host header"
REFUSALS = (UNTRUSTED, b"Missing authorization header", b"Invalid or missing authorization token")
#: Owners of models that Jan runs itself, with their format where that says it; the others are providers elsewhere.
OWN = {"user": None, "llama.cpp": "gguf", "mlx": "mlx"}
NOT_TRUSTED = "does not trust this host name; add it to the trusted hosts of Jan's local API server"


class Jan(OpenAICompatible):
    """Jan's local API server."""

    kind = "jan"
    ports = (1337,)

    async def recognise(self, ask: Asker) -> list[str] | None:
        """The title of its API, which it shows to anybody; asked for where the rest may be Jan's."""
        first = await ask.get("/v1/models", SHARED_SECONDS)
        listed = model_rows(first)
        # Jan names the owner of every model.
        if not _refused(first) and (listed is None or not all(row.get("owned_by") for row in listed)):
            return None
        title = clean(mapping(mapping(optional(await ask.get("/openapi.json"))).get("info")).get("title"))
        if not title or not title.startswith("Jan API"):
            return None
        return [f"/openapi.json says {title}", *(["its refusal is Jan's"] if _refused(first) else [])]

    async def look(self, ask: Asker, name: str) -> State:
        """The models of running servers, and those of other providers; Jan says neither version nor counters."""
        answer = await ask.get("/v1/models")
        if refused(answer):
            return State(problem=NOT_TRUSTED if answer.body == UNTRUSTED else NEEDS_KEY)
        listed = model_rows(answer)
        if listed is None:
            raise EngineError(f"has no list of models on /v1/models any more (HTTP {answer.status})")
        models: dict[str, Model] = {}
        for row in listed:
            model, owner = clean(row.get("id")), str(row.get("owned_by"))
            if model:
                state: Literal["loaded", "available"] = "loaded" if owner in OWN else "available"
                models.setdefault(model, Model(model, state, format=OWN.get(owner)))
        loaded = sum(model.state == "loaded" for model in models.values())
        return State(models=tuple(models.values()), loaded=loaded)


def _refused(answer: Answer) -> bool:
    return refused(answer) and answer.body in REFUSALS
