"""The history sink: on disk at once, in DuckDB soon, and what it says of itself on the way."""

import itertools
import os
import subprocess
import sys
import threading
import time

import pytest

from store.helpers import NOON, bench, held, rows_of, segments, snapshot, sql, stored
from support.net import wait_for
from tokwatt_exporter.catalogue import (
    BENCHMARK_RUNNING,
    SAMPLES_DROPPED,
    STORE_BUFFERED_ROWS,
    STORE_DAMAGED,
    STORE_FAILURES,
    STORE_LAST_FLUSH,
    STORE_ROWS_WRITTEN,
    STORE_SIZE,
)
from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.sinks.history import HistorySink
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store.client import Store
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


class Sink:
    """A sink on a real store, and what it published."""

    def __init__(self, data, interval=3600.0, store=None):
        self.metrics = SelfMetrics()
        self.journal = Journal(data)
        # The samples of these tests are older than any that are kept.
        store = store or Store(data, retention={"raw": None})
        self.sink = HistorySink(store, self.journal, self.metrics, interval, "box")

    def value(self, reading):
        return Snapshot.of(0, self.metrics.readings()).get(reading)

    def flushed(self):
        return self.value(STORE_LAST_FLUSH(0)) is not None


@pytest.fixture
def make(data):
    made = []

    def build(*args, **options):
        made.append(Sink(data, *args, **options))
        return made[-1]

    yield build
    for one in made:
        one.sink.close()


class Scripted:
    """A store whose flushes fail as told; the real one's failures have tests of their own."""

    def __init__(self, *answers):
        self.answers = itertools.chain(answers, itertools.repeat(None))
        self.flushes = 0

    def flush(self, timeout):
        self.flushes += 1
        if answer := next(self.answers):
            raise answer
        return {"rows": 0, "size_bytes": 5, "bench_latest": [], "newest_ms": None}


def test_a_snapshot_is_in_the_journal_at_once_and_in_duckdb_after_the_interval(make, data):
    running = make(0.3)
    running.sink(snapshot(0))
    wait_for(lambda: running.journal.written_rows == 6, 5, "the journal")
    wait_for(lambda: running.value(STORE_ROWS_WRITTEN(0)) == 6, 20, "the flush")
    assert stored(data) == rows_of([snapshot(0)])
    assert running.value(STORE_BUFFERED_ROWS(0)) == running.sink.pending() == 0
    assert running.value(STORE_LAST_FLUSH(0)) == pytest.approx(time.time(), abs=20)
    assert running.value(STORE_SIZE(0)) >= (data / "history.duckdb").stat().st_size
    assert running.sink.newest_committed_ms == NOON


def test_closing_leaves_everything_in_duckdb_and_nothing_in_the_journal(make, data):
    running = make()
    for number in range(50):
        running.sink(snapshot(number))
    running.sink.close()
    assert stored(data) == rows_of(map(snapshot, range(50)))
    assert segments(data) == []
    assert running.sink.pending() == 0


def test_a_call_returns_at_once_while_the_disk_hangs(make, monkeypatch):
    running = make()
    release = threading.Event()
    real = os.write

    def hang(fd, line):
        release.wait(30)
        return real(fd, line)

    monkeypatch.setattr(os, "write", hang)
    began = time.monotonic()
    for number in range(600):
        running.sink(snapshot(number))
    assert time.monotonic() - began < 1
    assert running.value(SAMPLES_DROPPED(0, reason="buffer_full")) >= 6 * 99
    release.set()


def test_what_an_earlier_run_left_behind_is_counted_and_flushed(make, data):
    left = Journal(data)
    left.append_snapshot(snapshot(0), "box")
    left.close()
    running = make()
    wait_for(running.flushed, 20, "the first flush")
    assert running.value(STORE_ROWS_WRITTEN(0)) == 6
    assert stored(data) == rows_of([snapshot(0)])


def test_the_newest_benchmarks_are_known_from_the_first_flush_on(make, data):
    journal = Journal(data)
    journal.append(bench())
    journal.close()
    running = make()
    wait_for(running.flushed, 20, "the first flush")
    assert [row["run_id"] for row in running.sink.bench_latest] == ["run-1"]


