"""vLLM: its list of models, its version and its own counters, which are on by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.answers import clean, known, mapping, positive
from tokwatt_exporter.engines.base import Asker, Model, State
from tokwatt_exporter.engines.exposition import Page, Row, Table, fetch
from tokwatt_exporter.engines.keyed import speaks
from tokwatt_exporter.engines.openai_compatible import NEEDS_KEY, SHARED_SECONDS, OpenAICompatible, model_rows, owners
from tokwatt_exporter.engines.replies import STEADY_SECONDS, optional, refused
from tokwatt_exporter.errors import EngineError

SLEEP = "vllm:engine_sleep_state"

#: Of the histograms of prefill and decode only the sums are read: time spent, which is what makes a speed.
METRICS = Table((
    Row("vllm:num_requests_running", c.REQUESTS_RUNNING, always=True),
    Row("vllm:num_requests_waiting", c.REQUESTS_WAITING, always=True),
    Row("vllm:request_success_total", c.REQUESTS, always=True),
    # An abort is the client's doing.
    Row("vllm:request_success_total", c.REQUESTS_FAILED, only={"finished_reason": ("error",)}),
    Row("vllm:kv_cache_usage_perc", c.KV_CACHE_USAGE, always=True),
    Row("vllm:gpu_cache_usage_perc", c.KV_CACHE_USAGE, before="0.13"),
    # gpu_prefix_cache_* of old versions counted blocks.
    Row("vllm:prefix_cache_queries_total", c.PREFIX_CACHE_QUERIES),
    Row("vllm:prefix_cache_hits_total", c.PREFIX_CACHE_HITS),
    # What was really computed; the counters after these two hold the cached tokens too.
    Row("vllm:prompt_tokens_by_source_total", c.PROMPT_TOKENS, only={"source": ("local_compute",)}),
    Row("vllm:request_prefill_kv_computed_tokens_sum", c.PROMPT_TOKENS),
    Row("vllm:prompt_tokens_total", c.PROMPT_TOKENS, always=True),
    Row("vllm:generation_tokens_total", c.GENERATION_TOKENS, always=True),
    Row("vllm:request_prefill_time_seconds_sum", c.PROMPT_SECONDS),
    Row("vllm:request_decode_time_seconds_sum", c.GENERATION_SECONDS),
    Row("vllm:num_preemptions_total", c.PREEMPTIONS),
    Row("vllm:time_to_first_token_seconds", c.TIME_TO_FIRST_TOKEN, always=True),
    Row("vllm:inter_token_latency_seconds", c.INTER_TOKEN_LATENCY),
    Row("vllm:time_per_output_token_seconds", c.INTER_TOKEN_LATENCY, before="0.13"),
    Row("vllm:e2e_request_latency_seconds", c.REQUEST_DURATION, always=True),
), model="model_name", also=(SLEEP,))  # fmt: skip

NO_METRICS = "has no metrics of its own on /metrics, as with --disable-log-stats: no token counters"


class VLLM(OpenAICompatible):
    """vLLM. What is listed without a parent is in memory, unless the engine says that it sleeps."""

    kind = "vllm"
    ports = (8000,)

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Owner of every listed model and a version; with an API key, the names of its metrics and a version."""
        owned = owners(await ask.get("/v1/models", SHARED_SECONDS)) == {"vllm"}
        metric = None if owned else await speaks(ask, "vllm:")
        version = await _version(ask) if owned or metric else None
        if not version:
            return None
        return ["its models are owned by vllm" if owned else f"/metrics has {metric}", f"/version says {version}"]

    async def look(self, ask: Asker, name: str) -> State:
        """Models with their context, and its counters, over all engines of a data-parallel server."""
        answer = await ask.get("/v1/models")
        listed = model_rows(answer)
        if not refused(answer) and owners(answer) != {"vllm"}:
            raise EngineError(f"is not vLLM any more (HTTP {answer.status} on /v1/models)")
        version = await _version(ask)
        page, problem = await fetch(ask, METRICS)
        if page and not any(page.has(row.theirs) for row in METRICS.rows):
            page, problem = None, NO_METRICS
        sleeping = page is not None and _sleeps(page)
        models = _models(listed or [], sleeping)
        readings, lacks = page.readings(name, models[0].name if models else None, version) if page else ((), None)
        loaded = None if listed is None else sum(model.state == "loaded" for model in models)
        problem = NEEDS_KEY if refused(answer) else problem or lacks
        return State(version, models, readings, loaded, problem, page.dropped if page else 0)


def _models(listed: list[Mapping[str, Any]], sleeping: bool) -> tuple[Model, ...]:
    models: dict[str, Model] = {}
    roots: set[object] = set()
    for row in listed:
        name, root = clean(row.get("id")), clean(row.get("root")) or clean(row.get("id"))
        # One model may be served under several names: its metrics have the first.
        if not name or name in models or (root in roots and not row.get("parent")):
            continue
        if row.get("parent"):
            # An adapter: whether it is in memory now is not said.
            models[name] = Model(name, "available")
        else:
            roots.add(root)
            context = positive(row.get("max_model_len"))
            models[name] = Model(name, "sleeping" if sleeping else "loaded", context_tokens=context)
    return tuple(models.values())


def _sleeps(page: Page) -> bool:
    awake = [sample.value for sample in page.samples(SLEEP) if sample.labels.get("sleep_state") == "awake"]
    return bool(awake) and all(value == 0 for value in awake)


async def _version(ask: Asker) -> str | None:
    return known(mapping(optional(await ask.get("/version", STEADY_SECONDS))).get("version"))
