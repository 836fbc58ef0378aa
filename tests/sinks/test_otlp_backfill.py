"""Missed samples out of a real history: each once, the oldest first, whatever dies or is locked meanwhile."""

import contextlib
import json
import math
import os
import subprocess
import sys
import time

import psutil
import pytest

from fakes.otlp_receiver import Point, Response, receiver
from support.net import free_port, wait_for
from tokwatt_exporter.catalogue import (
    MEMORY_SIZE,
    MEMORY_USED,
    OTLP_ACKNOWLEDGED,
    OTLP_EXPORT_FAILURES,
    POWER_SOURCE,
    PROCESS_CPU,
    TIME_TO_FIRST_TOKEN,
)
from tokwatt_exporter.families import Distribution
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.sinks.otlp import Pusher
from tokwatt_exporter.sinks.otlp_deliver import Backoff
from tokwatt_exporter.sinks.otlp_pending import Pending
from tokwatt_exporter.sinks.otlp_settings import OtlpSettings
from tokwatt_exporter.sinks.otlp_watermark import FILE
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

TEN_MINUTES = 600_000
STEP = 5_000


def now_ms():
    return int(time.time() * 1000)


def snapshot(time_ms):
    """Some of every kind, with values that tell one time from another, of the 15 digits that VictoriaMetrics keeps."""
    return Snapshot.of(
        time_ms,
        [MEMORY_SIZE(time_ms), PROCESS_CPU(time_ms / 8), *POWER_SOURCE("ac"),
         *TIME_TO_FIRST_TOKEN(Distribution(((0.5, 3), (math.inf, time_ms)), time_ms / 8), engine="e", model="m"),
         *(MEMORY_USED(time_ms + n, kind=f"kind {n}") for n in range(5))],
    )  # fmt: skip


def points(*snapshots):
    return sorted(Point(r.family.name, tuple(sorted(r.labels)), s.time_ms, r.value) for s in snapshots for r in s)


class Daemon:
    """What the daemon does with a snapshot: into the journal, then to the pusher."""

    def __init__(self, data_dir, url, **options):
        data_dir.mkdir(exist_ok=True)
        extra = {name: options.pop(name) for name in ("patience", "pending") if name in options}
        self.metrics = SelfMetrics()
        self.journal = Journal(data_dir)
        settings = OtlpSettings(url=url, **{"interval": 0.05, "timeout": 2.0, **options})
        extra["backoff"] = Backoff(lambda low, high: 0.05)
        self.push = Pusher(settings, self.metrics, data_dir, time.time_ns(), **extra)
        self.taken = []

    def sample(self, time_ms=None):
        taken = snapshot(time_ms or max(now_ms(), self.taken[-1].time_ms + 1 if self.taken else 0))
        self.taken.append(taken)
        self.journal.append_snapshot(taken, "here")
        self.push(taken)

    def value(self, family):
        return next((r.value for r in self.metrics.readings() if r.family is family), None)

    def acknowledged(self):
        return self.value(OTLP_ACKNOWLEDGED) == self.taken[-1].time_ms / 1000


@contextlib.contextmanager
def running(data_dir, url, **options):
    daemon = Daemon(data_dir, url, **options)
    try:
        yield daemon
    finally:
        daemon.push.close()
        daemon.journal.close()


def outage(data_dir, milliseconds=TEN_MINUTES, ended_ms=None):
    """Samples of an earlier run in the journal; the receiver has none of them."""
    data_dir.mkdir(exist_ok=True)
    ended_ms = ended_ms or now_ms() - 1000
    missed = [snapshot(time_ms) for time_ms in range(ended_ms - milliseconds, ended_ms, STEP)]
    journal = Journal(data_dir)
    for taken in missed:
        journal.append_snapshot(taken, "here")
    journal.close()
    return missed


def watermark(data_dir, url, time_ms):
    (data_dir / FILE).write_text(json.dumps({"acknowledged_ms": {url: time_ms}}))


