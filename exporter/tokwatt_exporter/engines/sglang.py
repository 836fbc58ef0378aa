"""SGLang. Its /health generates a token, so it is never asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.answers import clean, known, mapping, positive
from tokwatt_exporter.engines.base import Asker, Model, State
from tokwatt_exporter.engines.exposition import Row, Table, fetch
from tokwatt_exporter.engines.keyed import speaks
from tokwatt_exporter.engines.openai_compatible import NEEDS_KEY, SHARED_SECONDS, OpenAICompatible, model_rows, owners
from tokwatt_exporter.engines.replies import STEADY_SECONDS, optional, refused
from tokwatt_exporter.errors import EngineError

#: With priorities there is a total without one, and a part for each.
TOTAL = {"priority": ("",)}

METRICS = Table((
    Row("sglang:num_running_reqs", c.REQUESTS_RUNNING, only=TOTAL, always=True),
    Row("sglang:num_queue_reqs", c.REQUESTS_WAITING, only=TOTAL, always=True),
    # An aborted request is not a failed one; failures are not counted.
    Row("sglang:num_requests_total", c.REQUESTS, always=True),
    # The fullest of its pools.
    Row("sglang:token_usage", c.KV_CACHE_USAGE, always=True),
    Row("sglang:cached_tokens_total", c.PREFIX_CACHE_HITS),
    # What was really computed; the counter after it holds the cached tokens too.
    Row("sglang:uncached_prompt_tokens_histogram_sum", c.PROMPT_TOKENS),
    Row("sglang:prompt_tokens_total", c.PROMPT_TOKENS, always=True),
    Row("sglang:generation_tokens_total", c.GENERATION_TOKENS, always=True),
    Row("sglang:num_retracted_requests_total", c.PREEMPTIONS),
    Row("sglang:time_to_first_token_seconds", c.TIME_TO_FIRST_TOKEN),
    Row("sglang:inter_token_latency_seconds", c.INTER_TOKEN_LATENCY),
    Row("sglang:e2e_request_latency_seconds", c.REQUEST_DURATION),
    # With --enable-metrics-for-all-schedulers every rank of a replica says the same.
), model="model_name", copies=frozenset({"tp_rank", "pp_rank", "moe_ep_rank"}),
    working="sglang:num_requests_total")  # fmt: skip

NO_METRICS = "is running without --enable-metrics: no token counters"


class SGLang(OpenAICompatible):
    """SGLang. Which models it serves is what it has in memory."""

    kind = "sglang"
    ports = (30000,)

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Owner of every listed model and its own page on the model; with an API key, the names of its metrics."""
        if owners(await ask.get("/v1/models", SHARED_SECONDS)) == {"sglang"}:
            for path in ("/model_info", "/get_model_info"):
                about = mapping(optional(await ask.get(path)))
                if "model_path" in about and "is_generation" in about:
                    return ["its models are owned by sglang", f"{path} says which model it serves"]
            return None
        metric = await speaks(ask, "sglang:")
        return [f"/metrics has {metric}"] if metric else None

    async def look(self, ask: Asker, name: str) -> State:
        """Models with their context and quantization, and its counters over all data-parallel replicas."""
        answer = await ask.get("/v1/models")
        listed = model_rows(answer)
        if not refused(answer) and owners(answer) != {"sglang"}:
            raise EngineError(f"is not SGLang any more (HTTP {answer.status} on /v1/models)")
        about = await _about(ask)
        version = known(about.get("version"))
        models = _models(listed or [], about)
        page, problem = await fetch(ask, METRICS, off={404: NO_METRICS})
        readings, lacks = page.readings(name, models[0].name if models else None, version) if page else ((), None)
        loaded = None if listed is None else sum(model.state == "loaded" for model in models)
        problem = NEEDS_KEY if refused(answer) else problem or lacks
        return State(version, models, readings, loaded, problem, page.dropped if page else 0)


async def _about(ask: Asker) -> Mapping[str, Any]:
    """What it was started with; the older name of the page still answers, with a warning in its log."""
    for path in ("/server_info", "/get_server_info"):
        answer = await ask.get(path, STEADY_SECONDS)
        if answer.status != 404:
            return mapping(optional(answer))
    return {}


def _models(listed: list[Mapping[str, Any]], about: Mapping[str, Any]) -> tuple[Model, ...]:
    models: dict[str, Model] = {}
    for row in listed:
        name = clean(row.get("id"))
        if not name or name in models:
            continue
        if row.get("parent"):
            # An adapter: whether it is in memory now is not said.
            models[name] = Model(name, "available")
        else:
            context = positive(row.get("max_model_len"))
            models[name] = Model(
                name, "loaded", quantization=known(about.get("quantization")), context_tokens=context
            )  # fmt: skip
    return tuple(models.values())
