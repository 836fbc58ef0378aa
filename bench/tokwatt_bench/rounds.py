"""Driving requests: so many streams at a time, or each at its time whatever became of the ones before."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from tokwatt_bench.spool import Spool
from tokwatt_bench.stream import Recording
from tokwatt_bench.wire import Ended, Outgoing, Wires

#: More streams than this at a time are none of a machine's users: those that are due then wait, and their wait counts.
MOST_IN_FLIGHT = 512
#: `select` ends up to a millisecond late, so that the last part of a wait is spent looking.
_LOOKING_SECONDS = 0.002


class Sent(NamedTuple):
    """A request that ended: its number, its lane among the streams, and when it was to be sent, where that was set."""

    number: int
    lane: int
    due_ns: int | None
    recording: Recording


@dataclass(slots=True)
class Took:
    """A round: what ended, and when; nanoseconds of `time.perf_counter_ns`, 0 before it is known."""

    started_ns: int = 0
    #: Until then every lane was busy.
    full_ns: int = 0
    ended_ns: int = 0
    sent: list[Sent] = field(default_factory=list)
    #: Where what they brought is until it is parsed; in them where None.
    spool: Spool | None = None


def closed(outgoing: Iterable[Outgoing], lanes: int, took: Took, until: float | None = None) -> None:
    """Keep `lanes` streams under way until there is nothing more to send, or `time.perf_counter()` is `until`.

    What ended is in `took` as soon as it did, also where this is interrupted.
    """
    left = enumerate(outgoing)
    free = deque(range(lanes))
    took.started_ns = time.perf_counter_ns()
    with Wires() as wires:
        while True:
            while free and not took.full_ns:
                one = next(left, None) if until is None or time.perf_counter() < until else None
                if one is None:
                    took.full_ns = time.perf_counter_ns()
                    break
                wires.start((one[0], free.popleft(), None), one[1])
                # Starting takes its time, in which others get tokens.
                free.extend(_keep(took, wires.poll()))
            if not wires.running:
                break
            free.extend(_keep(took, wires.wait()))
    took.ended_ns = time.perf_counter_ns()


def at_times(outgoing: Iterable[Outgoing], times: Iterable[float], took: Took) -> None:
    """Send each at its time, in seconds from now; a stream that is slow delays no other."""
    took.started_ns = time.perf_counter_ns()
    begun = took.started_ns / 1e9
    free: deque[int] = deque(range(MOST_IN_FLIGHT))
    with Wires() as wires:
        for number, (request, seconds) in enumerate(zip(outgoing, times, strict=False)):
            due = begun + seconds
            free.extend(_until(wires, took, due))
            while not free:
                free.extend(_keep(took, wires.wait()))
            wires.start((number, free.popleft(), round(due * 1e9)), request)
        took.full_ns = time.perf_counter_ns()
        while wires.running:
            free.extend(_keep(took, wires.wait()))
    took.ended_ns = time.perf_counter_ns()


def arrivals(rate: float, poisson: bool, seed: int) -> Iterator[float]:
    """When requests are due, in seconds: evenly, or as those of many people who know nothing of each other."""
    chance = random.Random(seed)
    now = 0.0
    while True:
        yield now
        now += chance.expovariate(rate) if poisson else 1 / rate


def _until(wires: Wires, took: Took, due: float) -> Iterator[int]:
    while time.perf_counter() < due - _LOOKING_SECONDS:
        yield from _keep(took, wires.wait(due - _LOOKING_SECONDS))
    while time.perf_counter() < due:
        yield from _keep(took, wires.poll())


def _keep(took: Took, ended: list[Ended]) -> Iterator[int]:
    """The lanes that are free now."""
    for key, recording in ended:
        number, lane, due_ns = cast("tuple[int, int, int | None]", key)
        if took.spool:
            took.spool.put(number, recording)
        took.sent.append(Sent(number, lane, due_ns, recording))
        yield lane
