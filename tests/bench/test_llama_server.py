"""A real llama-server: our tokens are its own count, our times stand beside its own."""

import json
import subprocess
import sys
import threading

import pytest

from support.components import component
from support.engine import llama_server, tiny_model
from support.net import free_port, get, wait_for
from tokwatt_bench import load
from tokwatt_bench.context import fitted
from tokwatt_bench.plan import Plan
from tokwatt_bench.result import result
from tokwatt_bench.target import choose
from tokwatt_exporter.config import load as load_config
from tokwatt_exporter.store.read import query

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with llama_server(tmp_path_factory.mktemp("llama")) as running:
        yield running


def counters(engine):
    lines = [line.split() for line in get(engine.url + "/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def measure(engine, **options):
    plan = Plan(target=choose(load_config({}, {}), engine.url, None, None), idle_seconds=0, **options)
    return load.run(plan)


def test_tokens_are_the_engines_own_count(engine, tmp_path):
    before = counters(engine)
    done = subprocess.run(
        [sys.executable, "-m", "tokwatt_bench", "run", "--url", engine.url, "--runs", "6", "--max-tokens", "32",
         "--json", "--data-dir", str(tmp_path)],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)["results"]
    after = counters(engine)
    tokens = found["tokens"]
    assert tokens["source"] == "usage"
    generated = after["llamacpp:tokens_predicted_total"] - before["llamacpp:tokens_predicted_total"]
    assert tokens["generated"] + tokens["warmup_generated"] == generated
    # Its counter of prompt tokens leaves out the cached ones, ours is what was sent.
    prompt = after["llamacpp:prompt_tokens_total"] - before["llamacpp:prompt_tokens_total"]
    rows = query(tmp_path, "bench_requests", {"run_id": found["run_id"]})
    assert sum(row["prompt_tokens"] - row["cached_tokens"] for row in rows) == prompt
    assert sum(row["generated_tokens"] for row in rows) == generated


def test_times_stand_beside_the_engines_own(engine):
    done = measure(engine, runs=6, warmup=1, max_tokens=64)
    assert [request.failure for request in done.measured] == [None] * 6
    for request in done.measured:
        engine_prefill = request.answer.prefill.seconds
        # Ours has HTTP, the template and the first sampling on top, and a busy machine's scheduler.
        assert engine_prefill * 0.9 < request.first_token_seconds < engine_prefill + 0.5
        assert request.first_token_seconds < request.duration_seconds
    found = result(done)
    assert found["prompt_tokens_per_second"]["source"] == "timings.prompt_ms"
    assert found["generation_tokens_per_second"]["p50"] > 10
    assert found["peak_memory_bytes"] > 10 * 2**20


def test_a_nonce_keeps_the_prompt_out_of_the_cache_and_the_same_prompt_is_in_it(engine):
    cold = measure(engine, runs=2, warmup=1, max_tokens=4).measured
    assert all(request.cached_tokens < request.prompt_tokens / 4 for request in cold)
    warm = measure(engine, runs=2, warmup=1, max_tokens=4, warm_prefix=True).measured
    assert all(request.cached_tokens > request.prompt_tokens * 3 / 4 for request in warm)


def test_a_prompt_longer_than_the_context_is_a_failure_with_the_engines_words(engine):
    [request] = measure(engine, runs=1, warmup=0, prompt="word " * 20_000).measured
    assert request.failure == "http_status"
    assert request.detail.startswith("HTTP 400: ")


def test_an_engine_that_dies_in_the_middle_is_a_failure(tmp_path):
    with llama_server(tmp_path) as engine:
        plan = Plan(target=choose(load_config({}, {}), engine.url, None, None), idle_seconds=0, runs=3, warmup=1,
                    max_tokens=8)  # fmt: skip
        done = load.run(plan, lambda what, n, of: (engine.process.kill(), engine.process.wait()) if n == 2 else None)
    assert [request.failure for request in done.measured] == [None, "refused", "refused"]


def test_completions_are_counted_by_the_engine_too(engine):
    found = result(measure(engine, runs=6, warmup=0, max_tokens=8, api="completions"))
    # A bare prompt may make this random model end at once: that is a failure and no result.
    assert {failure["class"] for failure in found["failures"]} <= {"empty"}
    assert found["tokens"]["source"] == "usage"
    assert 0 < found["tokens"]["generated"] <= 8 * (6 - found["failed"])


def test_a_router_loads_its_model_anew_for_each_request(tmp_path):
    models, port = tmp_path / "models", free_port()
    models.mkdir()
    (models / "one.gguf").symlink_to(tiny_model())
    url, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    command = [str(component("llama-server")), "--models-dir", str(models), "--port", str(port)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as router:
        try:
            wait_for(lambda: "ok" in get(f"{url}/health").text, 30, "the router to be ready")
            target = choose(load_config({}, {}), url, None, "one")
            found = result(load.run(Plan(target=target, idle_seconds=0, cold=True, warmup=0, runs=2, max_tokens=4)))
        finally:
            router.terminate()
    assert (found["failures"], found["load_seconds"]["count"], found["load_seconds"]["source"]) == ([], 2, "load")
    assert log.read_text().count("spawning server instance with name=one") == 2


def test_streams_side_by_side_are_all_of_the_engines_tokens(engine):
    before = counters(engine)
    done = measure(engine, runs=8, warmup=1, max_tokens=24, concurrency=4)
    found = result(done)
    generated = counters(engine)["llamacpp:tokens_predicted_total"] - before["llamacpp:tokens_predicted_total"]
    assert found["failures"] == []
    assert found["tokens"]["generated"] + found["tokens"]["warmup_generated"] == generated
    # The server has two slots for four lanes: together they are faster than one alone, and wait for their first token.
    assert found["throughput"]["generation_tokens_per_second"] > 10
    assert {request.lane for request in done.measured} == {0, 1, 2, 3}


def test_an_open_loop_measures_from_when_a_request_was_due(engine):
    done = measure(engine, runs=6, warmup=0, max_tokens=8, rate=200.0, poisson=False)
    found = result(done)
    assert found["failures"] == []
    # Two slots for six requests at once: the last ones wait, and that is in their time to first token.
    assert found["load"] == {"mode": "open", "arrivals": "constant", "rate_per_second": 200.0}
    waits = sorted(request.first_token_seconds for request in done.measured)
    assert waits[-1] > waits[0]
    assert found["delay_seconds"]["p50"] is not None


def test_a_prompt_is_as_long_as_was_wanted_by_the_engines_own_count(engine):
    plan = Plan(
        target=choose(load_config({}, {}), engine.url, None, None), idle_seconds=0, runs=2, warmup=0, max_tokens=2
    )
    for request in load.run(fitted(plan, 400)).measured:
        assert request.prompt_tokens == pytest.approx(400, rel=0.02)


def test_an_engine_that_dies_under_many_streams_keeps_what_came_before(tmp_path):
    with llama_server(tmp_path) as engine:
        plan = Plan(target=choose(load_config({}, {}), engine.url, None, None), idle_seconds=0, runs=400, warmup=1,
                    max_tokens=64, concurrency=4)  # fmt: skip
        killer = threading.Timer(1.0, engine.process.kill)
        done = load.run(plan, lambda what, n, of: killer.start() if what == "measuring" else None)
        killer.join()
        engine.process.wait()
    found = result(done)
    assert found["runs"] == 400
    if done.results:
        assert found["time_to_first_token_seconds"]["p50"] > 0
    assert {failure["class"] for failure in found["failures"]} <= {"cut", "refused"}
    assert found["failed"] > 0