def test_a_benchmark_that_ended_is_known_before_the_interval_is_over(make, data):
    running = make(interval=3600.0)
    wait_for(running.flushed, 20, "the first flush")
    running.sink(Snapshot.of(NOON, [BENCHMARK_RUNNING(1)]))
    journal = Journal(data)
    journal.append(bench())
    journal.close()
    running.sink(Snapshot.of(NOON + 5000, [BENCHMARK_RUNNING(0)]))
    wait_for(lambda: running.sink.bench_latest, 20, "the result")
    assert [row["run_id"] for row in running.sink.bench_latest] == ["run-1"]


def test_a_lock_shows_in_the_metrics_and_everything_is_kept_after_it(make, data):
    ingest(data)
    with held(data / "history.duckdb"):
        running = make(0.1, store=QuickStore(data, retention={"raw": None}))
        for number in range(5):
            running.sink(snapshot(number))
        wait_for(lambda: running.value(STORE_FAILURES(0)) >= 2, 30, "two flushes to fail")
        assert running.value(STORE_BUFFERED_ROWS(0)) == 30
        assert running.value(STORE_ROWS_WRITTEN(0)) == 0
        assert not running.flushed()
    wait_for(lambda: running.value(STORE_BUFFERED_ROWS(0)) == 0, 30, "the flush after it")
    running.sink.close()
    assert stored(data) == rows_of(map(snapshot, range(5)))


def test_a_reader_that_keeps_the_file_open_costs_no_sample(make, data):
    numbers = iter(range(10_000))
    running = make(0.1, store=QuickStore(data, retention={"raw": None}))
    running.sink(snapshot(next(numbers)))
    wait_for(lambda: running.value(STORE_ROWS_WRITTEN(0)) == 6, 30, "the first rows")
    with held(data / "history.duckdb", "reading"):
        # As long as several flushes find it open, with samples before, between and after them.
        before, end = running.value(STORE_FAILURES(0)), time.monotonic() + 60
        while running.value(STORE_FAILURES(0)) < before + 3:
            assert time.monotonic() < end
            running.sink(snapshot(next(numbers)))
            time.sleep(0.02)
        assert len(stored(data)) == 6, "another reader reads on"
    taken = next(numbers)
    assert taken > 20
    wait_for(lambda: running.value(STORE_BUFFERED_ROWS(0)) == 0, 30, "the flush after it")
    running.sink.close()
    assert stored(data) == rows_of(map(snapshot, range(taken)))
    assert running.value(SAMPLES_DROPPED(0, reason="buffer_full")) == 0


class QuickStore(Store):
    """The real store, less patient."""

    def flush(self, timeout=1.0):
        return super().flush(1.0)


def test_a_failing_flush_is_logged_once_and_tried_again(make, caplog):
    caplog.set_level("INFO")
    why = StoreError("the disk is full")
    store = Scripted(why, why, why)
    running = make(0.05, store=store)
    wait_for(running.flushed, 10, "a flush to succeed")
    assert running.value(STORE_FAILURES(0)) == 3
    assert caplog.text.count("the disk is full") == 1
    assert caplog.text.count("can be written again") == 1


def test_an_error_nobody_thought_of_does_not_end_flushing(make):
    running = make(0.05, store=Scripted(RuntimeError("surprise")))
    wait_for(running.flushed, 10, "a flush to succeed")
    assert running.value(STORE_FAILURES(0)) == 1


def test_while_flushes_fail_no_new_segments_are_begun(make, data):
    store = Scripted(*[StoreError("locked")] * 20)
    running = make(0.05, store=store)
    for number in range(20):
        running.sink(snapshot(number))
        time.sleep(0.02)
    wait_for(lambda: store.flushes > 10, 10, "flushes")
    assert len(segments(data)) <= 2


def test_a_disk_that_takes_nothing_shows_in_the_metrics(make, data, monkeypatch):
    running = make(store=Scripted())
    wait_for(running.flushed, 10, "the first flush")
    real = os.write
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    running.sink(snapshot(0))
    wait_for(lambda: running.value(STORE_FAILURES(0)) == 1, 5, "the failure to be counted")
    assert running.value(STORE_BUFFERED_ROWS(0)) == 6
    monkeypatch.setattr(os, "write", real)
    running.sink.close()
    ingest(data)
    assert stored(data) == rows_of([snapshot(0)])


