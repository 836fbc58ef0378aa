"""CPU time and memory of the engines' processes: the one that listens and all its children."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import psutil

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.sockets import Listener
from tokwatt_exporter.snapshot import Reading


class Usage(Protocol):
    """What one platform accounts to processes, beyond what psutil reads on all of them."""

    def begin(self) -> None:
        """A new sample begins: what was read for all processes at once is old now."""
        ...

    def readings(self, engine: str, processes: Sequence[psutil.Process]) -> Iterable[Reading]:
        """What the engine's processes use now, those included that psutil may not look into."""
        ...

    def keep(self, engines: Iterable[str]) -> None:
        """Forget all other engines."""
        ...


@dataclass(slots=True)
class _Seconds:
    """CPU seconds of one engine: of processes that have ended, and of each that has not, as last read."""

    ended: float = 0.0
    running: dict[psutil.Process, float] = field(default_factory=dict)

    def total(self, now: Mapping[psutil.Process, float]) -> float:
        self.ended += sum(seconds for process, seconds in self.running.items() if process not in now)
        self.running = dict(now)
        return self.ended + sum(now.values())


class Processes:
    """Which processes belong to which engine, and what they use. Hidden processes leave no trace, and no error."""

    def __init__(self, usage: Usage | None = None) -> None:
        self._trees: Mapping[str, tuple[psutil.Process, ...]] = {}
        self._seconds: dict[str, _Seconds] = {}
        self._usage = usage

    def find(self, engines: Mapping[str, Listener | None]) -> None:
        """Look up the process trees anew; the CPU time of engines no longer named is forgotten."""
        roots = {name: one.pid for name, one in engines.items() if one and one.pid}
        if roots:
            children = _children()
            self._trees = {name: tuple(_tree(pid, children)) for name, pid in roots.items()}
        else:
            self._trees = {}
        self._seconds = {name: seconds for name, seconds in self._seconds.items() if name in engines}
        if self._usage:
            self._usage.keep(engines)

    def begin(self) -> None:
        """A new sample begins."""
        if self._usage:
            self._usage.begin()

    def readings(self, engine: str) -> Iterable[Reading]:
        """Count, CPU seconds and resident bytes of an engine's processes now; nothing where they are hidden."""
        seconds: dict[psutil.Process, float] = {}
        running: list[psutil.Process] = []
        hidden = False
        resident = 0
        for process in self._trees.get(engine, ()):
            try:
                if not process.is_running():
                    continue
                running.append(process)
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info()
            except psutil.NoSuchProcess:
                continue
            except psutil.Error:
                hidden = True
                continue
            seconds[process] = times.user + times.system
            resident += memory.rss
        # A sum without one of its parts would be a wrong number, not a smaller one.
        if seconds and not hidden:
            yield c.ENGINE_PROCESSES(len(seconds), engine=engine)
            yield c.ENGINE_PROCESS_CPU(self._seconds.setdefault(engine, _Seconds()).total(seconds), engine=engine)
            yield c.ENGINE_PROCESS_MEMORY(resident, engine=engine)
        if running and self._usage:
            yield from self._usage.readings(engine, running)

    def owner(self, pid: int) -> str | None:
        """The engine that a process belongs to, also one started since the last look; None for all others."""
        owners = {process.pid: name for name, tree in self._trees.items() for process in tree}
        if pid in owners:
            return owners[pid]
        try:
            return next((owners[p.pid] for p in psutil.Process(pid).parents() if p.pid in owners), None)
        except psutil.Error:
            return None


def _children() -> dict[int, list[psutil.Process]]:
    # One pass over all processes for all engines: psutil's own `children` does a pass for each.
    found: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter(["ppid"]):
        found.setdefault(process.info["ppid"], []).append(process)
    return found


def _tree(pid: int, children: Mapping[int, list[psutil.Process]]) -> Iterable[psutil.Process]:
    try:
        todo = [psutil.Process(pid)]
    except psutil.Error:
        return
    seen: set[int] = set()
    while todo:
        process = todo.pop()
        if process.pid not in seen:
            seen.add(process.pid)
            yield process
            todo += children.get(process.pid, [])
