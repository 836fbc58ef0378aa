"""LM Studio, and Bionic, its successor. An unknown path is HTTP 200 with an error in it, and an error in the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tokwatt_exporter.engines.answers import clean, known, mapping, positive, rows
from tokwatt_exporter.engines.base import Answer, Api, Asker, Generation, Loading, Model, State
from tokwatt_exporter.engines.openai_compatible import (
    NEEDS_KEY,
    SHARED_SECONDS,
    OpenAICompatible,
    chosen,
    model_rows,
    text_of,
)  # fmt: skip
from tokwatt_exporter.engines.replies import SEARCH_SECONDS, optional, refused
from tokwatt_exporter.errors import EngineError, UsageError

#: Since 0.4.0; before, there was only the other one.
MODELS, OLD_MODELS = "/api/v1/models", "/api/v0/models"

STATES = {"loaded": "loaded", "loading": "loading"}


class LMStudio(OpenAICompatible):
    """LM Studio. Only its lists of models are asked for: a request that names a model would load it."""

    kind = "lm_studio"
    ports = (1234, 41343)
    unloads = True
    apis = ("chat", "completions", "native")

    async def recognise(self, ask: Asker) -> list[str] | None:
        """The greeting by which its own clients know it, or its name in the demand for a token."""
        first = await ask.get("/v1/models", SHARED_SECONDS)
        if _wants_token(first):
            return ["it asks for an LM Studio API token"]
        if model_rows(first) is None:
            return None
        greeting = mapping(optional(await ask.get("/lmstudio-greeting")))
        return ["/lmstudio-greeting says so"] if greeting.get("lmstudio") is True else None

    async def look(self, ask: Asker, name: str) -> State:
        """The models with what is loaded of them; LM Studio does not say its version nor the memory they take."""
        # Rarely, since a question for a page that it does not have is an error in the user's log.
        if _missing(await ask.get(MODELS, SEARCH_SECONDS)):
            return _old(await ask.get(OLD_MODELS))
        answer = await ask.get(MODELS)
        if refused(answer) or _wants_token(answer):
            return State(problem=NEEDS_KEY)
        listed = mapping(optional(answer)).get("models")
        if not isinstance(listed, list):
            raise EngineError(f"is not LM Studio any more: {MODELS} lists no models")
        return _state([model for row in rows(listed) for model in _instances(row)])

    def generation(
        self, model: str, messages: Iterable[Mapping[str, str]], max_tokens: int, api: Api | None = None, **options: Any
    ) -> Generation:
        """OpenAI's, or its own since 0.4.0, in which it reports its load and prompt processing; that takes no seed."""
        if api != "native":
            return super().generation(model, messages, max_tokens, api, **options)
        more = chosen(options, "seed", "temperature")
        if "seed" in more:
            raise UsageError("--seed: the native API of lm_studio takes none")
        # What is not told to forget a chat keeps it.
        body = {"model": model, "input": text_of(messages), "max_output_tokens": max_tokens, "store": False}
        return Generation("/api/v1/chat", body | {"stream": True} | more, "lm_studio")

    async def unload(self, ask: Asker, model: str) -> bool:
        """Drop a loaded instance, which is named like the model where there is only one."""
        answer = await ask.post("/api/v1/models/unload", {"instance_id": model})
        return clean(mapping(optional(answer)).get("instance_id")) is not None

    async def load(self, ask: Asker, model: str) -> Loading | None:
        """Load it as it is set up; a model that is loaded already gets another instance."""
        said = mapping(optional(await ask.post("/api/v1/models/load", {"model": model})))
        return Loading(positive(said.get("load_time_seconds"))) if said.get("status") == "loaded" else None


def _instances(row: dict[str, Any] | Any) -> list[Model]:
    key = clean(row.get("key"))
    if not key:
        return []
    quantization, format = known(mapping(row.get("quantization")).get("name")), known(row.get("format"))
    loaded = [
        Model(
            clean(instance.get("id")) or key,
            "loaded",
            quantization,
            format,
            context_tokens=positive(mapping(instance.get("config")).get("context_length")),
        )
        for instance in rows(row.get("loaded_instances"))
    ]
    # size_bytes is the file on disk, max_context_length what the model could do: neither is in memory.
    return loaded or [Model(key, "available", quantization, format)]


def _old(answer: Answer) -> State:
    if refused(answer) or _wants_token(answer):
        return State(problem=NEEDS_KEY)
    if model_rows(answer) is None:
        raise EngineError(f"is not LM Studio any more: {OLD_MODELS} lists no models")
    models = []
    for row in rows(mapping(answer.json()).get("data")):
        state = STATES.get(str(row.get("state")), "available")
        context = positive(row.get("loaded_context_length")) if state == "loaded" else None
        models.append(
            Model(
                clean(row.get("id")) or "",
                state,  # type: ignore[arg-type]
                known(row.get("quantization")),
                known(row.get("compatibility_type")),
                context_tokens=context,
            )
        )
    return _state(models)


def _state(models: list[Model]) -> State:
    named: dict[str, Model] = {}
    for model in models:
        if model.name not in named or model.state == "loaded":
            named[model.name] = model
    return State(models=tuple(named.values()), loaded=sum(model.state == "loaded" for model in named.values()))


def _missing(answer: Answer) -> bool:
    error = mapping(optional(answer)).get("error")
    return answer.status == 404 or (isinstance(error, str) and error.startswith("Unexpected endpoint"))


def _wants_token(answer: Answer) -> bool:
    # Not by the status, of which LM Studio is sparing.
    return b"LM Studio API token" in answer.body[:4096]