def test_a_damaged_history_is_said_on_the_metrics_and_after_a_restart_too(make, data):
    running = make(0.2)
    running.sink(snapshot(0))
    wait_for(running.flushed, 20, "a flush")
    assert running.value(STORE_DAMAGED(0)) is None
    (data / "history.duckdb").write_bytes(b"nothing" * 9000)
    wait_for(lambda: running.value(STORE_DAMAGED(0)), 20, "the damage to be seen")
    assert running.value(STORE_DAMAGED(0)) == pytest.approx(time.time(), abs=60)
    running.sink.close()
    again = make()
    wait_for(again.flushed, 20, "a flush")
    assert again.value(STORE_DAMAGED(0)) == running.value(STORE_DAMAGED(0))


class Tended(Store):
    """The real one; it says when upkeep begins."""

    def __init__(self, data, worker=None):
        super().__init__(data, retention={"raw": None}, **({"worker": worker} if worker else {}))
        self.begun = threading.Event()

    def upkeep(self):
        self.begun.set()
        return super().upkeep()


def test_a_closed_day_is_packed_between_two_flushes(make, data):
    running = make(0.2, store=Tended(data))
    running.sink(snapshot(0))
    wait_for(lambda: sql(data, "SELECT count(*) FROM sample_day") == [(6,)], 20, "the day to be packed")
    assert stored(data) == rows_of([snapshot(0)])


def test_closing_ends_upkeep_and_still_flushes(make, data, tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(
        "import sys, time\nfrom tokwatt_exporter.store.worker import main\n"
        "time.sleep(300) if sys.argv[1] == 'upkeep' else sys.exit(main(sys.argv[1:]))\n"
    )
    store = Tended(data, (sys.executable, str(script)))
    running = make(0.2, store=store)
    running.sink(snapshot(0))
    assert store.begun.wait(20)
    running.sink(snapshot(1))
    running.sink.close()
    assert stored(data) == rows_of(map(snapshot, range(2)))


def test_rows_that_a_reader_took_in_are_counted_too(make, data):
    running = make(store=Store(data, retention={"raw": None}))
    wait_for(running.flushed, 20, "the first flush")
    running.sink(snapshot(0))
    wait_for(lambda: running.journal.written_rows == 6, 5, "the journal")
    assert ingest(data).rows == 6
    running.sink.close()
    assert running.value(STORE_ROWS_WRITTEN(0)) == 6
    assert sql(data, "SELECT count(*) FROM sample") == [(6,)]


_RUN = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[2])
from store.helpers import snapshot
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.sinks.history import HistorySink
from tokwatt_exporter.store.client import Store
from tokwatt_exporter.store.journal import Journal
data = pathlib.Path(sys.argv[1])
journal = Journal(data)
sink = HistorySink(Store(data, retention={"raw": None}), journal, SelfMetrics(), 0.2, "box")
number = int(sys.argv[3])
while True:
    sink(snapshot(number))
    while journal.written_rows < 6 * (number - int(sys.argv[3]) + 1):
        time.sleep(0.0005)
    print(number, flush=True)
    number += 1
    time.sleep(0.01)
"""


def test_kill_9_of_the_daemon_loses_at_most_the_snapshot_in_flight(data):
    acknowledged = []
    for round in range(3):
        tests = __file__.rsplit("/", 2)[0]
        process = subprocess.Popen([sys.executable, "-c", _RUN, str(data), tests, str(round * 10_000)],
                                   stdout=subprocess.PIPE, text=True)  # fmt: skip
        lines = [process.stdout.readline() for _ in range(40 + 13 * round)]
        process.kill()
        rest = process.communicate(timeout=10)[0]
        acknowledged += [int(line) for line in ("".join(lines) + rest).split("\n")[:-1]]
    ingest(data)
    kept = stored(data)
    assert set(rows_of(map(snapshot, acknowledged))) <= set(kept)
    assert len(kept) == len(set(kept)) <= 6 * (len(acknowledged) + 3)
