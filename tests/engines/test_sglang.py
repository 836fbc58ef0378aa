"""SGLang: its own counters, counted once whatever ranks report them, and never its /health."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.engines import as_json
from fakes.served import LOCKED, listed, look, page, sglang
from support.captures import shared_captures
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.sglang import METRICS, SGLang
from tokwatt_exporter.errors import EngineError

LABELS = {"engine": "e", "model": "m"}
VALUES = {
    "sglang:num_running_reqs": 3,
    "sglang:num_queue_reqs": 2,
    "sglang:num_requests_total/true": 5,
    "sglang:num_requests_total/false": 4,
    "sglang:num_aborted_requests_total": 1,
    "sglang:token_usage": 0.5,
    "sglang:cached_tokens_total/device": 100,
    "sglang:cached_tokens_total/host": 50,
    "sglang:prompt_tokens_total/true": 600,
    "sglang:prompt_tokens_total/false": 400,
    "sglang:uncached_prompt_tokens_histogram_sum": 850,
    "sglang:generation_tokens_total/true": 2000,
    "sglang:generation_tokens_total/false": 1000,
    "sglang:num_retracted_requests_total": 7,
}


def rank(tp: int = 0, dp: int | None = None) -> dict[str, str]:
    labels = {"model_name": "m", "engine_type": "unified", "tp_rank": str(tp), "pp_rank": "0", "moe_ep_rank": "0"}
    return labels | ({} if dp is None else {"dp_rank": str(dp)})


@pytest.fixture
def names() -> Path:
    return shared_captures() / "engines" / "sglang" / "metrics.csv"


def test_counters_are_the_engines_own_with_cached_prompt_tokens_apart(names: Path):
    assert set(look(SGLang(), sglang(page(names, [rank()], VALUES))).readings) == {
        c.REQUESTS_RUNNING(3, **LABELS),
        c.REQUESTS_WAITING(2, **LABELS),
        c.REQUESTS(9, **LABELS),
        c.KV_CACHE_USAGE(0.5, **LABELS),
        c.PREFIX_CACHE_HITS(150, **LABELS),
        c.PROMPT_TOKENS(850, **LABELS),
        c.GENERATION_TOKENS(3000, **LABELS),
        c.PREEMPTIONS(7, **LABELS),
    }


def test_every_name_is_one_that_sglang_has(names: Path):
    recorded = {line.partition(",")[0] for line in names.read_text().splitlines()}
    assert [name for name in METRICS.families() if not {name, name.removesuffix("_sum")} & recorded] == []


def test_replicas_are_added_up_and_the_ranks_of_one_are_not(names: Path):
    ranks = [rank(tp, dp) for dp in range(2) for tp in range(4)]
    readings = look(SGLang(), sglang(page(names, ranks, VALUES))).readings
    assert {c.REQUESTS_RUNNING(6, **LABELS), c.KV_CACHE_USAGE(0.5, **LABELS)} <= set(readings)


def test_with_priorities_the_total_counts_and_not_its_parts_too(names: Path):
    ranks = [rank() | {"priority": priority} for priority in ("", "1", "2")]
    readings = look(SGLang(), sglang(page(names, ranks, VALUES))).readings
    assert c.REQUESTS_RUNNING(3, **LABELS) in readings


def test_before_its_first_request_it_shows_little_and_nothing_is_missed():
    metrics = b'sglang:num_running_reqs{model_name="m",tp_rank="0"} 0\n'
    state = look(SGLang(), sglang(metrics))
    assert (set(state.readings), state.problem) == ({c.REQUESTS_RUNNING(0, **LABELS)}, None)


def test_a_metric_that_disappeared_is_named_with_the_version(names: Path):
    state = look(SGLang(), sglang(page(names, [rank()], VALUES, ("sglang:token_usage",))))
    assert state.problem == "has no sglang:token_usage on /metrics of version 0.5.23"


def test_the_model_has_its_context_and_quantization(names: Path):
    state = look(SGLang(), sglang(page(names, [rank()], VALUES)))
    (model,) = state.models
    assert (model.name, model.state, model.context_tokens, model.quantization) == ("m", "loaded", 8192, "fp8")
    assert (state.version, state.loaded, state.problem) == ("0.5.23", 1, None)


def test_without_metrics_it_says_so():
    state = look(SGLang(), sglang(None))
    assert (state.readings, state.loaded) == ((), 1)
    assert "--enable-metrics" in str(state.problem)


def test_older_servers_describe_themselves_on_another_page():
    server = sglang(None)
    server.routes["/get_server_info"] = server.routes.pop("/server_info")
    assert look(SGLang(), server).version == "0.5.23"


def test_with_an_api_key_the_open_metrics_are_still_read(names: Path):
    server = sglang(page(names, [rank()], VALUES), models=LOCKED)
    server.routes["/server_info"] = LOCKED
    state = look(SGLang(), server)
    assert "api-key-file" in str(state.problem)
    assert (state.version, state.models, state.loaded) == (None, (), None)
    assert c.GENERATION_TOKENS(3000, **LABELS) in state.readings


def test_a_look_generates_and_flushes_nothing(names: Path):
    server = sglang(page(names, [rank()], VALUES))
    look(SGLang(), server)
    assert server.asked() == ["/v1/models", "/server_info", "/metrics"]


@pytest.mark.parametrize("models", [listed("someone", "m"), as_json([1])])
def test_another_server_on_the_port_is_an_error_and_not_a_state(models: bytes):
    with pytest.raises(EngineError, match="not SGLang"):
        look(SGLang(), sglang(None, models))
