"""What a run is named by, what a file has to be, and what the rows of a request say."""

import itertools
import json
import os
from pathlib import Path

import pytest

from tokwatt_bench import keep
from tokwatt_bench.measured import (
    Measured,
    counted,
    decode_speed,
    document,
    energy_per_token,
    find,
    load,
    longest_pause,
    token_gap,
)
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.store import folder

NONE = {"p50": None, "p95": None, "p99": None, "ci95": None, "count": 0}
SUMMARIES = (
    "time_to_first_token_seconds", "time_to_first_answer_token_seconds", "engine_time_to_first_token_seconds",
    "inter_token_latency_seconds", "mean_inter_token_latency_seconds", "generation_tokens_per_second",
    "prompt_tokens_per_second", "chunk_gap_seconds", "connect_seconds", "request_duration_seconds",
)  # fmt: skip


def result(run_id, **more):
    tokens = dict.fromkeys(("prompt", "generated", "cached", "source", "warmup_prompt", "warmup_generated"))
    return {
        "engine": "ollama", "kind": "ollama", "version": "0.9", "url": "http://127.0.0.1:1", "model": "m",
        "scenario": "default", "concurrency": 1, "runs": 2, "failed": 0, "aborted": False, "run_id": run_id,
        **dict.fromkeys(SUMMARIES, NONE), "longest_pause_seconds": None, "energy_per_token_joules": None,
        "energy": dict.fromkeys(("per_token_gross_joules", "joules", "seconds", "idle_watts")),
        "peak_memory_bytes": None, "tokens": tokens,
        "chunks": dict.fromkeys(("per_request", "tokens_per_chunk", "shared_read_ratio")), "failures": [],
        "reasons": {}, "notes": [], "settings": {}, "host": "box", "tool_version": "1", **more,
    }  # fmt: skip


def request(run_id="aaaa1111", index=0, offsets=(100_000_000, 110_000_000, 120_000_000), **more):
    return {
        "run_id": run_id, "request_index": index, "phase": "measured", "started": 1_700_000_000_000, "ok": True,
        "failure": None, "prompt_tokens": 30, "cached_tokens": 0, "generated_tokens": len(offsets),
        "token_source": "usage", "time_to_first_token_seconds": 0.1, "duration_seconds": 0.5,
        "chunk_offsets_ns": list(offsets), "energy_joules": None, "finish": "length", **more,
    }  # fmt: skip


