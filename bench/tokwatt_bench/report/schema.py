"""The JSON Schema of what `--json` prints and of documents with results: keys may be added, none goes or changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
MAYBE_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
MAYBE_NUMBER: Schema = {"type": ["number", "null"]}


def _object(required: Mapping[str, Schema], **optional: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


SUMMARY = _object(
    {
        "p50": MAYBE_NUMBER, "p95": MAYBE_NUMBER, "p99": MAYBE_NUMBER,
        "ci95": {"type": ["array", "null"], "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        "count": COUNT,
    },
    source=MAYBE_TEXT,
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

RESULT = _object(
    {
        "engine": TEXT, "kind": TEXT, "version": MAYBE_TEXT, "url": MAYBE_TEXT, "model": TEXT, "scenario": TEXT,
        "concurrency": COUNT, "runs": COUNT, "failed": COUNT, "aborted": {"type": "boolean"}, "run_id": TEXT,
        **dict.fromkeys(_SUMMARIES, SUMMARY),
        "longest_pause_seconds": MAYBE_NUMBER, "energy_per_token_joules": MAYBE_NUMBER,
        "energy": _object({"per_token_gross_joules": MAYBE_NUMBER, "joules": MAYBE_NUMBER, "seconds": MAYBE_NUMBER,
                           "idle_watts": MAYBE_NUMBER}),
        "peak_memory_bytes": MAYBE_NUMBER, "tokens": TOKENS, "chunks": CHUNKS,
        "failures": {"type": "array", "items": FAILURE},
        "reasons": {"type": "object", "additionalProperties": TEXT},
        "notes": {"type": "array", "items": TEXT},
        "settings": {"type": "object"}, "host": MAYBE_TEXT, "tool_version": TEXT,
    },
    load_seconds=SUMMARY,
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
