"""Running a plan: rounds of requests, and what was measured beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from tokwatt_bench import cold, conditions, figures, rounds
from tokwatt_bench.calibration import Calibration, calibrate
from tokwatt_bench.energy import Observation, Use, between
from tokwatt_bench.observe import Observer
from tokwatt_bench.plan import LEAST_RUNS, Plan, Prepared
from tokwatt_bench.quality import gate
from tokwatt_bench.quality.text import said
from tokwatt_bench.request import Load, Phase, Request, examine
from tokwatt_bench.spool import Spool
from tokwatt_bench.stopping import Decision, Stopping, warm
from tokwatt_bench.stream import Recording
from tokwatt_bench.wire import Outgoing
from tokwatt_exporter.errors import EngineError

Step = Callable[[str, int, int], None]
#: Requests that are made ready before the first is sent; more are made as they go.
MOST_READY = 4096


@dataclass(slots=True)
class Round:
    """Requests that ran without a pause between them, and the energy used meanwhile. With one stream at a time each
    request is a round of its own, which is examined before the next one is sent.
    """

    phase: Phase
    took: rounds.Took
    requests: list[Request] = field(default_factory=list)
    use: Use | None = None


@dataclass(slots=True)
class Run:
    """What a plan became."""

    plan: Plan
    started_ms: int
    finished_ms: int = 0
    rounds: list[Round] = field(default_factory=list)
    idle: Use | None = None
    peak_memory_bytes: float | None = None
    #: Why there is no energy; empty where there is.
    no_energy: str = ""
    #: Whether the user stopped it before the end.
    aborted: bool = False
    #: What ended it before the end, after something was measured.
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    #: Why it ended when it did.
    stopped: Decision | None = None
    calibration: Calibration | None = None
    #: Samples of the machine's conditions, and which of them are of the time before anything was asked.
    samples: list[conditions.Sample] = field(default_factory=list)
    idle_samples: int = 0

    @property
    def requests(self) -> list[Request]:
        """All of them, in the order in which they ended."""
        return [request for one in self.rounds for request in one.requests]

    @property
    def measured(self) -> list[Request]:
        """The requests that count."""
        return [request for request in self.requests if request.phase == "measured"]

    @property
    def results(self) -> list[Request]:
        """Those of them that succeeded."""
        return [request for request in self.measured if request.ok]

    @property
    def measured_rounds(self) -> list[Round]:
        """The rounds that count."""
        return [one for one in self.rounds if one.phase == "measured"]


def run(plan: Plan, step: Step = lambda what, done, of: None) -> Run:
    """Do all of it. `step` is told what comes next, and how much of how much is done; an interrupt ends it early.
    `conditions.Refused` where the machine is in no condition for it and the plan does not overlook that.
    """
    done = Run(plan, now_ms())
    try:
        if plan.calibrate:
            step("calibrating the client", 0, plan.most)
            done.calibration = calibrate(plan.concurrency)
        with Observer(plan.target.pid, plan.procfs, plan.sysfs) as observer:
            step("measuring idle power", 0, plan.most)
            done.idle = idle(observer, plan, done)
            done.samples, done.idle_samples = observer.samples, len(observer.samples)
            _gate(plan, done.samples)
            Driver(done, observer, step).drive()
    except KeyboardInterrupt:
        done.aborted = True
    except EngineError as error:
        if not done.measured:
            raise
        done.problem = str(error)
    done.finished_ms = now_ms()
    return done


class Driver:
    """Sends what the plan has, round by round."""

    def __init__(self, done: Run, observer: Observer, step: Step) -> None:
        self.done, self._plan, self._observer, self._step = done, done.plan, observer, step
        self._prepared = self._plan.requests()
        self._count = {"warmup": 0, "measured": 0}

    def drive(self) -> None:
        """The warm-up, then what counts."""
        plan = self._plan
        self.warm_up()
        # What counts begins where the scenario does.
        self._prepared = plan.requests()
        if plan.seconds is not None:
            self._by_time(plan.seconds)
        elif plan.precision is None:
            for size in self._sizes(plan.runs):
                self.round("measured", size)
        else:
            self._until_precise(plan.precision)
        self._step("done", plan.most, plan.most)

    def warm_up(self, least: int = 0) -> None:
        """What does not count."""
        for _ in self._warmups(least):
            self.round("warmup", self._plan.concurrency)

    def _warmups(self, least: int) -> Iterator[int]:
        """As many as were wanted; else until they no longer get faster."""
        plan, before = self._plan, len(self.done.rounds)
        for number in range(max(plan.most_warmups, least)):
            now = (request for one in self.done.rounds[before:] for request in one.requests)
            seconds = [request.duration_seconds for request in now if request.duration_seconds]
            if plan.warmup is None and warm(seconds, plan.concurrency):
                return
            yield number

    def _until_precise(self, precision: float) -> None:
        plan = self._plan
        stopping = Stopping(precision, least=min(LEAST_RUNS, plan.runs), most=plan.runs)
        for size in self._sizes(plan.runs, stopping.looks):
            self.round("measured", size)
            if self._count["measured"] in stopping.looks:
                self.done.stopped = stopping.look(figures.paces(self.done.results))
                if self.done.stopped.stop:
                    return

    def _sizes(self, most: int, looks: tuple[int, ...] = ()) -> Iterator[int]:
        """How many requests each round has: one, or with streams side by side all until it is looked at."""
        if self._plan.one_by_one:
            yield from [1] * most
            return
        before = 0
        for look in sorted({*looks, most}):
            yield look - before
            before = look

    def _by_time(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.round("measured", 1 if self._plan.one_by_one else None, end)

    def round(self, phase: Phase, size: int | None, until: float | None = None, block: int | None = None) -> Round:
        """Send so many requests, or as many as start before `until`, and examine what came."""
        plan, done = self._plan, self.done
        self._step("warming up" if phase == "warmup" else "measuring", sum(self._count.values()), plan.most)
        ready = _Ready()
        took = rounds.Took(spool=Spool())
        outgoing = self._outgoing(ready, size)
        loaded = cold.load(plan) if plan.cold else None
        before = self._observer.read()
        try:
            self._send(outgoing, ready, took, until, phase)
        finally:
            after = self._observer.read()
            one = Round(phase, took, self._examined(ready, took, phase, loaded))
            one.use = between(before, after) if plan.target.local else None
            if plan.one_by_one and one.requests and one.use and any(one.use.updates.values()):
                one.requests[0].energy_joules = one.use.joules
            for request in one.requests:
                request.block = block
            done.rounds.append(one)
            self._remember(after)
        return one

    def _send(
        self, outgoing: Iterator[Outgoing], ready: _Ready, took: rounds.Took, until: float | None, phase: Phase
    ) -> None:  # fmt: skip
        plan = self._plan
        if plan.timed and phase == "measured":
            rounds.at_times(outgoing, ready.times, took)
            return
        if plan.rate is None or phase == "warmup":
            rounds.closed(outgoing, plan.concurrency, took, until)
            return
        due = rounds.arrivals(plan.rate, plan.poisson, 0)
        if until is not None:
            left = until - time.perf_counter()
            due = iter([seconds for seconds in islice(due, round(left * plan.rate * 4) + 16) if seconds < left])
        rounds.at_times(outgoing, due, took)

    def _outgoing(self, ready: _Ready, size: int | None) -> Iterator[Outgoing]:
        """Made before the first is sent, where it is known how many they are: making one takes its time. Of a long run
        there are too many to have them all at a time.
        """
        one_by_one = map(ready.take, self._prepared if size is None else islice(self._prepared, size))
        return iter(list(one_by_one)) if size is not None and size <= MOST_READY else one_by_one

    def _examined(self, ready: _Ready, took: rounds.Took, phase: Phase, loaded: Load | None) -> list[Request]:
        if len(took.sent) > self._plan.concurrency:
            self._step("reading what came", sum(self._count.values()), self._plan.most)
        first = self._count[phase]
        self._count[phase] += len(took.sent)
        assert took.spool
        found = []
        for place, one in enumerate(sorted(took.sent)):
            took.spool.give_back(one.number, one.recording)
            dialect = ready.dialects[one.number]
            request = examine(one.recording, dialect, first + place, phase, one.due_ns)
            request.lane, request.load = one.lane, loaded
            if request.ok:
                request.problem = _problem(one.recording, dialect)
            # Of a long run they are gigabytes, and nobody is to read them.
            one.recording.pieces = []
            found.append(request)
        took.spool.close()
        took.sent.clear()
        return found

    def _remember(self, seen: Observation | None) -> None:
        _remember(self.done, self._observer, seen)


@dataclass(slots=True)
class _Ready:
    """What is known of the requests of a round, by their number, once they are gone."""

    dialects: list[str] = field(default_factory=list)
    #: Of a trace; seconds.
    times: list[float] = field(default_factory=list)

    def take(self, prepared: Prepared) -> Outgoing:
        """Note it and give its bytes."""
        self.dialects.append(prepared.dialect)
        if prepared.ask.at_seconds is not None:
            self.times.append(prepared.ask.at_seconds)
        return prepared.outgoing


def _problem(recording: Recording, dialect: str) -> str:
    """What is wrong with the text of an answer; the text itself is not kept."""
    text = said(recording.pieces, dialect)
    if text.calls and not text.content:
        return ""
    return gate.problem(text.content or text.reasoning, text.finish)


def _gate(plan: Plan, samples: list[conditions.Sample]) -> None:
    if plan.gate != "refuse":
        return
    if found := conditions.problems(samples, plan.beside) + conditions.background(samples):
        raise conditions.Refused("; ".join(found))


def idle(observer: Observer, plan: Plan, done: Run) -> Use | None:
    """What the machine uses while nothing is asked of the engine."""
    before = observer.read()
    _remember(done, observer, before)
    if done.no_energy or not plan.idle_seconds:
        return None
    time.sleep(plan.idle_seconds)
    return between(before, observer.read())


def _remember(done: Run, observer: Observer, seen: Observation | None) -> None:
    done.no_energy = observer.problem if done.plan.target.local else "the engine runs on another machine"
    if seen and seen.memory_bytes is not None:
        done.peak_memory_bytes = max(seen.memory_bytes, done.peak_memory_bytes or 0.0)


def now_ms() -> int:
    """Unix time in milliseconds."""
    return round(time.time() * 1000)
