"""mlx_vlm.server; its /metrics is JSON, with totals of the whole server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.answers import clean, known, mapping, number, positive
from tokwatt_exporter.engines.base import Answer, Asker, Model, State
from tokwatt_exporter.engines.openai_compatible import NEEDS_KEY, SHARED_SECONDS, OpenAICompatible, model_rows
from tokwatt_exporter.engines.replies import SEARCH_SECONDS, content, engine_wide, refused
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.snapshot import Reading


class MlxVlm(OpenAICompatible):
    """mlx_vlm.server."""

    kind = "mlx_vlm"
    ports = (8080,)
    unloads = True

    #: It has no /v1/completions.
    apis = ("chat",)

    async def recognise(self, ask: Asker) -> list[str] | None:
        """The `Server` header with its name and version, which every answer carries."""
        first = await ask.get("/v1/models", SHARED_SECONDS)
        version = _version(first)
        return [f"answers carry the header Server: mlx_vlm/{version}"] if version else None

    async def look(self, ask: Asker, name: str) -> State:
        """Models in memory and on disk, requests, and tokens since the start."""
        answer = await ask.get("/metrics")
        version = _version(answer)
        if not version:
            raise EngineError("is not mlx_vlm.server any more")
        if refused(answer):
            return State(version, problem=NEEDS_KEY)
        body = mapping(content(answer))
        server = mapping(body.get("server"))
        loaded = _loaded(server)
        available = [Model(text, "available") for text in await _listed(ask) if text not in loaded]
        readings = _readings(name, mapping(body.get("summary")), server)
        return State(version, (*loaded.values(), *available), readings, len(loaded))

    async def unload(self, ask: Asker, model: str) -> bool:
        """It drops whatever it has loaded, so it is asked only while that is this model alone."""
        if list(_loaded(mapping(mapping(content(await ask.get("/metrics"))).get("server")))) != [model]:
            return False
        answer = await ask.post("/unload", {})
        return answer.status == 200 and mapping(answer.json()).get("status") == "success"


def _version(answer: Answer) -> str | None:
    name, _, version = answer.headers.get("server", "").partition("/")
    return known(version) if name == "mlx_vlm" else None


def _loaded(server: Mapping[str, Any]) -> dict[str, Model]:
    models: dict[str, Model] = {}
    for group, row in mapping(server.get("loaded_models")).items():
        name = clean(mapping(row).get("model"))
        if name:
            context = positive(server.get("effective_context_limit")) if group == "text_generation" else None
            models.setdefault(name, Model(name, "loaded", context_tokens=context))
    return models


async def _listed(ask: Asker) -> list[str]:
    try:
        listed = model_rows(await ask.get("/v1/models", SEARCH_SECONDS))
    except EngineError:
        # It searches the disk for them, and what is in memory is known all the same.
        return []
    return list(dict.fromkeys(text for row in listed or [] if (text := clean(row.get("id")))))


def _readings(name: str, summary: Mapping[str, Any], server: Mapping[str, Any]) -> tuple[Reading, ...]:
    begun, waiting = number(summary.get("in_flight")), number(server.get("request_queue_depth"))
    completed, failed = number(summary.get("requests_completed")), number(summary.get("requests_failed"))
    return engine_wide(
        name,
        (
            (c.REQUESTS_RUNNING, None if begun is None or waiting is None else max(begun - waiting, 0)),
            (c.REQUESTS_WAITING, waiting),
            (c.REQUESTS, None if completed is None or failed is None else completed + failed),
            (c.REQUESTS_FAILED, failed),
            # With its prefix cache on, tokens found there are among them.
            (c.PROMPT_TOKENS, number(summary.get("prompt_tokens_total"))),
            (c.GENERATION_TOKENS, number(summary.get("generated_tokens_total"))),
        ),
    )
