"""Running a plan: one request after the other, and what was measured beside them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tokwatt_bench import cold
from tokwatt_bench.energy import Observation, Use, between
from tokwatt_bench.observe import Observer
from tokwatt_bench.plan import Plan
from tokwatt_bench.request import Phase, Request, examine
from tokwatt_bench.stream import record


@dataclass(slots=True)
class Run:
    """What a plan became; `uses` are the energy of each request, in the same order."""

    plan: Plan
    started_ms: int
    finished_ms: int = 0
    requests: list[Request] = field(default_factory=list)
    uses: list[Use | None] = field(default_factory=list)
    idle: Use | None = None
    peak_memory_bytes: float | None = None
    #: Why there is no energy; empty where there is.
    no_energy: str = ""
    #: Whether the user stopped it before the end.
    aborted: bool = False

    @property
    def measured(self) -> list[Request]:
        """The requests that count."""
        return [request for request in self.requests if request.phase == "measured"]

    @property
    def results(self) -> list[Request]:
        """Those of them that succeeded."""
        return [request for request in self.measured if request.ok]


def run(plan: Plan, step: Callable[[str, int, int], None] = lambda what, done, of: None) -> Run:
    """Do all of it. `step` is told what comes next, and how much of how much is done; an interrupt ends it early."""
    done = Run(plan, _now_ms())
    of = plan.warmup + plan.runs
    try:
        with Observer(plan.target.pid, plan.procfs, plan.sysfs) as observer:
            step("measuring idle power", 0, of)
            done.idle = _idle(observer, plan, done)
            for number in range(of):
                phase: Phase = "warmup" if number < plan.warmup else "measured"
                step("warming up" if phase == "warmup" else "measuring", number, of)
                _one(observer, done, number - (plan.warmup if phase == "measured" else 0), phase)
            step("done", of, of)
    except KeyboardInterrupt:
        done.aborted = True
    done.finished_ms = _now_ms()
    return done


def _one(observer: Observer, done: Run, index: int, phase: Phase) -> None:
    plan = done.plan
    url, body, dialect = plan.generation()
    encoded, headers = json.dumps(body).encode(), plan.headers()
    loaded = cold.load(plan) if plan.cold else None
    before = observer.read()
    recording = record(url, encoded, headers, plan.timeout)
    after = observer.read()
    request = examine(recording, dialect, index, phase)
    request.load = loaded
    use = between(before, after) if plan.target.local else None
    # A counter that did not move says nothing about so short a time.
    request.energy_joules = use.joules if use and any(use.updates.values()) else None
    done.requests.append(request)
    done.uses.append(use)
    _remember(done, observer, after)


def _idle(observer: Observer, plan: Plan, done: Run) -> Use | None:
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


def _now_ms() -> int:
    return round(time.time() * 1000)
