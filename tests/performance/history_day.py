"""A day of samples at 5 s, by the real collectors: `python -m … here|MAC FOLDER TICKS` writes it to a journal.

`here` is this machine, read as fast as it can be. A Mac is one of `tests/captures/apple` on the fake of Apple's
libraries: it idles, answers and heats up as a Mac that serves a model does, and its sensors waver by what sensors do.
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tokwatt_exporter.clock import SystemClock
from tokwatt_exporter.collectors import registry
from tokwatt_exporter.sampler import Sampler
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.store.journal import Journal

#: When the day begins, Unix time: 2026-09-21.
MIDNIGHT = 1_789_948_800.0
INTERVAL = 5.0
_SEGMENT_TICKS = 500
#: They ask other programs, or tell of a daemon that is not here.
_LEFT_OUT = ("engines", "benchmark", "proxy", "powermetrics", "clpc")


class Timetable:
    """When the sampler wakes: on the interval, and late by less than a millisecond, mostly."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)
        self._due = MIDNIGHT - INTERVAL
        self.now = self._due

    def tick(self) -> float:
        """Go to the next time; gives the seconds since the last one."""
        before = self.now
        self._due += INTERVAL
        self.now = round(self._due + min(self._chance.expovariate(1 / 0.0004), 0.05), 3)
        return self.now - before

    def wall(self) -> float:
        return self.now

    def awake(self) -> float:
        return self.now - MIDNIGHT + 3600


class Load:
    """How busy a machine is that is asked now and then: 0 to 1, in bursts of some seconds to some minutes."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)
        self._left, self._level = 0.0, 0.02

    def after(self, seconds: float) -> float:
        """The mean over the next seconds."""
        self._left -= seconds
        if self._left <= 0:
            answering = self._level < 0.1 and self._chance.random() < 0.7
            self._level = self._chance.uniform(0.5, 0.97) if answering else 0.02
            self._left = self._chance.expovariate(1 / (40 if answering else 240))
        return min(max(self._level * self._chance.gauss(1, 0.05), 0.003), 1.0)


def here(folder: Path, ticks: int) -> None:
    """This machine: its collectors as fast as they go, on the timetable of a day."""
    times = Timetable("here")
    SystemClock.wall = lambda self: times.wall()  # type: ignore[method-assign]
    SystemClock.awake = lambda self: times.awake()  # type: ignore[method-assign]
    _write(folder, "here", ticks, times.tick)


def mac(name: str, folder: Path, ticks: int) -> None:
    """One of the Macs of the tests, through the fake of Apple's libraries."""
    from fakes.apple import pretend
    from fakes.apple.mac import Mac
    from fakes.apple.machine import SimpleChannel
    from fakes.apple.machines import load

    fake, clock = pretend.be_a_mac()
    recording = load(name)
    rates = {
        now.name: (now.value - then.value) / 5 / {"mJ": 1e3, "uJ": 1e6, "nJ": 1e9}[now.unit]
        for then, now in zip(recording.machine.channels, recording.later().channels, strict=True)
        if isinstance(then, SimpleChannel) and isinstance(now, SimpleChannel) and now.unit in ("mJ", "uJ", "nJ")
    }
    mac = Mac(fake, recording.machine)
    times, load_of, chance = Timetable(name), Load(name), random.Random(name)
    warmth = _Warmth(mac.machine, chance)

    def tick() -> float:
        seconds = times.tick()
        clock.now = times.now
        busy = load_of.after(seconds)
        watts = {name: rate * (0.1 + 0.9 * busy) * chance.gauss(1, 0.02) for name, rate in rates.items() if rate}
        warmth.pass_time(seconds, busy)
        _traffic(mac.machine, busy, chance)
        mac.run(seconds, cpu=0.05 + 0.3 * busy, gpu=busy, watts=watts)
        return seconds

    clock.now = times.now
    _write(folder, name, ticks, tick)


class _Warmth:
    """Thermometers of the SMC and of HID follow the load slowly, in the steps that such sensors have."""

    def __init__(self, machine: Any, chance: random.Random) -> None:
        self._machine, self._chance = machine, chance
        self._smc = {key: _float(data) for key, (kind, data) in (machine.smc or {}).items()
                     if kind == "flt " and key.startswith(("T", "P"))}  # fmt: skip
        self._hid = [degrees for _, degrees in machine.hid or []]
        self._excess = 0.0

    def pass_time(self, seconds: float, busy: float) -> None:
        self._excess += (25 * busy - self._excess) * min(seconds / 60, 1)
        for key, at_rest in self._smc.items():
            if not at_rest:
                continue
            value = (
                at_rest + self._excess + self._chance.gauss(0, 0.3)
                if key.startswith("T")
                else at_rest * (0.2 + busy) * self._chance.gauss(1, 0.03)
            )
            self._machine.smc[key] = ("flt ", struct.pack("<f", value))
        if self._machine.hid:
            self._machine.hid = [
                (name, None if rest is None or rest <= 0 else rest + self._excess + self._chance.gauss(0, 0.2))
                for (name, _), rest in zip(self._machine.hid, self._hid, strict=True)
            ]


def _float(data: bytes) -> float:
    return float(struct.unpack("<f", data)[0])


def _traffic(machine: Any, busy: float, chance: random.Random) -> None:
    for interface in machine.interfaces:
        interface.received += chance.randrange(400, 4000 + int(2e5 * busy))
        interface.sent += chance.randrange(200, 2000 + int(4e5 * busy))
    if machine.vm:
        for field in ("pageins", "decompressions", "swapins"):
            if field in machine.vm:
                machine.vm[field] += int(200 * busy * chance.random())
        moved = chance.randrange(-200, 201)
        machine.vm["free"] = max(machine.vm["free"] + moved, 1000)
        machine.vm["active"] = max(machine.vm["active"] - moved, 1000)


def _write(folder: Path, host: str, ticks: int, tick: Callable[[], float]) -> None:
    journal = Journal(folder)
    sampler = Sampler(
        registry.build(lambda name, default: default and name not in _LEFT_OUT), SelfMetrics(), INTERVAL, deadline=30
    )
    for number in range(ticks):
        tick()
        journal.append_snapshot(sampler.sample(), host)
        if number % _SEGMENT_TICKS == _SEGMENT_TICKS - 1:
            journal.rotate()
    journal.close()
    sampler.stop()


def samples(folder: Path) -> Iterator[tuple[int, str, list[tuple[tuple[str, tuple[tuple[str, str], ...]], float]]]]:
    """What a folder's journal holds: time, host, and the value of each series."""
    from tokwatt_exporter.store import segment

    for name in segment.names(folder):
        opened = segment.Segment(segment.folder(folder) / name, claim=False)
        known: dict[int, tuple[str, tuple[tuple[str, str], ...]]] = {}
        for line in opened.lines():
            assert line.record is not None
            for number, made in line.record["series"].items():
                known[int(number)] = (made["metric"], tuple(sorted(made["labels"].items())))
            yield (
                line.record["time_ms"], line.record["host"],
                [(known[number], float(value)) for number, value in line.record["values"]],
            )  # fmt: skip
        opened.close()


if __name__ == "__main__":
    if sys.argv[1] == "here":
        here(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        mac(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
