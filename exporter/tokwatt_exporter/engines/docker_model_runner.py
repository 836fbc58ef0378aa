"""Docker Model Runner: llama.cpp and other servers that Docker starts for its models."""

from __future__ import annotations

from tokwatt_exporter.engines.answers import clean, known, mapping, rows
from tokwatt_exporter.engines.base import Asker, Model, State
from tokwatt_exporter.engines.exposition import Table, fetch
from tokwatt_exporter.engines.llama_cpp import METRICS as LLAMA_CPP
from tokwatt_exporter.engines.openai_compatible import SHARED_SECONDS, OpenAICompatible, model_rows, owned_by, owners
from tokwatt_exporter.engines.replies import STEADY_SECONDS, content, optional
from tokwatt_exporter.errors import EngineError

#: Those of its llama.cpp servers, each with the name of its model; there are none while no model runs.
METRICS = Table(LLAMA_CPP.rows, model="model")
NO_METRICS = "is running without metrics (DISABLE_METRICS=1): no token counters"


class DockerModelRunner(OpenAICompatible):
    """Docker Model Runner. /engines/requests is never asked: it contains the prompts."""

    kind = "docker_model_runner"
    ports = (12434,)
    unloads = True

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Its greeting, and Docker as the owner of its models where it has any."""
        first = await ask.get("/v1/models", SHARED_SECONDS)
        if not owned_by(first, "docker"):
            return None
        if (await ask.get("/", SHARED_SECONDS)).body.strip() != b"Docker Model Runner is running":
            return None
        return ["it greets as Docker Model Runner", *(["its models are owned by docker"] if owners(first) else [])]

    async def look(self, ask: Asker, name: str) -> State:
        """The models that run and those that are stored."""
        running = content(await ask.get("/engines/ps"))
        if not isinstance(running, list) and running is not None:
            raise EngineError("is not Docker Model Runner any more: /engines/ps lists nothing")
        models: dict[str, Model] = {}
        for row in rows(running):
            model = clean(row.get("model_name"))
            if model and (model not in models or row.get("loading") is not True):
                models[model] = Model(model, "loading" if row.get("loading") is True else "loaded")
        short = {_short(model) for model in models}
        for row in model_rows(await ask.get("/v1/models", STEADY_SECONDS)) or ():
            model = clean(row.get("id"))
            if model and _short(model) not in short:
                models.setdefault(model, Model(model, "available"))
        version = known(mapping(optional(await ask.get("/version", STEADY_SECONDS))).get("version"))
        loaded = sum(model.state == "loaded" for model in models.values())
        page, problem = await fetch(ask, METRICS, off={404: NO_METRICS})
        readings = page.readings(name)[0] if page else ()
        return State(version, tuple(models.values()), readings, loaded, problem, page.dropped if page else 0)

    async def unload(self, ask: Asker, model: str) -> bool:
        """Stop the servers of one model."""
        answer = await ask.post("/engines/unload", {"models": [model]})
        return bool(mapping(optional(answer)).get("unloaded_runners"))


def _short(model: str) -> str:
    # The two lists do not spell the same model alike.
    return model.removeprefix("docker.io/").removesuffix(":latest")
