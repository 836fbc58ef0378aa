"""vLLM: its own counters over all its engines, under the names of whatever version answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.engines import as_json, response, silence
from fakes.served import LOCKED, listed, look, page, vllm
from support.captures import shared_captures
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.vllm import METRICS, SLEEP, VLLM
from tokwatt_exporter.errors import EngineError

LABELS = {"engine": "e", "model": "m"}
ONE = ({"model_name": "m", "engine": "0"},)
TWO = (*ONE, {"model_name": "m", "engine": "1"})
AWAKE = {f"{SLEEP}/awake": 1}
VALUES = AWAKE | {
    "vllm:num_requests_running": 3,
    "vllm:num_requests_waiting": 2,
    "vllm:request_success_total/stop": 10,
    "vllm:request_success_total/length": 4,
    "vllm:request_success_total/abort": 1,
    "vllm:request_success_total/error": 2,
    "vllm:kv_cache_usage_perc": 0.25,
    "vllm:prefix_cache_queries_total": 900,
    "vllm:prefix_cache_hits_total": 300,
    "vllm:prompt_tokens_total": 1000,
    "vllm:prompt_tokens_by_source_total/local_compute": 700,
    "vllm:prompt_tokens_by_source_total/local_cache_hit": 300,
    "vllm:request_prefill_kv_computed_tokens_sum": 650,
    "vllm:generation_tokens_total": 5000,
    "vllm:request_prefill_time_seconds_sum": 1.5,
    "vllm:request_decode_time_seconds_sum": 40.5,
    "vllm:num_preemptions_total": 6,
}


@pytest.fixture
def names() -> Path:
    return shared_captures() / "engines" / "vllm" / "metrics.csv"


def test_counters_are_the_engines_own_with_cached_prompt_tokens_apart(names: Path):
    assert set(look(VLLM(), vllm(page(names, ONE, VALUES))).readings) == {
        c.REQUESTS_RUNNING(3, **LABELS),
        c.REQUESTS_WAITING(2, **LABELS),
        c.REQUESTS(17, **LABELS),
        c.REQUESTS_FAILED(2, **LABELS),
        c.KV_CACHE_USAGE(0.25, **LABELS),
        c.PREFIX_CACHE_QUERIES(900, **LABELS),
        c.PREFIX_CACHE_HITS(300, **LABELS),
        c.PROMPT_TOKENS(700, **LABELS),
        c.GENERATION_TOKENS(5000, **LABELS),
        c.PROMPT_SECONDS(1.5, **LABELS),
        c.GENERATION_SECONDS(40.5, **LABELS),
        c.PREEMPTIONS(6, **LABELS),
    }


def test_the_engines_of_a_data_parallel_server_are_added_up(names: Path):
    readings = look(VLLM(), vllm(page(names, TWO, VALUES))).readings
    assert {c.GENERATION_TOKENS(10_000, **LABELS), c.REQUESTS_RUNNING(6, **LABELS)} <= set(readings)
    assert c.KV_CACHE_USAGE(0.25, **LABELS) in readings


def test_every_name_is_one_that_vllm_has_or_had(names: Path):
    recorded = {line.partition(",")[0] for line in names.read_text().splitlines()}
    unknown = [
        name
        for name in METRICS.families()
        if not {name, name.removesuffix("_total"), name.removesuffix("_sum")} & recorded
    ]
    assert sorted(unknown) == ["vllm:gpu_cache_usage_perc", "vllm:time_per_output_token_seconds"]


def test_prompt_tokens_of_versions_that_do_not_tell_by_source(names: Path):
    older = ("vllm:prompt_tokens_by_source",)
    oldest = (*older, "vllm:request_prefill_kv_computed_tokens")
    readings = look(VLLM(), vllm(page(names, ONE, VALUES, older), "0.13.0")).readings
    assert c.PROMPT_TOKENS(650, **LABELS) in readings
    readings = look(VLLM(), vllm(page(names, ONE, VALUES, oldest), "0.11.0")).readings
    assert c.PROMPT_TOKENS(1000, **LABELS) in readings


def test_the_kv_cache_had_another_name(names: Path):
    body = page(names, ONE, VALUES, ("vllm:kv_cache_usage_perc",))
    body += b'vllm:gpu_cache_usage_perc{engine="0",model_name="m"} 0.75\n'
    state = look(VLLM(), vllm(body, "0.9.2"))
    assert c.KV_CACHE_USAGE(0.75, **LABELS) in state.readings
    assert state.problem is None


def test_while_both_names_are_there_the_kv_cache_counts_once(names: Path):
    body = page(names, ONE, VALUES) + b'vllm:gpu_cache_usage_perc{engine="0",model_name="m"} 0.25\n'
    readings = look(VLLM(), vllm(body, "0.10.2")).readings
    assert [reading.value for reading in readings if reading.family is c.KV_CACHE_USAGE] == [0.25]


def test_a_metric_that_disappeared_is_named_with_the_version(names: Path):
    state = look(VLLM(), vllm(page(names, ONE, VALUES, ("vllm:generation_tokens",)), "0.99.0"))
    assert state.problem == "has no vllm:generation_tokens_total on /metrics of version 0.99.0"
    assert c.REQUESTS_RUNNING(3, **LABELS) in state.readings


def test_the_model_has_its_context(names: Path):
    state = look(VLLM(), vllm(page(names, ONE, VALUES)))
    (model,) = state.models
    assert (model.name, model.state, model.context_tokens) == ("m", "loaded", 4096)
    assert (model.memory_bytes, model.quantization, model.format) == (None, None, None)
    assert (state.version, state.loaded, state.problem) == ("0.33.0", 1, None)


def test_one_model_under_two_names_is_one_and_an_adapter_is_only_available(names: Path):
    data = [
        {"id": "m", "root": "/srv/m", "owned_by": "vllm", "parent": None},
        {"id": "alias", "root": "/srv/m", "owned_by": "vllm", "parent": None},
        {"id": "lora", "root": "/srv/lora", "owned_by": "vllm", "parent": "m"},
    ]
    server = vllm(page(names, ONE, VALUES), models=as_json({"object": "list", "data": data}))
    state = look(VLLM(), server)
    assert [(model.name, model.state) for model in state.models] == [("m", "loaded"), ("lora", "available")]
    assert state.loaded == 1


def test_a_sleeping_model_is_not_in_memory(names: Path):
    state = look(VLLM(), vllm(page(names, TWO, VALUES | {f"{SLEEP}/awake": 0, f"{SLEEP}/weights_offloaded": 1})))
    assert ([model.state for model in state.models], state.loaded) == (["sleeping"], 0)


def test_a_version_that_does_not_say_whether_it_sleeps_is_awake(names: Path):
    state = look(VLLM(), vllm(page(names, ONE, VALUES, (SLEEP,))))
    assert ([model.state for model in state.models], state.loaded) == (["loaded"], 1)


def test_with_an_api_key_the_open_metrics_are_still_read(names: Path):
    state = look(VLLM(), vllm(page(names, ONE, VALUES), models=LOCKED))
    assert "api-key-file" in str(state.problem)
    assert (state.version, state.models, state.loaded) == ("0.33.0", (), None)
    assert c.GENERATION_TOKENS(5000, **LABELS) in state.readings


def test_without_statistics_it_says_so():
    state = look(VLLM(), vllm(b"# TYPE python_info gauge\npython_info 1\n"))
    assert (state.readings, state.loaded) == ((), 1)
    assert "--disable-log-stats" in str(state.problem)


def test_metrics_that_hang_cost_only_the_counters(names: Path):
    server = vllm(b"")
    server.routes["/metrics"] = silence
    state = look(VLLM(), server)
    assert (state.loaded, state.readings) == (1, ())
    assert "did not answer" in str(state.problem)


def test_a_look_asks_for_three_harmless_pages(names: Path):
    server = vllm(page(names, ONE, VALUES))
    look(VLLM(), server)
    assert server.asked() == ["/v1/models", "/version", "/metrics"]


@pytest.mark.parametrize("models", [listed("someone", "m"), response(404, b"not here"), as_json({"data": 3})])
def test_another_server_on_the_port_is_an_error_and_not_a_state(models: bytes):
    with pytest.raises(EngineError, match="not vLLM"):
        look(VLLM(), vllm(b"", models=models))


@pytest.mark.parametrize("value", [True, "9", -1, 0, None, [4096], 1e999])
def test_a_context_that_is_no_number_is_absent(value: object):
    (model,) = look(VLLM(), vllm(b"", models=listed("vllm", "m", max_model_len=value))).models
    assert model.context_tokens is None
