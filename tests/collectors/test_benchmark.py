"""The newest benchmark results on /metrics."""

import fcntl

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.benchmark import Benchmark
from tokwatt_exporter.snapshot import Snapshot

WHO = {"engine": "llama_cpp", "model": "tiny", "scenario": "chat"}
ROW = {
    **WHO, "finished": "2026-09-21T14:13:25.500Z", "runs_total": 3, "runs_failed_total": 1,
    "generation_tokens_per_second": 12.5, "prompt_tokens_per_second": 310.0,
    "time_to_first_token_median_seconds": 0.2, "time_to_first_token_p95_seconds": 0.3,
    "energy_per_token_joules": None, "peak_memory_bytes": None,
}  # fmt: skip


def read(data_dir, *rows):
    return Snapshot.of(0, Benchmark(lambda: list(rows), data_dir).read())


def test_every_figure_of_the_newest_run_is_there(tmp_path):
    seen = read(tmp_path, {**ROW, "energy_per_token_joules": 0.5, "peak_memory_bytes": 2.0**30})
    expected = [
        c.BENCHMARK_RUNNING(0), c.BENCHMARK_LAST_RUN(1790000005.5, **WHO), c.BENCHMARK_RUNS(3, **WHO),
        c.BENCHMARK_RUNS_FAILED(1, **WHO), c.BENCHMARK_GENERATION_SPEED(12.5, **WHO),
        c.BENCHMARK_PROMPT_SPEED(310, **WHO), c.BENCHMARK_TTFT_MEDIAN(0.2, **WHO), c.BENCHMARK_TTFT_P95(0.3, **WHO),
        c.BENCHMARK_ENERGY_PER_TOKEN(0.5, **WHO), c.BENCHMARK_PEAK_MEMORY(2**30, **WHO),
    ]  # fmt: skip
    assert {reading: seen.get(reading) for reading in seen} == {reading: reading.value for reading in expected}


def test_a_figure_that_is_not_known_is_absent(tmp_path):
    seen = read(tmp_path, ROW)
    assert seen.get(c.BENCHMARK_ENERGY_PER_TOKEN(0, **WHO)) is None
    assert seen.get(c.BENCHMARK_PEAK_MEMORY(0, **WHO)) is None
    assert seen.get(c.BENCHMARK_GENERATION_SPEED(0, **WHO)) == 12.5


def test_a_run_of_an_unknown_engine_has_no_series(tmp_path):
    assert len(read(tmp_path, {**ROW, "engine": None})) == 1


def test_the_lock_says_whether_a_benchmark_is_running_now(tmp_path):
    lock = tmp_path / "bench.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert read(tmp_path).get(c.BENCHMARK_RUNNING(1)) == 1
    assert read(tmp_path).get(c.BENCHMARK_RUNNING(1)) == 0


def test_looking_never_makes_the_lock_and_never_keeps_it(tmp_path):
    read(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with (tmp_path / "bench.lock").open("w") as lock:
        read(tmp_path)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_that_cannot_be_looked_at_says_nothing(tmp_path):
    (tmp_path / "bench.lock").symlink_to("bench.lock")
    assert read(tmp_path).get(c.BENCHMARK_RUNNING(0)) is None
