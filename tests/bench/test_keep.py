import fcntl
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from tokwatt_bench import keep
from tokwatt_bench.load import Round, Run
from tokwatt_bench.plan import Plan
from tokwatt_bench.request import Request
from tokwatt_bench.result import record, result
from tokwatt_bench.rounds import Took
from tokwatt_bench.target import Target
from tokwatt_exporter.engines.openai_compatible import OpenAICompatible
from tokwatt_exporter.errors import StoreError, UsageError
from tokwatt_exporter.store import folder
from tokwatt_exporter.store.file import store_lock
from tokwatt_exporter.store.read import query
from tokwatt_exporter.streams.answer import Chunk


@pytest.fixture
def run():
    target = Target("vllm", "openai_compatible", None, "http://127.0.0.1:1", "m", OpenAICompatible(), None, None, True)
    done = Run(Plan(target=target, runs=2, warmup=0, scenario="s"), 1_700_000_000_000, 1_700_000_001_000)
    good = Request(0, "measured", 1_700_000_000_100, prompt_tokens=30, generated_tokens=3, token_source="usage",
                   first_token_seconds=0.1, duration_seconds=0.5, offsets_ns=(100_000_000, 200_000_000, 300_000_000),
                   first_answer_token_seconds=0.1)  # fmt: skip
    good.chunks = [Chunk(offset, True, 3) for offset in good.offsets_ns]
    bad = Request(1, "measured", 1_700_000_000_700, failure="cut", detail="after 1 chunks")
    done.rounds = [Round("measured", Took(), [request]) for request in (good, bad)]
    done.no_energy = "no counter"
    return done


def test_a_run_is_in_the_history_with_its_requests(run, tmp_path):
    found = result(run)
    folder.prepare(tmp_path / "data")
    keep.keep(tmp_path / "data", record(run, found))
    [row] = query(tmp_path / "data", "bench_results")
    assert (row["engine"], row["model"], row["scenario"], row["runs"], row["failed"]) == ("vllm", "m", "s", 2, 1)
    assert row["started"] == "2023-11-14T22:13:20.000Z"
    assert row["generation_tokens_per_second"] == pytest.approx(10)
    assert row["time_to_first_token_median_seconds"] == 0.1
    assert row["energy_per_token_joules"] is None
    assert row["result"] == json.loads(json.dumps(found))
    first, second = query(tmp_path / "data", "bench_requests", {"run_id": row["run_id"]})
    assert first["chunk_offsets_ns"] == [100_000_000, 200_000_000, 300_000_000]
    assert (first["ok"], first["generated_tokens"], first["token_source"]) == (True, 3, "usage")
    assert (second["ok"], second["failure"], second["generated_tokens"]) == (False, "cut: after 1 chunks", None)


def test_a_history_in_use_only_delays(run, tmp_path, capsys):
    folder.prepare(tmp_path)
    with store_lock(tmp_path, 1):
        keep.keep(tmp_path, record(run, result(run)), wait=0.1)
    assert "taken in later" in capsys.readouterr().err
    assert len(query(tmp_path, "bench_results")) == 1


def test_a_journal_that_cannot_be_written_is_an_error(run, tmp_path):
    folder.prepare(tmp_path)
    (tmp_path / "journal").write_text("in the way")
    with pytest.raises(StoreError, match="could not be kept"):
        keep.keep(tmp_path, record(run, result(run)))


def test_the_data_directory_is_its_owners_alone(tmp_path):
    folder.prepare(tmp_path / "new/data")
    assert stat.S_IMODE((tmp_path / "new/data").stat().st_mode) == 0o700


def test_a_data_directory_that_cannot_be_made_is_wrong_usage():
    with pytest.raises(UsageError, match="data-dir: /dev/null/x cannot be made"):
        folder.prepare(Path("/dev/null/x"))


def test_the_lock_is_held_while_a_benchmark_runs_and_says_by_whom(tmp_path):
    (tmp_path / "bench.lock").write_text("99999999999, the last one")
    with keep.running(tmp_path):
        assert (tmp_path / "bench.lock").read_text() == str(os.getpid())
        with (tmp_path / "bench.lock").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        said = rf"another benchmark is running \(pid {os.getpid()}\)"
        with pytest.raises(StoreError, match=said), keep.running(tmp_path):
            pass
    with (tmp_path / "bench.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_someone_who_only_looks_at_the_lock_does_not_stop_a_benchmark(tmp_path):
    with keep.running(tmp_path):
        pass
    with (tmp_path / "bench.lock").open() as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        threading.Timer(0.2, lambda: fcntl.flock(looker, fcntl.LOCK_UN)).start()
        with keep.running(tmp_path):
            pass
