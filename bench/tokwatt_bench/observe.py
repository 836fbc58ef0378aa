"""Watching energy and memory from a process of its own, so that the one that times the stream does nothing else.

The child reads the counters when it is told to and a few times a second in between: sources that only know power are
integrated, and it is seen how often a counter moves.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from tokwatt_bench import conditions, energy
from tokwatt_bench.energy import Observation, levels
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

PERIOD_SECONDS = 0.2
#: How long a reading may take; a driver that hangs must not hang the benchmark.
READ_SECONDS = 10.0
#: How often it is looked for new processes of the engine.
FIND_SECONDS = 3.0
_COMMAND = (sys.executable, "-P", "-m", "tokwatt_bench.observe")
_FAILED = "the reader of the energy counters failed"


class Observer:
    """The child, while the `with` block lasts; `pid` is the engine's process, None where it is not on this machine."""

    def __init__(
        self, pid: int | None, procfs: Path = Path("/proc"), sysfs: Path = Path("/sys"), *,
        command: Sequence[str] = _COMMAND,
    ) -> None:  # fmt: skip
        self._child = subprocess.Popen(
            [*command, str(PERIOD_SECONDS), str(pid or 0), str(procfs), str(sysfs)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, start_new_session=True,
        )  # fmt: skip
        self._kept = b""
        #: Why there is nothing to read; empty while there is.
        self.problem = ""
        #: Samples of the machine's conditions since the start.
        self.samples: list[conditions.Sample] = []

    def __enter__(self) -> Observer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe:
                pipe.close()
        try:
            self._child.wait(1)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def read(self) -> Observation | None:
        """The counters now; None where the child does not answer, and from then on."""
        if self.problem == _FAILED:
            return None
        answer = self._ask()
        if answer is None:
            self.problem = _FAILED
            return None
        self.problem = answer["problem"]
        self.samples += answer["samples"]
        timeline = tuple((at, joules) for at, joules in answer["timeline"])
        return Observation(
            answer["at"], answer["joules"], answer["updates"], answer["memory"], timeline, answer["devices"]
        )

    def _ask(self) -> Any:
        end = time.monotonic() + READ_SECONDS
        assert self._child.stdin and self._child.stdout
        try:
            self._child.stdin.write(b"read\n")
            while b"\n" not in self._kept:
                ready, _, _ = select.select([self._child.stdout], [], [], max(end - time.monotonic(), 0))
                piece = self._child.stdout.read(65536) if ready else b""
                if not piece:
                    return None
                self._kept += piece
            line, _, self._kept = self._kept.partition(b"\n")
            return json.loads(line)
        except (OSError, ValueError):
            return None


class Meter:
    """What the child keeps: the counters, how often each moved, and the highest memory since it was last asked."""

    def __init__(
        self, collectors: Iterable[Collector], memory: Any = None, around: conditions.Conditions | None = None
    ) -> None:
        self._collectors = list(collectors)
        self._memory = memory
        self._around = around
        self._samples: list[conditions.Sample] = []
        self._sample_due = 0.0
        self._last: dict[str, float] = {}
        self._updates: Counter[str] = Counter()
        self._highest: float | None = None
        self._problems: dict[str, str] = {}
        self._devices: float | None = None
        self._timeline: list[tuple[float, float]] = []

    def look(self) -> None:
        """Read everything once."""
        sources: list[list[Reading]] = []
        for collector in self._collectors:
            try:
                sources.append(list(collector.read()))
                self._problems.pop(collector.name, None)
            except NotAvailable as error:
                self._problems[collector.name] = str(error)
            except Exception as error:  # noqa: BLE001 - a driver may raise anything; it costs its own counters only
                self._problems[collector.name] = f"{type(error).__name__}: {error}"
        system, devices = levels(sources)
        joules = system or devices
        self._devices = sum(devices.values()) if system and devices else None
        for name, value in joules.items():
            self._updates[name] += int(name in self._last and value != self._last[name])
        self._last = joules
        if joules:
            self._timeline.append((time.perf_counter(), sum(joules.values())))
        if self._around and time.monotonic() >= self._sample_due:
            self._sample_due = time.monotonic() + conditions.PERIOD_SECONDS
            self._samples.append(self._around.sample())
        if self._memory and (used := self._memory()) is not None:
            self._highest = max(used, self._highest or 0.0)

    def told(self) -> dict[str, Any]:
        """What is known now; the highest memory starts anew."""
        highest, self._highest = self._highest, None
        timeline, self._timeline = self._timeline, []
        samples, self._samples = self._samples, []
        reasons = "; ".join(f"{name}: {problem}" for name, problem in self._problems.items())
        problem = "" if self._last else f"no counter of energy can be read ({reasons or 'this platform has none'})"
        return {
            "at": time.perf_counter(), "joules": self._last, "updates": dict(self._updates), "memory": highest,
            "problem": problem, "timeline": timeline, "devices": self._devices,
            "samples": samples,
        }  # fmt: skip


def serve(meter: Meter, orders: TextIO, period: float) -> None:
    """Answer each line of `orders` with one on stdout until it ends, and look every `period` seconds in between."""
    while True:
        while not select.select([orders], [], [], period)[0]:
            meter.look()
        if not orders.readline():
            return
        meter.look()
        sys.stdout.write(json.dumps(meter.told()) + "\n")
        sys.stdout.flush()


def _memory_of(pid: int) -> Any:
    from tokwatt_exporter.catalogue import ENGINE_PROCESS_MEMORY
    from tokwatt_exporter.engines.processes import Processes
    from tokwatt_exporter.engines.sockets import Listener

    processes = Processes()
    due = 0.0

    def used() -> float | None:
        nonlocal due
        if time.monotonic() >= due:
            # A pass over all processes of the machine.
            processes.find({"engine": Listener("", 0, pid)})
            due = time.monotonic() + FIND_SECONDS
        return next((r.value for r in processes.readings("engine") if r.family == ENGINE_PROCESS_MEMORY), None)

    return used


def main() -> None:
    """The child: `PERIOD PID PROCFS SYSFS`, orders on stdin."""
    from tokwatt_exporter.collectors import registry

    period, pid = float(sys.argv[1]), int(sys.argv[2])
    paths = {"proc": Path(sys.argv[3]), "sys": Path(sys.argv[4])}
    built = registry.build(lambda name, default: name in energy.COLLECTORS, paths=paths)
    around = registry.build(lambda name, default: name in conditions.COLLECTORS, paths=paths)
    meter = Meter(built, _memory_of(pid) if pid else None, conditions.Conditions(around))
    try:
        serve(meter, sys.stdin, period)
    except BrokenPipeError:
        sys.exit(0)
    finally:
        for collector in (*built, *around):
            collector.close()


if __name__ == "__main__":
    main()
