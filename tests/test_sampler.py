"""The sampler: isolation, deadlines, health rows, sleep."""

import math
import threading
import time

import pytest

from tokwatt_exporter.catalogue import (
    COLLECTOR_DURATION,
    COLLECTOR_FAILURES,
    COLLECTOR_LAST_SUCCESS,
    COLLECTOR_PROBLEM,
    COLLECTOR_SUCCESS,
    CPU_CORES,
    MEMORY_SIZE,
    SAMPLE_INTERVAL,
    SAMPLES_DROPPED,
)
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.sampler import LOOK_AGAIN_SECONDS, Sampler
from tokwatt_exporter.selfmetrics import SelfMetrics


class FakeClock:
    def __init__(self):
        self.now, self.uptime = 1_000_000.0, 500.0

    def wall(self):
        return self.now

    def awake(self):
        return self.uptime

    def pass_time(self, seconds, asleep=0.0):
        self.now += seconds + asleep
        self.uptime += seconds


class Scripted(Collector):
    """Does what the test says, one step a read; the last step repeats."""

    def __init__(self, name, *steps):
        self.name = name
        self.steps = list(steps)
        self.reads = self.rebases = 0
        self.closed = threading.Event()

    def read(self):
        self.reads += 1
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, BaseException):
            raise step
        return step() if callable(step) else step

    def rebase(self):
        self.rebases += 1

    def close(self):
        self.closed.set()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def sampler_of(clock):
    made = []

    def make(*collectors, **options):
        options = {"interval": 5.0, "clock": clock, "deadline": 0.3, **options}
        made.append(Sampler(collectors, SelfMetrics(), **options))
        return made[-1]

    yield make
    for sampler in made:
        sampler.stop()


def test_a_snapshot_holds_the_readings_the_health_and_the_interval(sampler_of, clock):
    snapshot = sampler_of(Scripted("good", [MEMORY_SIZE(64)])).sample()
    assert snapshot.time_ms == clock.now * 1000
    assert snapshot.get(MEMORY_SIZE(0)) == 64
    assert snapshot.get(COLLECTOR_SUCCESS(0, collector="good")) == 1
    assert snapshot.get(COLLECTOR_LAST_SUCCESS(0, collector="good")) == clock.now
    assert snapshot.get(COLLECTOR_FAILURES(0, collector="good")) == 0
    assert 0 <= snapshot.get(COLLECTOR_DURATION(0, collector="good")) < 0.3
    assert snapshot.get(SAMPLE_INTERVAL(0)) == 5


def test_a_crash_costs_only_the_collector_that_crashed(sampler_of):
    snapshot = sampler_of(Scripted("bad", ZeroDivisionError("boom")), Scripted("good", [MEMORY_SIZE(64)])).sample()
    assert snapshot.get(MEMORY_SIZE(0)) == 64
    assert snapshot.get(COLLECTOR_SUCCESS(0, collector="bad")) == 0
    assert snapshot.get(COLLECTOR_FAILURES(0, collector="bad")) == 1
    assert snapshot.get(COLLECTOR_LAST_SUCCESS(0, collector="bad")) is None
    reason = COLLECTOR_PROBLEM(collector="bad", problem="failed", reason="ZeroDivisionError")
    assert snapshot.get(reason) == 1


def test_a_reading_that_failed_is_absent_not_the_last_value(sampler_of):
    sampler = sampler_of(Scripted("flaky", [MEMORY_SIZE(64)], OSError("gone")))
    assert sampler.sample().get(MEMORY_SIZE(0)) == 64
    assert sampler.sample().get(MEMORY_SIZE(0)) is None


def test_a_crash_half_way_through_gives_none_of_the_collectors_readings(sampler_of):
    def half():
        yield MEMORY_SIZE(64)
        raise OSError("torn")

    assert sampler_of(Scripted("torn", half)).sample().get(MEMORY_SIZE(0)) is None


def test_a_hang_costs_the_deadline_and_only_its_own_readings(sampler_of):
    release = threading.Event()
    hung = Scripted("hung", lambda: release.wait(30) and [CPU_CORES(8, cluster="late")])
    sampler = sampler_of(hung, Scripted("good", [MEMORY_SIZE(64)]))
    for failures in (1, 2):
        snapshot = sampler.sample()
        assert snapshot.get(MEMORY_SIZE(0)) == 64
        assert snapshot.get(COLLECTOR_SUCCESS(0, collector="hung")) == 0
        assert snapshot.get(COLLECTOR_FAILURES(0, collector="hung")) == failures
    assert hung.reads == 1, "a collector that has not come back is not called again"
    problem = COLLECTOR_PROBLEM(collector="hung", problem="timed_out", reason="no answer within 0.3 s")
    assert snapshot.get(problem) == 1
    release.set()


