"""KoboldCpp, by its own API; it keeps no totals, only figures of the last request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.answers import clean, known, mapping, number, positive
from tokwatt_exporter.engines.base import Asker, Model, State
from tokwatt_exporter.engines.openai_compatible import NEEDS_KEY, SHARED_SECONDS, OpenAICompatible, owners
from tokwatt_exporter.engines.replies import STEADY_SECONDS, content, engine_wide, optional, refused
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.snapshot import Reading

VERSION = "/api/extra/version"
#: What it calls its model where there is none, and where it does not tell without the password.
NOTHING, PROTECTED = "inactive", "protected-model"


class KoboldCpp(OpenAICompatible):
    """KoboldCpp, with one model at most."""

    kind = "koboldcpp"
    ports = (5001,)

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Its name on its own page for the version, which needs no password."""
        first = await ask.get("/v1/models", SHARED_SECONDS)
        by_header = first.headers.get("server", "").startswith("ConcedoLlamaForKoboldServer")
        if not by_header and owners(first) != {"koboldcpp"}:
            return None
        facts = mapping(optional(await ask.get(VERSION)))
        if facts.get("result") != "KoboldCpp":
            return None
        return [f"{VERSION} says KoboldCpp", "so does its header" if by_header else "so does the owner of its model"]

    async def look(self, ask: Asker, name: str) -> State:
        """Version, model, context, and requests."""
        answer = await ask.get(VERSION, STEADY_SECONDS)
        facts = mapping(content(answer))
        if facts.get("result") != "KoboldCpp":
            raise EngineError(f"is not KoboldCpp any more: {VERSION} says something else")
        version = known(facts.get("version"))
        asked = await ask.get("/api/v1/model")
        if refused(asked):
            return State(version, problem=NEEDS_KEY)
        model = clean(mapping(content(asked)).get("result"))
        readings = _readings(name, mapping(optional(await ask.get("/api/extra/perf"))))
        short = (model or "").rpartition("/")[2]
        if not model or short == PROTECTED:
            return State(version, readings=readings, problem=NEEDS_KEY)
        if short == NOTHING or facts.get("llm") is False:
            return State(version, readings=readings, loaded=0)
        context = mapping(optional(await ask.get("/api/extra/true_max_context_length", STEADY_SECONDS))).get("value")
        return State(version, (Model(model, "loaded", context_tokens=positive(context)),), readings, 1)


def _readings(name: str, perf: Mapping[str, Any]) -> tuple[Reading, ...]:
    # One request at a time; the others wait. Its speeds are those of the last one, at any age.
    idle = number(perf.get("idle"))
    running = None if idle not in (0, 1) else 1 - idle
    return engine_wide(name, ((c.REQUESTS_RUNNING, running), (c.REQUESTS_WAITING, number(perf.get("queue")))))
