"""The clock of the exporter: runs the collectors, each within its deadline, and swaps in a new snapshot."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Reading, Snapshot

log = logging.getLogger(__name__)

#: A wall clock this far ahead of (or behind) the awake clock between two samples means sleep, or a clock that was set.
JUMP_SECONDS = 2.0
#: Hardware that is not there is looked for again after this long: a GPU can be plugged in.
LOOK_AGAIN_SECONDS = 60.0

Sink = Callable[[Snapshot], None]


@dataclass(slots=True)
class _Result:
    readings: list[Reading] = field(default_factory=list)
    problem: str = ""
    reason: str = ""
    seconds: float = 0.0


class _Worker:
    """One collector in a thread of its own, so that a hang costs only its own readings."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.name = collector.name
        self.last_success: float | None = None
        self.absent_until = 0.0
        self.logged = ""
        self._inbox: queue.SimpleQueue[tuple[bool, queue.SimpleQueue[_Result]] | None] = queue.SimpleQueue()
        self._busy = threading.Event()
        self._rebase = False
        threading.Thread(target=self._run, name=f"collector-{self.name}", daemon=True).start()

    def start(self, rebase: bool) -> queue.SimpleQueue[_Result] | None:
        """Begin a read; None while an earlier one has not come back."""
        self._rebase |= rebase
        if self._busy.is_set():
            return None
        self._busy.set()
        answer: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._inbox.put((self._rebase, answer))
        self._rebase = False
        return answer

    def stop(self) -> None:
        self._inbox.put(None)

    def _run(self) -> None:
        while (order := self._inbox.get()) is not None:
            rebase, answer = order
            result = self._read(rebase)
            # Before the answer is seen: who has it may order the next read at once.
            self._busy.clear()
            answer.put(result)
        self.collector.close()

    def _read(self, rebase: bool) -> _Result:
        began = time.perf_counter()
        result = _Result()
        try:
            if rebase:
                self.collector.rebase()
            result.readings = list(self.collector.read())
        except NotAvailable as why:
            result.problem, result.reason = "not_available", str(why)
        except Exception as error:
            result.problem, result.reason = "failed", type(error).__name__
            # Only the first of a row of equal failures is worth a traceback.
            if self.logged != result.reason:
                log.warning("collector %s failed: %s: %s", self.name, result.reason, error)
                log.debug("collector %s", self.name, exc_info=True)
        result.seconds = time.perf_counter() - began
        return result


class Sampler:
    """Samples every `interval` seconds until stopped; `latest` is the newest snapshot, `sinks` get each one.

    A sink must not block: it is called between two samples.
    """

    def __init__(
        self,
        collectors: Sequence[Collector],
        metrics: SelfMetrics,
        interval: float,
        *,
        sinks: Iterable[Sink] = (),
        clock: Clock | None = None,
        deadline: float | None = None,
    ) -> None:
        self.interval = interval
        self.deadline = deadline if deadline is not None else min(max(0.8 * interval, 0.2), 10.0)
        self.latest: Snapshot | None = None
        self.sinks = list(sinks)
        self._metrics = metrics
        self._clock = clock or SystemClock()
        self._workers = [_Worker(collector) for collector in collectors]
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: tuple[float, float] | None = None
        self._beat = time.monotonic()
        metrics.set(c.SAMPLE_INTERVAL, interval)
        for reason in ("non_finite", "label_limit"):
            metrics.inc(c.SAMPLES_DROPPED, 0, reason=reason)
        for worker in self._workers:
            metrics.inc(c.COLLECTOR_FAILURES, 0, collector=worker.name)

    def start(self) -> None:
        """Sample now, and then on the interval in a thread of its own."""
        self.sample()
        self._thread = threading.Thread(target=self._loop, name="sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the sample under way and close the collectors; one that hangs is left behind."""
        self._stop.set()
        if self._thread:
            self._thread.join(self.deadline + 1)
        for worker in self._workers:
            worker.stop()

    def stalled(self) -> bool:
        """Whether no sample was finished for three intervals."""
        return time.monotonic() - self._beat > 3 * self.interval + self.deadline

    def sample(self) -> Snapshot:
        """Run every collector once and swap in what they gave."""
        rebase = self._slept()
        wall = self._clock.wall()
        started = [(worker, worker.start(rebase)) for worker in self._workers if wall >= worker.absent_until or rebase]
        end = time.monotonic() + self.deadline
        readings: list[Reading] = []
        for worker, answer in started:
            readings += self._finish(worker, _collect(answer, end), wall)
        readings += self._absentees(wall)
        readings += self._metrics.readings()
        snapshot = Snapshot.of(int(wall * 1000), self._finite(readings))
        self.latest = snapshot
        self._beat = time.monotonic()
        for sink in self.sinks:
            try:
                sink(snapshot)
            except Exception:
                log.exception("a sink lost a snapshot")
        return snapshot

    def _loop(self) -> None:
        due = time.monotonic()
        while True:
            # Missed beats (sleep, a busy machine) are skipped, not made up for.
            due = max(due + self.interval, time.monotonic())
            if self._stop.wait(due - time.monotonic()):
                return
            try:
                self.sample()
            except Exception:
                log.exception("a sample was lost")

    def _slept(self) -> bool:
        now = self._clock.wall(), self._clock.awake()
        last, self._last = self._last, now
        if last is None:
            return False
        jump = (now[0] - last[0]) - (now[1] - last[1])
        if abs(jump) < JUMP_SECONDS:
            return False
        log.info("the wall clock moved %+.1f s against the awake clock: rates start anew", jump)
        return True

    def _finish(self, worker: _Worker, result: _Result | None, wall: float) -> list[Reading]:
        name = worker.name
        if result is None:
            result = _Result(problem="timed_out", reason=f"no answer within {self.deadline:g} s", seconds=self.deadline)
            if worker.logged != result.reason:
                log.warning("collector %s: %s", name, result.reason)
        worker.logged = result.reason
        if result.problem == "not_available":
            worker.absent_until = wall + LOOK_AGAIN_SECONDS
            return []
        health = [
            c.COLLECTOR_SUCCESS(not result.problem, collector=name),
            c.COLLECTOR_DURATION(result.seconds, collector=name),
        ]
        if result.problem:
            self._metrics.inc(c.COLLECTOR_FAILURES, collector=name)
            health.append(c.COLLECTOR_PROBLEM(collector=name, problem=result.problem, reason=result.reason))
        else:
            worker.last_success = wall
        if worker.last_success is not None:
            health.append(c.COLLECTOR_LAST_SUCCESS(worker.last_success, collector=name))
        return result.readings + health

    def _absentees(self, wall: float) -> list[Reading]:
        return [
            c.COLLECTOR_PROBLEM(collector=worker.name, problem="not_available", reason=worker.logged)
            for worker in self._workers
            if worker.absent_until > wall
        ]

    def _finite(self, readings: Iterable[Reading]) -> Iterable[Reading]:
        for reading in readings:
            if math.isfinite(reading.value):
                yield reading
            else:
                self._metrics.inc(c.SAMPLES_DROPPED, reason="non_finite")


def _collect(answer: queue.SimpleQueue[_Result] | None, end: float) -> _Result | None:
    if answer is None:
        return None
    try:
        return answer.get(timeout=max(end - time.monotonic(), 0.001))
    except queue.Empty:
        return None