def test_after_an_outage_and_a_restart_every_sample_is_sent_once_and_oldest_first(tmp_path):
    missed = outage(tmp_path)
    with receiver() as there:
        watermark(tmp_path, there.url, missed[10].time_ms)
        with running(tmp_path, there.url) as daemon:
            daemon.sample()
            wait_for(daemon.acknowledged, 30, "the live sample to be acknowledged")
            daemon.sample()
            wait_for(daemon.acknowledged, 30, "the next live sample to be acknowledged")
        expected = missed[11:] + daemon.taken
        assert there.times() == [taken.time_ms for taken in expected]
        assert sorted(there.points()) == points(*expected)
        assert daemon.value(OTLP_EXPORT_FAILURES) == 0


def test_samples_that_no_longer_fit_in_memory_come_from_the_history(tmp_path):
    url = f"http://127.0.0.1:{(port := free_port())}/v1/metrics"
    with running(tmp_path, url, pending=Pending(5 * len(snapshot(0)))) as daemon:
        daemon.sample()
        wait_for(lambda: daemon.value(OTLP_EXPORT_FAILURES), 10, "the receiver to be missed")
        for _ in range(100):
            daemon.sample()
        with receiver(port) as there:
            wait_for(daemon.acknowledged, 30, "the newest sample to be acknowledged")
            assert there.times() == [taken.time_ms for taken in daemon.taken]
            assert sorted(there.points()) == points(*daemon.taken)


def test_samples_that_the_history_does_not_have_yet_are_waited_for(tmp_path, caplog):
    url = f"http://127.0.0.1:{(port := free_port())}/v1/metrics"
    with running(tmp_path, url, pending=Pending(3 * len(snapshot(0)))) as daemon:
        daemon.sample()
        wait_for(lambda: daemon.value(OTLP_EXPORT_FAILURES), 10, "the receiver to be missed")
        late = [snapshot(daemon.taken[0].time_ms + n) for n in range(1, 11)]
        for taken in late:
            daemon.push(taken)
        with receiver(port) as there:
            wait_for(lambda: "not in the history yet" in caplog.text, 30, "the history to be found behind")
            for taken in late:
                daemon.journal.append_snapshot(taken, "here")
            expected = [taken.time_ms for taken in (*daemon.taken, *late)]
            wait_for(lambda: there.times()[-1:] == expected[-1:], 30, "the newest sample")
            assert there.times() == expected


class Racing(Pending):
    """A queue in which something happens just before it is looked at."""

    def __init__(self, points):
        super().__init__(points)
        self.before = lambda: None

    def all(self):
        self.before()
        return super().all()


def test_a_sample_that_leaves_memory_just_as_the_batch_is_made_is_not_lost(tmp_path):
    pending = Racing(3 * len(snapshot(0)))
    with receiver() as there, running(tmp_path, there.url, pending=pending, interval=0.5) as daemon:

        def one_more():
            if len(daemon.taken) == 3:
                daemon.sample()

        for _ in range(3):
            daemon.sample()
        pending.before = one_more
        wait_for(lambda: len(daemon.taken) == 4 and daemon.acknowledged(), 30, "the newest sample")
        assert there.times() == [taken.time_ms for taken in daemon.taken]


def test_what_is_already_in_duckdb_and_what_is_still_in_the_journal_are_both_sent(tmp_path):
    old = outage(tmp_path, 60_000, now_ms() - 120_000)
    assert ingest(tmp_path).rows == len(points(*old))
    new = outage(tmp_path, 60_000)
    with receiver() as there:
        watermark(tmp_path, there.url, old[0].time_ms - 1)
        with running(tmp_path, there.url) as daemon:
            daemon.sample()
            wait_for(daemon.acknowledged, 30, "the live sample to be acknowledged")
        assert there.times() == [taken.time_ms for taken in old + new + daemon.taken]


def test_a_receiver_seen_for_the_first_time_gets_nothing_of_the_past(tmp_path):
    outage(tmp_path)
    with receiver() as there, running(tmp_path, there.url) as daemon:
        daemon.sample()
        wait_for(daemon.acknowledged, 10, "the live sample to be acknowledged")
        assert there.times() == [daemon.taken[0].time_ms]


def test_a_restart_sends_nothing_again(tmp_path):
    with receiver() as there:
        runs = []
        for _ in range(3):
            with running(tmp_path, there.url) as daemon:
                runs.append(daemon)
                for _ in range(3):
                    daemon.sample()
                    wait_for(daemon.acknowledged, 30, "the live sample to be acknowledged")
                # This one goes out with the stop.
                daemon.sample()
        assert there.times() == [taken.time_ms for daemon in runs for taken in daemon.taken]