RUNS = [
    Measured(result("aaaa1111"), [request("aaaa1111"), request("aaaa1111", 1)]),
    Measured(result("aaaa2222", version="1.0"), []),
    Measured(result("bbbb3333", engine="left", kind="llama_cpp", model="org/n", concurrency=8, host="mac"), []),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A history with three runs; the last one is the newest."""
    folder.prepare(data := tmp_path_factory.mktemp("measured") / "data")
    for number, one in enumerate(RUNS):
        found = one.result
        row = {
            "run_id": found["run_id"], "started": 1_700_000_000_000, "finished": 1_700_000_001_000 + number,
            "result": found, "engine_kind": found["kind"],
            **{name: found[name] for name in ("engine", "model", "scenario", "concurrency", "host")},
        }  # fmt: skip
        keep.keep(data, {"kind": "bench", "run": row, "requests": list(one.requests)})
    return data


@pytest.fixture
def file(tmp_path):
    """Write something to a file."""

    def write(what, name="found.json"):
        path = tmp_path / name
        path.write_text(what if isinstance(what, str) else json.dumps(what))
        return path

    return write


@pytest.mark.parametrize(("spec", "runs"), [
    ("latest", ["bbbb3333"]), ("bbbb", ["bbbb3333"]), ("aaaa1", ["aaaa1111"]), ("engine=ollama", ["aaaa2222"]),
    ("engine=llama_cpp", ["bbbb3333"]), ("engine=left,concurrency=8", ["bbbb3333"]), ("model=org/n", ["bbbb3333"]),
    ("version=0.9 , host=box", ["aaaa1111"]), ("scenario=default,last=2", ["bbbb3333", "aaaa2222"]),
    ("last=99", ["bbbb3333", "aaaa2222", "aaaa1111"]),
])  # fmt: skip
def test_a_run_of_the_history_is_found_by_its_id_or_by_what_it_is(data, spec, runs):
    assert [one.result["run_id"] for one in find(data, spec)] == runs


def test_a_run_comes_with_its_requests(data):
    [one] = find(data, "aaaa1")
    assert one.result == RUNS[0].result
    assert [row["request_index"] for row in counted(one)] == [0, 1]
    assert one.requests[0]["chunk_offsets_ns"] == RUNS[0].requests[0]["chunk_offsets_ns"]


@pytest.mark.parametrize(("spec", "said"), [
    ("", "no run is named"), ("aaaa", "2 runs begin with 'aaaa'"), ("cccc", "no run begins with 'cccc'"),
    ("new", "'new' names no run"), ("no/such.json", "is no file"), ("engine=none", "no run has engine=none"),
    ("engine=a,colour=red", "'colour=red' is not NAME=VALUE"), ("engine=", "'engine=' is not NAME=VALUE"),
    ("engine=ollama,last=0", "last: '0' is not a number"), ("x" * 5000, "no run begins with"),
    ("/" * 5000, "is no file"), ("a\0/b", "is no file"), ("a\0b", "names no run"),
])  # fmt: skip
def test_what_names_no_run_is_one_line_that_says_so(data, spec, said):
    with pytest.raises(UsageError) as caught:
        find(data, spec)
    assert said in str(caught.value) and len(str(caught.value)) < 300


def test_before_anything_is_measured_there_is_nothing_to_find(tmp_path):
    with pytest.raises(UsageError, match="nothing was measured yet"):
        find(tmp_path / "none", "latest")


def test_a_document_holds_what_was_measured(file):
    assert load(file(document(RUNS))) == RUNS


def test_what_run_prints_is_read_too_and_has_no_requests(file):
    assert load(file({"results": [RUNS[0].result]})) == [Measured(RUNS[0].result, [])]


def test_a_part_of_a_file_is_named_behind_it(data, file):
    path = file(document(RUNS))
    assert find(data, str(path)) == RUNS
    assert find(data, f"{path}#bbbb") == [RUNS[2]]
    assert find(data, f"{path}#engine=ollama,last=5") == RUNS[:2]
    with pytest.raises(UsageError, match="no run has"):
        find(data, f"{path}#engine=none")


@pytest.mark.parametrize(("what", "said"), [
    ("{", "is not JSON"), ("[" * 100_000, "is not JSON"), ('{"results": [NaN]}', "is not JSON"),
    ('{"results": [1e999]}', "is not JSON"), ('{"results": [' + "9" * 400 + "]}", "is not JSON"),
    ("3", "holds no results"), ({"result": []}, "holds no results"), ({"results": []}, "has no result in it"),
    ({"results": [], "format": "k6"}, "something else"), ({"results": [], "version": 2}, "a newer tokwatt"),
    ({"results": [], "version": "1"}, "it.version is not 1"), ({"results": {}}, "it.results is no array"),
    ({"results": [3]}, "it.results[0] is no object"), ({"results": [{}]}, "it.results[0] has no engine"),
    ({"results": [result("a", concurrency=True)]}, "concurrency is no integer"),
    ({"results": [result("a", concurrency=-1)]}, "concurrency is less than 0"),
    ({"results": [result("a", connect_seconds=NONE | {"ci95": [1]})]}, "ci95 has 1 items"),
    ({"results": [result("a", reasons={"x": 1})]}, "reasons.x is no string"),
    ({"results": [result("a")], "requests": [request("b")]}, "a request of run 'b', of which it has no result"),
    ({"results": [result("a")], "requests": [request("a", phase="after")]}, "none of warmup, measured"),
    ({"results": [result("a")], "requests": [request("a", chunk_offsets_ns=["1"])]}, "[0] is no integer"),
])  # fmt: skip
def test_a_file_that_is_none_of_ours_is_one_line_that_says_why(file, what, said):
    with pytest.raises(UsageError) as caught:
        load(file(what))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_what_has_no_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match="is no file"):
            load(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "big.json").open("wb") as big:
        big.truncate(2**30)
    with pytest.raises(UsageError, match="larger than 256 MiB"):
        load(tmp_path / "big.json")


def test_the_warm_up_and_what_failed_are_not_counted():
    rows = [request(index=2), request(index=0, phase="warmup"), request(index=1, ok=False), request(index=0)]
    assert [row["request_index"] for row in counted(Measured({}, rows))] == [0, 2]


def test_the_tokens_of_the_first_read_are_not_in_the_decode_speed():
    assert decode_speed(request(offsets=(100, 100, 200, 300))) == 2 / 200e-9
    # The token that ends the answer has no chunk.
    assert decode_speed(request(offsets=(100, 200), generated_tokens=3, finish="stop")) == pytest.approx(1 / 100e-9)
    # Four tokens a chunk.
    assert decode_speed(request(offsets=(100, 200, 300), generated_tokens=12)) == pytest.approx(8 / 200e-9)


@pytest.mark.parametrize("row", [
    request(offsets=()), request(offsets=(100,)), request(offsets=(100, 100)), request(generated_tokens=None),
    request(chunk_offsets_ns=None),
])  # fmt: skip
def test_an_answer_that_came_at_once_or_was_not_counted_has_no_speed_and_no_gap(row):
    assert decode_speed(row) is None
    assert token_gap(row) is None


def test_gaps_are_of_tokens_only_where_a_chunk_is_one():
    assert token_gap(request()) == pytest.approx(0.01)
    assert token_gap(request(generated_tokens=24)) is None
    offsets = list(itertools.accumulate([10] * 8 + [0] * 2 + [10]))
    assert token_gap(request(offsets=offsets)) is None


def test_a_stall_is_the_longest_pause_and_not_in_the_median_gap():
    row = request(offsets=(0, 10_000_000, 20_000_000, 520_000_000, 530_000_000))
    assert (token_gap(row), longest_pause(row)) == (0.01, 0.5)


def test_energy_per_token_leaves_out_what_the_idle_machine_uses():
    row = request(energy_joules=10.0, generated_tokens=5, duration_seconds=2.0)
    assert energy_per_token(row, 2.5) == 1.0
    assert energy_per_token(row, 5.0) is None
    assert energy_per_token(row, None) is None
    assert energy_per_token(request(), 2.5) is None
