"""The JSON Schema of what `--json` prints and of documents with results: keys may be added, none goes or changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
MAYBE_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
NUMBER: Schema = {"type": "number"}
TEXTS: Schema = {"type": "array", "items": TEXT}
MAYBE_NUMBER: Schema = {"type": ["number", "null"]}


def _object(required: Mapping[str, Schema], **optional: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


INTERVAL: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
SUMMARY = _object(
    {
        "p50": MAYBE_NUMBER, "p95": MAYBE_NUMBER, "p99": MAYBE_NUMBER,
        "ci95": {**INTERVAL, "type": ["array", "null"]},
        "count": COUNT,
    },
    # The largest sample, and intervals of the quantiles that have one.
    max=MAYBE_NUMBER, intervals={"type": "object", "additionalProperties": INTERVAL}, source=MAYBE_TEXT,
)  # fmt: skip

#: What every result has; `load_seconds` only those that loaded.
_SUMMARIES = (
    "time_to_first_token_seconds", "time_to_first_answer_token_seconds", "engine_time_to_first_token_seconds",
    "inter_token_latency_seconds", "mean_inter_token_latency_seconds", "generation_tokens_per_second",
    "prompt_tokens_per_second", "chunk_gap_seconds", "connect_seconds", "request_duration_seconds",
)  # fmt: skip

TOKENS = _object(
    {
        "prompt": MAYBE_COUNT, "generated": MAYBE_COUNT, "cached": MAYBE_COUNT, "source": MAYBE_TEXT,
        "warmup_prompt": MAYBE_COUNT, "warmup_generated": MAYBE_COUNT,
    }
)  # fmt: skip
CHUNKS = _object(dict.fromkeys(("per_request", "tokens_per_chunk", "shared_read_ratio"), MAYBE_NUMBER))
FAILURE = _object({"class": TEXT, "count": COUNT, "detail": TEXT, "requests": {"type": "array", "items": COUNT}})

#: States as words, numbers with their unit at the end of the name; what was not known then is not there.
SAMPLE = _object({"time": {"type": "integer"}})
CONDITIONS = _object(
    {
        "before": {**SAMPLE, "type": ["object", "null"]}, "after": {**SAMPLE, "type": ["object", "null"]},
        "samples": {"type": "array", "items": SAMPLE}, "problems": TEXTS,
    }
)  # fmt: skip
GOODPUT = _object(
    {
        "objective": _object(dict.fromkeys(("ttft", "itl", "e2e"), MAYBE_NUMBER)), "met": MAYBE_COUNT,
        "ratio": MAYBE_NUMBER, "requests_per_second": MAYBE_NUMBER,
    }
)  # fmt: skip
CALIBRATION = _object(
    {
        "concurrency": COUNT, "requests": COUNT,
        "time_to_first_token_error_seconds": _object(
            {"p50": NUMBER, "p95": NUMBER}, ci95={**INTERVAL, "type": ["array", "null"]}, count=COUNT
        ),
        **dict.fromkeys(("inter_token_latency_error_ratio", "inter_token_latency_p99_error_seconds",
                         "cpu_seconds_per_1000_tokens"), NUMBER),
    }
)  # fmt: skip
ENERGY = _object(
    dict.fromkeys(("per_token_gross_joules", "joules", "seconds", "idle_watts"), MAYBE_NUMBER),
    **dict.fromkeys(
        ("per_token_joules", "prefill_per_token_joules", "decode_per_token_joules", "tokens_per_joule", "device_joules",
         "idle_seconds"), MAYBE_NUMBER,
    ),
    counters=TEXTS, updates=COUNT,
)  # fmt: skip

RESULT = _object(
    {
        "engine": TEXT, "kind": TEXT, "version": MAYBE_TEXT, "url": MAYBE_TEXT, "model": TEXT, "scenario": TEXT,
        "concurrency": COUNT, "runs": COUNT, "failed": COUNT, "aborted": {"type": "boolean"}, "run_id": TEXT,
        **dict.fromkeys(_SUMMARIES, SUMMARY),
        "longest_pause_seconds": MAYBE_NUMBER, "energy_per_token_joules": MAYBE_NUMBER, "energy": ENERGY,
        "peak_memory_bytes": MAYBE_NUMBER, "tokens": TOKENS, "chunks": CHUNKS,
        "failures": {"type": "array", "items": FAILURE},
        "reasons": {"type": "object", "additionalProperties": TEXT}, "notes": TEXTS,
        "settings": {"type": "object"}, "host": MAYBE_TEXT, "tool_version": TEXT,
    },
    # With --cold, and of an open loop.
    load_seconds=SUMMARY, delay_seconds=SUMMARY,
    # Results of older versions lack these.
    load=_object({"mode": {"enum": ["closed", "open"]}}, rate_per_second=MAYBE_NUMBER, arrivals=MAYBE_TEXT,
                 stopped=MAYBE_TEXT),
    throughput=_object(
        dict.fromkeys(("generation_tokens_per_second", "requests_per_second", "seconds"), MAYBE_NUMBER)
    ),
    goodput={**GOODPUT, "type": ["object", "null"]}, calibration={**CALIBRATION, "type": ["object", "null"]},
    client_bound={**TEXTS, "type": ["array", "null"]}, conditions=CONDITIONS, memory_bandwidth_ratio=MAYBE_NUMBER,
    intervals={"type": "object", "additionalProperties": INTERVAL},
    hardware={"type": ["object", "null"], "additionalProperties": MAYBE_TEXT},
)  # fmt: skip

#: A row of `bench_request`; times of chunks are nanoseconds since sending.
REQUEST = _object(
    {
        "run_id": TEXT, "request_index": COUNT, "phase": {"enum": ["warmup", "measured"]},
        "ok": {"type": "boolean"}, "failure": MAYBE_TEXT, "prompt_tokens": MAYBE_COUNT, "cached_tokens": MAYBE_COUNT,
        "generated_tokens": MAYBE_COUNT, "token_source": MAYBE_TEXT, "time_to_first_token_seconds": MAYBE_NUMBER,
        "duration_seconds": MAYBE_NUMBER, "chunk_offsets_ns": {"type": ["array", "null"], "items": {"type": "integer"}},
        "energy_joules": MAYBE_NUMBER,
    }
)  # fmt: skip

SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "What `tokwatt-bench run --json` prints, and documents with results",
    "type": "object",
    "required": ["results"],
    "properties": {
        "format": {"const": "tokwatt-bench"},
        "version": {"const": 1},
        "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
        "requests": {"type": "array", "items": {"$ref": "#/$defs/request"}},
    },
    "$defs": {"result": RESULT, "request": REQUEST},
}