def test_nothing_older_than_the_maximum_is_sent(tmp_path):
    missed = outage(tmp_path)
    with receiver() as there:
        watermark(tmp_path, there.url, missed[0].time_ms - 10**7)
        began = now_ms()
        with running(tmp_path, there.url, max_backfill=120.0) as daemon:
            daemon.sample()
            wait_for(daemon.acknowledged, 30, "the live sample to be acknowledged")
        recent = [taken.time_ms for taken in missed if taken.time_ms > now_ms() - 120_000]
        assert there.times()[-len(recent) - 1 :] == [*recent, daemon.taken[0].time_ms]
        assert min(there.times()) > began - 120_000 - STEP


@pytest.mark.parametrize(
    "trouble", [Response(503), Response(0), Response(404)], ids=lambda response: str(response.status)
)
def test_a_receiver_that_fails_in_the_middle_of_a_backfill_gets_the_rest_later(tmp_path, trouble):
    missed = outage(tmp_path, 3 * TEN_MINUTES)
    seen = []

    def behave(request):
        seen.append(request)
        return trouble if len(seen) in (2, 3, 5) else Response()

    with receiver() as there:
        there.behave = behave
        watermark(tmp_path, there.url, missed[0].time_ms - 1)
        with running(tmp_path, there.url) as daemon:
            daemon.sample()
            wait_for(daemon.acknowledged, 30, "the live sample to be acknowledged")
        assert there.times() == [taken.time_ms for taken in missed + daemon.taken]
        assert daemon.value(OTLP_EXPORT_FAILURES) == 3


def test_refused_samples_do_not_stop_a_backfill(tmp_path):
    missed = outage(tmp_path)
    bad = missed[37].time_ms

    with receiver() as there:
        there.behave = lambda request: Response(400 if bad in times_of(request) else 200)
        watermark(tmp_path, there.url, missed[0].time_ms - 1)
        with running(tmp_path, there.url) as daemon:
            daemon.sample()
            wait_for(daemon.acknowledged, 30, "the live sample to be acknowledged")
        assert there.times() == [taken.time_ms for taken in missed + daemon.taken if taken.time_ms != bad]


def times_of(request):
    from fakes.otlp_receiver import points_of

    return {point.time_ms for point in points_of(request)}


def children():
    return [p for p in psutil.Process().children() if any("otlp_backfill" in part for part in p.cmdline())]


def test_a_backfill_that_is_killed_is_taken_up_where_it_was(tmp_path):
    missed = outage(tmp_path, 3 * TEN_MINUTES)
    seen = []

    def behave(request):
        seen.append(request)
        if len(seen) in (3, 5):
            for child in children():
                child.kill()
        return Response()

    with receiver() as there:
        there.behave = behave
        watermark(tmp_path, there.url, missed[0].time_ms - 1)
        with running(tmp_path, there.url) as daemon:
            daemon.sample()
            wait_for(daemon.acknowledged, 30, "the live sample to be acknowledged")
        assert len(seen) > 5
        assert set(there.points()) == set(points(*missed, *daemon.taken)), (
            "nothing is missing, and what is double is equal"
        )
        assert len(there.times()) - len(set(there.times())) <= 2 * 61, "at most the requests in flight are sent again"


def test_the_secret_headers_are_in_no_process_list(tmp_path):
    missed = outage(tmp_path)
    seen = []
    with receiver() as there:

        def behave(request):
            seen.extend(text for child in children() for text in (*child.cmdline(), *child.environ().values()))
            return Response()

        there.behave = behave
        watermark(tmp_path, there.url, missed[0].time_ms - 1)
        with running(tmp_path, there.url, headers={"authorization": "Bearer s3cret"}) as daemon:
            daemon.sample()
            wait_for(daemon.acknowledged, 30, "the live sample to be acknowledged")
        assert seen
        assert not any("s3cret" in text for text in seen)
        assert {headers["authorization"] for headers in there.headers} == {"Bearer s3cret"}


