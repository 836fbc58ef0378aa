"""Ollama, by its own API; it publishes no counters."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from tokwatt_exporter.engines.answers import clean, known, mapping, number, positive, rows, unload_time
from tokwatt_exporter.engines.base import Api, Asker, Engine, Generation, Loading, Model, State
from tokwatt_exporter.engines.openai_compatible import SHARED_SECONDS, api_of, chosen, model_rows, openai_generation
from tokwatt_exporter.engines.replies import STEADY_SECONDS, content, optional
from tokwatt_exporter.errors import EngineError


class Ollama(Engine):
    """Ollama. At least six other servers answer on its paths, so it is known by what those get wrong."""

    kind: ClassVar[str] = "ollama"
    ports: ClassVar[tuple[int, ...]] = (11434,)
    unloads = True
    apis: ClassVar[tuple[Api, ...]] = ("native", "chat", "completions")

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Its greeting to the byte, its version, and rows as only Ollama writes them."""
        # Asked first because every engine may be asked for it; a web server of any kind then sees one question only.
        if model_rows(await ask.get("/v1/models", SHARED_SECONDS)) is None:
            return None
        # vMLX ends the greeting with a newline.
        if (await ask.get("/", SHARED_SECONDS)).body != b"Ollama is running":
            return None
        version = known(mapping(content(await ask.get("/api/version"))).get("version"))
        if not version:
            return None
        proof = await _proof(ask)
        return [f"/api/version says {version}", proof] if proof else None

    async def look(self, ask: Asker, name: str) -> State:
        """Loaded models with their memory and unload time, and those on disk."""
        running = content(await ask.get("/api/ps"))
        if not isinstance(running, dict) or "models" not in running:
            raise EngineError("is not Ollama any more: /api/ps lists no models")
        now = time.time()
        loaded = {model.name: model for row in rows(running["models"]) if (model := _loaded(row, now))}
        version = known(mapping(optional(await ask.get("/api/version", STEADY_SECONDS))).get("version"))
        listed = rows(mapping(optional(await ask.get("/api/tags", STEADY_SECONDS))).get("models"))
        # 0.40 lists a name twice when it has two formats of it.
        stored = dict.fromkeys(text for row in listed if (text := clean(row.get("name"))))
        available = tuple(Model(text, "available") for text in stored if text not in loaded)
        return State(version, (*loaded.values(), *available), loaded=len(loaded))

    def generation(
        self, model: str, messages: Iterable[Mapping[str, str]], max_tokens: int, api: Api | None = None, **options: Any
    ) -> Generation:
        """A chat streamed as lines of JSON, the only dialect in which Ollama reports its own durations; or OpenAI's."""
        api, more = api_of(self, api), chosen(options, "seed", "temperature")
        if api != "native":
            return openai_generation(api, model, messages, max_tokens, more)
        body = {
            "model": model,
            "messages": [dict(message) for message in messages],
            "stream": True,
            "options": {"num_predict": max_tokens, **more},
        }
        return Generation("/api/chat", body, "ollama")

    async def unload(self, ask: Asker, model: str) -> bool:
        """A generation without a prompt that keeps the model for no time."""
        return (await ask.post("/api/generate", {"model": model, "keep_alive": 0})).status == 200

    async def load(self, ask: Asker, model: str) -> Loading | None:
        """A generation without a prompt, which is answered when the model is there."""
        answer = await ask.post("/api/generate", {"model": model, "stream": False})
        return Loading() if answer.status == 200 else None


def _loaded(row: Mapping[str, Any], now: float) -> Model | None:
    name, details, size = clean(row.get("name")), mapping(row.get("details")), positive(row.get("size"))
    if not name:
        return None
    return Model(
        name,
        "loaded",
        quantization=known(details.get("quantization_level")),
        format=known(details.get("format")),
        memory_bytes=size,
        gpu_memory_bytes=number(row.get("size_vram")) if size else None,
        context_tokens=positive(row.get("context_length")),
        expires=unload_time(row.get("expires_at"), now),
    )


async def _proof(ask: Asker) -> str | None:
    running = rows(mapping(content(await ask.get("/api/ps"))).get("models"))
    if running:
        genuine = all(_genuine(row) and "expires_at" in row and "size_vram" in row for row in running)
        return "/api/ps has its digests, sizes and unload times" if genuine else None
    stored = rows(mapping(optional(await ask.get("/api/tags"))).get("models"))
    if stored:
        return "/api/tags has its digests" if all(_genuine(row) for row in stored) else None
    # Nothing in memory nor on disk: LocalAI answers /readyz, Ollama's router has its own words for a missing page.
    missing = await ask.get("/readyz")
    return "its words for a missing page" if (missing.status, missing.body) == (404, b"404 page not found") else None


def _genuine(row: Mapping[str, Any]) -> bool:
    digest, family = str(row.get("digest")), mapping(row.get("details")).get("family")
    return bool(re.fullmatch(r"[0-9a-f]{64}", digest)) and family != "koboldcpp"