def test_a_late_answer_is_thrown_away(sampler_of):
    release = threading.Event()
    slow = Scripted("slow", lambda: release.wait(30) and [CPU_CORES(8, cluster="late")], [CPU_CORES(4, cluster="now")])
    sampler = sampler_of(slow)
    sampler.sample()
    release.set()
    while slow.reads < 2:
        time.sleep(0.001)
        snapshot = sampler.sample()
    assert snapshot.get(CPU_CORES(0, cluster="late")) is None
    assert snapshot.get(CPU_CORES(0, cluster="now")) == 4


def test_hardware_that_is_not_there_is_no_failure_and_says_why(sampler_of):
    snapshot = sampler_of(Scripted("fan", NotAvailable("no fan sensor"))).sample()
    assert snapshot.get(COLLECTOR_SUCCESS(0, collector="fan")) is None
    assert snapshot.get(COLLECTOR_FAILURES(0, collector="fan")) == 0
    assert snapshot.get(COLLECTOR_PROBLEM(collector="fan", problem="not_available", reason="no fan sensor")) == 1


def test_absent_hardware_is_looked_for_again_after_a_while(sampler_of, clock):
    fan = Scripted("fan", NotAvailable("no fan sensor"), [MEMORY_SIZE(1)])
    sampler = sampler_of(fan)
    sampler.sample()
    clock.pass_time(LOOK_AGAIN_SECONDS - 1)
    snapshot = sampler.sample()
    assert fan.reads == 1
    assert snapshot.get(COLLECTOR_PROBLEM(collector="fan", problem="not_available", reason="no fan sensor")) == 1
    clock.pass_time(2)
    snapshot = sampler.sample()
    assert snapshot.get(COLLECTOR_SUCCESS(0, collector="fan")) == 1
    assert snapshot.get(COLLECTOR_PROBLEM(collector="fan", problem="not_available", reason="no fan sensor")) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_dropped_and_counted(sampler_of, value):
    sampler = sampler_of(Scripted("odd", [MEMORY_SIZE(value)]))
    assert sampler.sample().get(MEMORY_SIZE(0)) is None
    assert sampler.sample().get(SAMPLES_DROPPED(0, reason="non_finite")) == 1


def test_after_sleep_collectors_are_rebased_before_they_are_read(sampler_of, clock):
    collector = Scripted("energy", [MEMORY_SIZE(1)])
    sampler = sampler_of(collector)
    sampler.sample()
    clock.pass_time(5)
    sampler.sample()
    assert collector.rebases == 0
    clock.pass_time(5, asleep=3600)
    sampler.sample()
    assert collector.rebases == 1
    clock.pass_time(5)
    sampler.sample()
    assert collector.rebases == 1


def test_a_clock_set_back_rebases_too(sampler_of, clock):
    collector = Scripted("energy", [MEMORY_SIZE(1)])
    sampler = sampler_of(collector)
    sampler.sample()
    clock.pass_time(5, asleep=-7200)
    sampler.sample()
    assert collector.rebases == 1


def test_a_collector_that_hung_over_a_sleep_is_still_rebased(sampler_of, clock):
    release = threading.Event()
    slow = Scripted("slow", lambda: release.wait(30) and [], [MEMORY_SIZE(1)])
    sampler = sampler_of(slow)
    sampler.sample()
    clock.pass_time(5, asleep=3600)
    sampler.sample()
    assert slow.rebases == 0
    release.set()
    while slow.reads < 2:
        time.sleep(0.001)
        clock.pass_time(5)
        sampler.sample()
    assert slow.rebases == 1


def test_every_sink_gets_every_snapshot_in_order(sampler_of):
    got = []
    sampler = sampler_of(Scripted("good", [MEMORY_SIZE(64)]), sinks=[got.append])
    made = [sampler.sample() for _ in range(3)]
    assert got == made
    assert sampler.latest is made[-1]


def test_a_sink_that_raises_does_not_end_the_sampling(sampler_of, caplog):
    def broken(_):
        raise OSError("no room")

    got = threading.Semaphore(0)
    sampler = sampler_of(Scripted("good", [MEMORY_SIZE(64)]), interval=0.02, sinks=[broken, lambda _: got.release()])
    sampler.start()
    for _ in range(3):
        assert got.acquire(timeout=5)
    assert "no room" in caplog.text


def test_the_loop_samples_on_its_own_and_closes_the_collectors(sampler_of):
    collector = Scripted("good", [MEMORY_SIZE(64)])
    got = threading.Semaphore(0)
    sampler = sampler_of(collector, interval=0.02, sinks=[lambda _: got.release()])
    sampler.start()
    for _ in range(3):
        assert got.acquire(timeout=5)
    sampler.stop()
    assert collector.closed.wait(5)
    assert not sampler.stalled()


def test_a_stopped_beat_is_a_stall(sampler_of, monkeypatch):
    sampler = sampler_of(Scripted("good", [MEMORY_SIZE(64)]), interval=1.0)
    sampler.sample()
    assert not sampler.stalled()
    monkeypatch.setattr(sampler, "_beat", sampler._beat - 3.5)
    assert sampler.stalled()
