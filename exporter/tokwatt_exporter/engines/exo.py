"""Exo: one API for the models of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from tokwatt_exporter.engines.answers import clean, known, mapping, rows
from tokwatt_exporter.engines.base import Asker, Loading, Model, State
from tokwatt_exporter.engines.openai_compatible import SHARED_SECONDS, OpenAICompatible, model_rows, owners
from tokwatt_exporter.engines.replies import STEADY_SECONDS, content, optional
from tokwatt_exporter.errors import EngineError

READY = {"RunnerReady", "RunnerRunning"}
GONE = {"RunnerFailed", "RunnerShuttingDown", "RunnerShutdown"}
#: What an instance runs on, by how its name begins.
FORMATS = {"Mlx": "mlx", "LlamaCpp": "gguf"}


class Exo(OpenAICompatible):
    """Exo. Its tasks are never asked for: they contain the prompts."""

    kind = "exo"
    ports = (52415,)
    unloads = True
    #: It has no /v1/completions.
    apis = ("chat",)

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Its name as the owner of its models, and a node with an identity."""
        if owners(await ask.get("/v1/models", SHARED_SECONDS)) != {"exo"}:
            return None
        node = optional(await ask.get("/node_id"))
        return ["its models are owned by exo", "/node_id names its node"] if isinstance(node, str) and node else None

    async def look(self, ask: Asker, name: str) -> State:
        """The instances in the cluster and the downloaded models; Exo says neither its version nor its counters."""
        instances, runners = await _state(ask)
        # Older ones know no filter and list everything that could be downloaded.
        listed = model_rows(await ask.get("/v1/models?status=downloaded", STEADY_SECONDS)) or []
        facts = {text: row for row in listed if (text := clean(row.get("id")))}
        models: dict[str, Model] = {}
        for tagged in instances.values():
            model = _instance(mapping(tagged), runners, facts)
            if model and (model.name not in models or model.state == "loaded"):
                models[model.name] = model
        available = [Model(text, "available", _quantization(row)) for text, row in facts.items() if text not in models]
        failed = [model.name for model in models.values() if model.state == "available"]
        return State(
            models=(*models.values(), *available),
            loaded=sum(model.state == "loaded" for model in models.values()),
            problem=f"has an instance of {failed[0]} that does not run" if failed else None,
        )

    async def unload(self, ask: Asker, model: str) -> bool:
        """Take down every instance of a model."""
        instances, runners = await _state(ask)
        found = {name: _instance(mapping(tagged), runners, {}) for name, tagged in instances.items()}
        mine = [name for name, one in found.items() if one and one.name == model]
        answers = [await ask.delete(f"/instance/{quote(name, safe='')}") for name in mine]
        return bool(answers) and all(answer.status == 200 for answer in answers)

    async def load(self, ask: Asker, model: str) -> Loading | None:
        """Have the cluster place an instance of a model; it answers before the model is there."""
        return Loading() if (await ask.post("/place_instance", {"model_id": model})).status == 200 else None


async def _state(ask: Asker) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    # By its parts, because the whole has every node, disk and download in it.
    instances = optional(await ask.get("/state/instances"))
    if isinstance(instances, dict):
        return instances, mapping(optional(await ask.get("/state/runners")))
    whole = mapping(content(await ask.get("/state")))
    if not isinstance(whole.get("instances"), dict):
        raise EngineError("is not Exo any more: /state has no instances")
    return whole["instances"], mapping(whole.get("runners"))


def _instance(
    tagged: Mapping[str, Any], runners: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]]
) -> Model | None:
    tag = next(iter(tagged), "")
    body = mapping(tagged.get(tag))
    shards = mapping(body.get("shardAssignments") or body.get("shard_assignments"))
    name = clean(shards.get("modelId") or shards.get("model_id"))
    if not name:
        return None
    found = {next(iter(mapping(runners.get(runner))), "") for runner in _runners(shards)}
    format = next((format for begin, format in FORMATS.items() if str(tag).startswith(begin)), None)
    return Model(name, _state_of(found), _quantization(facts.get(name, {})), format)


def _state_of(runners: set[str]) -> Literal["loaded", "loading", "available"]:
    if runners & GONE:
        return "available"
    return "loaded" if runners and runners <= READY else "loading"


def _runners(shards: Mapping[str, Any]) -> list[str]:
    by_runner = mapping(shards.get("runnerToShard") or shards.get("runner_to_shard"))
    # Newer ones write rows of node, runner and shard.
    listed = shards.get("shards")
    triples = [row for row in listed if isinstance(row, list) and len(row) > 1] if isinstance(listed, list) else []
    named = [row.get("runnerId") or row.get("runner_id") for row in rows(listed)]
    return [runner for runner in (*by_runner, *(row[1] for row in triples), *named) if isinstance(runner, str)]


def _quantization(row: Mapping[str, Any]) -> str | None:
    return known(row.get("quantization"))