@pytest.mark.parametrize("read_only", [False, True], ids=["by a writer", "by a reader"])
def test_a_locked_history_delays_and_loses_nothing(tmp_path, caplog, read_only):
    stored = outage(tmp_path, 60_000, now_ms() - 120_000)
    ingest(tmp_path)
    journaled = outage(tmp_path, 60_000)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import duckdb, sys\nc = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == 'True')\n"
         "print('held', flush=True)\nsys.stdin.read()", str(tmp_path / "history.duckdb"), str(read_only)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    with receiver() as there:
        watermark(tmp_path, there.url, stored[0].time_ms - 1)
        with running(tmp_path, there.url) as daemon:
            daemon.sample()
            wait_for(lambda: "wait until the history can be read" in caplog.text, 30, "the lock to be told about")
            assert there.times() == [], "live samples wait for older ones"
            holder.communicate("")
            daemon.sample()
            wait_for(daemon.acknowledged, 30, "the newest sample to be acknowledged")
        assert there.times() == [taken.time_ms for taken in stored + journaled + daemon.taken]


def test_a_history_that_stays_unreadable_does_not_stop_live_samples_for_ever(tmp_path, caplog):
    missed = outage(tmp_path)
    (tmp_path / "history.duckdb").mkdir()
    with receiver() as there:
        watermark(tmp_path, there.url, missed[0].time_ms - 1)
        with running(tmp_path, there.url, patience=0.5) as daemon:
            daemon.sample()
            wait_for(daemon.acknowledged, 30, "the live sample to be acknowledged")
            assert there.times() == [daemon.taken[0].time_ms]
            assert daemon.value(OTLP_EXPORT_FAILURES) == 1
    assert "missed samples are not sent" in caplog.text


def test_a_stop_does_not_wait_for_a_backfill_and_the_next_start_ends_it(tmp_path):
    missed = outage(tmp_path, 3 * TEN_MINUTES)
    with receiver() as there:
        seen = []

        def slow(request):
            seen.append(request)
            time.sleep(0.5 if len(seen) > 1 else 0)
            return Response()

        there.behave = slow
        watermark(tmp_path, there.url, missed[0].time_ms - 1)
        with running(tmp_path, there.url) as daemon:
            daemon.sample()
            wait_for(lambda: len(seen) > 1, 30, "the backfill to be under way")
            began = time.monotonic()
            daemon.push.close()
            assert time.monotonic() - began < 5
            assert children() == []
        there.behave = lambda request: Response()
        with running(tmp_path, there.url) as second:
            second.sample()
            wait_for(second.acknowledged, 30, "the live sample to be acknowledged")
        assert set(there.points()) == set(points(*missed, *daemon.taken, *second.taken))


DAEMON = """
import sys, time
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from sinks.test_otlp_backfill import running
with running(Path(sys.argv[1]), sys.argv[2]) as daemon:
    daemon.sample()
    print(daemon.taken[0].time_ms, flush=True)
    while not daemon.acknowledged():
        time.sleep(0.02)
    print("acknowledged", flush=True)
    sys.stdin.read()
"""


def test_kill_9_in_the_middle_of_a_backfill_loses_nothing(tmp_path):
    missed = outage(tmp_path, 3 * TEN_MINUTES)
    tests = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    live = []
    with receiver() as there:
        seen = []

        def slow(request):
            seen.append(request)
            time.sleep(0.1)
            return Response()

        there.behave = slow
        watermark(tmp_path, there.url, missed[0].time_ms - 1)
        for count in (2, 4, 10**6):
            process = subprocess.Popen([sys.executable, "-c", DAEMON, str(tmp_path), there.url, tests],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
            with process:
                live.append(snapshot(int(process.stdout.readline())))
                if count < 10**6:
                    wait_for(lambda count=count: len(seen) >= count, 30, "the backfill to be under way")
                    process.kill()
                    killed_at = len(seen)
                    time.sleep(1)
                    assert len(seen) <= killed_at + 2, "the backfill ends with the daemon"
                else:
                    assert process.stdout.readline() == "acknowledged\n"
                    process.stdin.close()
        assert set(there.points()) == set(points(*missed, *live)), "nothing is missing, and what is double is equal"
        double = len(there.times()) - len(set(there.times()))
        assert double <= 4 * 61, "at most the requests in flight at each kill are sent again"
