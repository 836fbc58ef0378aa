"""What can be asked of the history, and what happens to those who ask for something else."""

import os
import stat
import subprocess
import sys
import threading
import time

import pytest

from store.helpers import (
    FAN_SPEED,
    MEMORY_USED,
    NOON,
    TEMPERATURE,
    bench,
    held,
    rows_of,
    segments,
    snapshot,
    sql,
    taken_in,
    written,
)  # fmt: skip
from tokwatt_exporter.errors import StoreError, StoreLocked, UsageError
from tokwatt_exporter.store import file, read
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.queries import QUERIES, prepare
from tokwatt_exporter.store.schema import MIGRATIONS

DAY = {"since": str(NOON - 86_400_000)}


@pytest.fixture
def data(tmp_path):
    """Ten snapshots and a benchmark in a journal that is still written to."""
    journal = written(tmp_path / "data")
    yield tmp_path / "data"
    journal.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The same in a history, for tests that only read."""
    return taken_in(tmp_path_factory.mktemp("kept"))


def samples(data, reading=None, **params):
    name = (reading or TEMPERATURE).name
    return read.query(data, "samples", {"metric": name, **DAY, **params})


def test_samples_are_what_was_sampled_the_pending_ones_too(data):
    rows = samples(data, FAN_SPEED)
    assert [row["time"] for row in rows] == [f"2026-09-21T14:13:{20 + n}.000Z" for n in range(10)]
    assert rows[0] == {"time": "2026-09-21T14:13:20.000Z", "labels": {"fan": "left"}, "value": 1200.0, "host": "box"}


def test_labels_choose_series(kept):
    rows = samples(kept, labels=["sensor=core 2", "device=cpu"])
    assert [row["value"] for row in rows] == [n + 0.25 for n in range(10)]
    assert samples(kept, labels={"sensor": "core 2"}) == rows
    assert samples(kept, labels=["sensor=core 77"]) == []
    assert len(samples(kept, labels=["device=cpu"])) == 40


def test_since_and_until_are_both_included(kept):
    assert len(samples(kept, FAN_SPEED, since=NOON + 2000, until=NOON + 4000)) == 3
    assert len(samples(kept, FAN_SPEED, since=str(NOON + 2000), until="2026-09-21T14:13:24Z")) == 3
    assert len(samples(kept, FAN_SPEED, since=str(NOON // 1000 + 2), until="2026-09-21T16:13:24+02:00")) == 3
    assert len(samples(kept, FAN_SPEED, since=str(NOON / 1000 + 1.5), until="2026-09-21 14:13:24")) == 3


def test_a_step_gives_the_last_sample_of_each(kept):
    rows = samples(kept, labels=["sensor=core 0"], step="4s")
    assert [row["value"] for row in rows] == [3, 7, 9]
    assert [row["time"][-6:] for row in rows] == ["3.000Z", "7.000Z", "9.000Z"]
    assert len(samples(kept, step="1m")) == 4


def test_a_part_is_never_given_for_the_whole(kept):
    assert len(samples(kept, FAN_SPEED, limit="10")) == 10
    with pytest.raises(UsageError, match="more than 9 rows"):
        samples(kept, FAN_SPEED, limit="9")


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("smaples", {}, "did you mean samples"),
        ("samples; DROP TABLE sample", {}, "there is no query"),
        ("samples", {}, "metric is missing"),
        ("samples", {"metric": TEMPERATURE.name[:-2]}, f"did you mean {TEMPERATURE.name}"),
        ("samples", {"metric": "x' OR '1'='1"}, "there is no metric"),
        ("samples", {"metric": TEMPERATURE.name, "host": "x"}, "takes no host"),
        ("samples", {"metric": TEMPERATURE.name, "labels": "sensor"}, "not NAME=VALUE"),
        ("samples", {"metric": TEMPERATURE.name, "labels": ["fan=left"]}, "it has device, sensor"),
        ("samples", {"metric": TEMPERATURE.name, "labels": ["device=a", "device=b"]}, "given twice"),
        ("samples", {"metric": TEMPERATURE.name, "since": "yesterday"}, "neither a duration"),
        ("samples", {"metric": TEMPERATURE.name, "since": "now() - INTERVAL 1 DAY"}, "neither a duration"),
        ("samples", {"metric": TEMPERATURE.name, "since": "9" * 30}, "between 1970 and 9999"),
        ("samples", {"metric": TEMPERATURE.name, "since": float("nan")}, "between 1970 and 9999"),
        ("samples", {"metric": TEMPERATURE.name, "step": "0s"}, "zero"),
        ("samples", {"metric": TEMPERATURE.name, "step": "1; DROP TABLE sample"}, "not a duration"),
        ("samples", {"metric": TEMPERATURE.name, "limit": "0"}, "from 1 to"),
        ("samples", {"metric": TEMPERATURE.name, "limit": "1e9"}, "from 1 to"),
        ("samples", {"metric": TEMPERATURE.name, "limit": "²"}, "from 1 to"),
        ("bench_results", {"limit": "all"}, "from 1 to"),
        ("bench_results", {"engine": 5}, "text"),
        ("bench_requests", {}, "run_id is missing"),
    ],
)
def test_what_a_query_does_not_take_is_refused_in_one_line(name, params, says):
    with pytest.raises(UsageError, match=says) as refused:
        prepare(name, params)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["'", "''; DROP TABLE sample; --", "%", "\\", '"', "$1", "a' OR 'a'='a", "\0", "ü🙂"])
def test_text_of_a_caller_is_only_ever_a_value(kept, text):
    before = sql(kept, "SELECT count(*) FROM sample")
    assert samples(kept, labels={"device": text}) == []
    assert read.query(kept, "bench_results", {"engine": text, "model": text, "scenario": text}) == []
    assert read.query(kept, "bench_requests", {"run_id": text}) == []
    assert sql(kept, "SELECT count(*) FROM sample") == before


def test_every_query_can_be_asked(kept):
    needed = {
        "samples": {"metric": TEMPERATURE.name}, "bench_requests": {"run_id": "run-1"},
        "expression": {"expr": TEMPERATURE.name},
    }  # fmt: skip
    for name, query in QUERIES.items():
        since = DAY if "since" in query.params else {}
        rows = read.query(kept, name, {**since, **needed.get(name, {})})
        assert name.endswith("_energy") or [list(row) for row in rows[:1]] == [list(query.columns)], name


def test_series_say_what_there_is(kept):
    rows = read.query(kept, "series", {"metric": MEMORY_USED.name})
    assert rows == [{"metric": MEMORY_USED.name, "labels": {"kind": "anon"}, "host": "box"}]
    assert len(read.query(kept, "series")) == 6


def test_benchmarks_come_newest_first_and_can_be_chosen(data):
    journal = Journal(data)
    journal.append(bench("run-2", finished=NOON + 9000, model="big"))
    journal.close()
    assert [row["run_id"] for row in read.query(data, "bench_results")] == ["run-2", "run-1"]
    [row] = read.query(data, "bench_results", {"model": "tiny", "limit": "5"})
    assert (row["run_id"], row["settings"], row["result"], row["max_tokens"], row["finished"]) == (
        "run-1", {"seed": 7}, {"p50": 12.5}, None, "2026-09-21T14:13:25.000Z",
    )  # fmt: skip
    requests = read.query(data, "bench_requests", {"run_id": "run-1"})
    assert [(row["phase"], row["chunk_offsets_ns"]) for row in requests] == [
        ("warmup", None), ("measured", [10, 2**40, 2**41])
    ]  # fmt: skip


def test_the_latest_benchmark_comes_with_the_counts_of_all(data):
    journal = Journal(data)
    journal.append(bench("run-0", finished=NOON - 9000, generation_tokens_per_second=1.0))
    journal.append(bench("run-2", finished=NOON + 9000, generation_tokens_per_second=None, failed=2))
    journal.append(bench("run-3", scenario="code"))
    journal.close()
    wanted = ("run_id", "runs_total", "runs_failed_total", "generation_tokens_per_second")
    rows = [tuple(row[name] for name in wanted) for row in read.query(data, "bench_latest")]
    assert rows == [("run-2", 3, 1, None), ("run-3", 1, 0, 12.5)]


def test_without_a_history_there_is_nothing_and_none_is_made(tmp_path):
    assert samples(tmp_path / "none") == []
    assert read.info(tmp_path / "none")["exists"] is False
    assert list(read.snapshots(tmp_path / "none", 0, NOON)) == []
    assert list(tmp_path.iterdir()) == []


def test_info_says_what_the_history_holds(data):
    info = read.info(data)
    assert info == {
        "path": str(data / "history.duckdb"), "exists": True, "schema_version": len(MIGRATIONS),
        "series": 6, "samples": 60,
        "first_sample": "2026-09-21T14:13:20.000Z", "last_sample": "2026-09-21T14:13:29.000Z", "benchmark_runs": 1,
        "size_bytes": file.size_of(data / "history.duckdb"), "journal_bytes": info["journal_bytes"],
        "journal_records": 11,
    }  # fmt: skip
    assert info["size_bytes"] > 4096
    assert info["journal_bytes"] == sum(path.stat().st_size for path in segments(data))


def test_snapshots_come_back_as_they_were_in_order_and_by_pages(data, monkeypatch):
    monkeypatch.setattr(read, "PAGE", 3)
    found = list(read.snapshots(data, NOON, NOON + 8000))
    assert [time_ms for time_ms, _ in found] == [NOON + 1000 * n for n in range(1, 9)]
    rows = [
        (time_ms, metric, tuple(labels.items()), value) for time_ms, page in found for metric, labels, value in page
    ]
    assert sorted(rows) == rows_of(map(snapshot, range(1, 9)))


def test_the_views_are_there_for_tools_of_ones_own(kept):
    assert sql(kept, "SELECT DISTINCT metric, labels['fan'], value, host FROM metrics WHERE metric = ?",
               FAN_SPEED.name) == [(FAN_SPEED.name, "left", 1200.0, "box")]  # fmt: skip
    assert sql(kept, "SELECT engine, generation_tokens_per_second FROM bench_results") == [("llama_cpp", 12.5)]


@pytest.mark.parametrize(
    "statement",
    ["SELECT * FROM read_csv('/etc/passwd')", "CREATE TABLE x (i INTEGER)", "DELETE FROM sample",
     "SET enable_external_access = true", "ATTACH '/tmp/other.duckdb'", "COPY sample TO '/tmp/out.csv'",
     "INSTALL httpfs"],
)  # fmt: skip
def test_the_connection_of_a_reader_can_only_read_the_history(kept, statement):
    with pytest.raises(StoreError), read.opened(kept, 1, 10) as db:
        db.execute(statement)


def test_a_query_that_takes_too_long_is_ended(kept):
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"longer than 0\.2 s"), read.opened(kept, 1, 0.2) as db:
        db.execute("SELECT count(*) FROM range(1000000000) a, range(1000) b WHERE a.range * b.range % 7 = 3").fetchall()
    assert time.monotonic() - began < 5


def test_a_history_that_another_program_holds_is_one_line_after_a_bounded_wait(data):
    ingest(data)
    with held(data / "history.duckdb") as pid:
        began = time.monotonic()
        with pytest.raises(StoreLocked, match=f"pid {pid}"):
            read.query(data, "series", wait=0.3)
        assert time.monotonic() - began < 3


def test_a_directory_that_may_not_be_written_is_read_all_the_same(data):
    ingest(data)
    Journal(data).append_snapshot(snapshot(50), "box")
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    for path in [data, *data.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    code = (
        "import os, pathlib, sys, duckdb\n"
        "from tokwatt_exporter.store import read\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"print(len(read.query(pathlib.Path(sys.argv[1]), 'samples', {{'metric': {FAN_SPEED.name!r}, 'since': 0}})))"
    )
    if os.geteuid():
        data.chmod(0o555)
    else:
        for parent in list(data.parents)[:-1]:
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    result = subprocess.run([sys.executable, "-c", code, str(data)], capture_output=True, text=True, timeout=60,
                            check=False)  # fmt: skip
    data.chmod(0o700)
    assert (result.returncode, result.stdout.strip()) == (0, "10"), result.stderr
    assert before == {path: path.stat().st_mtime_ns for path in data.rglob("*")}


def test_readers_and_a_writer_get_along(data):
    """Every answer is a moment of the history: whole snapshots, none twice, and never fewer than before."""
    stop = threading.Event()
    journal = Journal(data)
    failures = []

    def write():
        number = 10
        while not stop.is_set():
            journal.append_snapshot(snapshot(number), "box")
            number += 1
            if number % 3 == 0:
                journal.rotate()
                try:
                    subprocess.run(
                        [sys.executable, "-c", "import pathlib, sys; from tokwatt_exporter.store.ingest import ingest;"
                         "ingest(pathlib.Path(sys.argv[1]), wait=60)", str(data)], check=True, timeout=90,
                        capture_output=True,
                    )  # fmt: skip
                except subprocess.CalledProcessError as error:
                    failures.append(error.stderr)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = 0
        for _ in range(25):
            rows = samples(data)
            times = [row["time"] for row in rows]
            assert len(rows) == 4 * len(set(times)) >= seen
            seen = len(rows)
    finally:
        stop.set()
        writer.join()
        journal.close()
    assert failures == []
    assert seen > 40
