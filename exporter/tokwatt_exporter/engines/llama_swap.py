"""llama-swap: a proxy that starts the server of a model when somebody asks for the model."""

from __future__ import annotations

from urllib.parse import quote

from tokwatt_exporter.engines.answers import clean, known, mapping, rows
from tokwatt_exporter.engines.base import Asker, Model, State
from tokwatt_exporter.engines.openai_compatible import (
    NEEDS_KEY,
    SHARED_SECONDS,
    OpenAICompatible,
    model_rows,
    owners,
)
from tokwatt_exporter.engines.replies import STEADY_SECONDS, content, optional, refused
from tokwatt_exporter.errors import EngineError

#: A server that starts or stops is in neither of the other states.
STATES = {"ready": "loaded", "starting": "loading"}


class LlamaSwap(OpenAICompatible):
    """llama-swap. /upstream would load a model and GET /unload would drop them all: neither is ever asked."""

    kind = "llama_swap"
    ports = (8080,)
    unloads = True

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Its name as the owner of its models, and its list of running ones."""
        if owners(await ask.get("/v1/models", SHARED_SECONDS)) != {"llama-swap"}:
            return None
        running = mapping(optional(await ask.get("/running"))).get("running")
        return ["its models are owned by llama-swap", "/running lists servers"] if isinstance(running, list) else None

    async def look(self, ask: Asker, name: str) -> State:
        """The models it knows and the servers that run; the servers have processes and counters of their own."""
        answer = await ask.get("/running")
        if refused(answer):
            return State(problem=NEEDS_KEY)
        running = mapping(content(answer)).get("running")
        if not isinstance(running, list):
            raise EngineError("is not llama-swap any more: /running lists no servers")
        models: dict[str, Model] = {}
        for row in rows(running):
            model, state = clean(row.get("model")), STATES.get(str(row.get("state")), "available")
            if model:
                models.setdefault(model, Model(model, state))  # type: ignore[arg-type]
        for row in model_rows(await ask.get("/v1/models", STEADY_SECONDS)) or ():
            model = clean(row.get("id"))
            if model:
                models.setdefault(model, Model(model, "available"))
        version = known(mapping(optional(await ask.get("/api/version", STEADY_SECONDS))).get("version"))
        loaded = sum(model.state == "loaded" for model in models.values())
        return State(version, tuple(models.values()), loaded=loaded)

    async def unload(self, ask: Asker, model: str) -> bool:
        """Stop the server of one model."""
        return (await ask.post(f"/api/models/unload/{quote(model)}", {})).status == 200
