"""LLM engines on a Mac, with what its kernel and its GPU driver account to their processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import psutil

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.apple import libproc
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.apple_gpu_clients import GpuClients
from tokwatt_exporter.config import Config
from tokwatt_exporter.engines.monitor import EngineMonitor
from tokwatt_exporter.engines.scan import Scan
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Reading


class AppleEngines(EngineMonitor):
    """Readings of every known engine, and of its processes what only macOS tells."""

    def __init__(
        self, config: Config, metrics: SelfMetrics, clock: Clock | None = None, scan: Scan | None = None
    ) -> None:
        super().__init__(config, metrics, clock, scan, AppleUsage(clock))


class AppleUsage:
    """Footprint, energy and GPU time of engines; the kernel tells the first two of the own user's processes only."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._began = (clock or SystemClock()).wall()
        self._clients = GpuClients()
        self._gpu_seconds: Mapping[int, float] | None = None
        self._joules: dict[str, _Sum] = {}
        self._seconds: dict[str, _Sum] = {}

    def begin(self) -> None:
        """The GPU's clients are read again when an engine is asked for."""
        self._gpu_seconds = None

    def keep(self, engines: Iterable[str]) -> None:
        """Forget all other engines."""
        self._joules = {name: self._joules[name] for name in engines if name in self._joules}
        self._seconds = {name: self._seconds[name] for name in engines if name in self._seconds}

    def readings(self, engine: str, processes: Sequence[psutil.Process]) -> Iterator[Reading]:
        """Bytes now, joules and seconds since the exporter started; nothing of what may not be seen."""
        with suppress(NotAvailable):
            yield from self._kernel(engine, processes)
        yield from self._gpu(engine, processes)

    def _kernel(self, engine: str, processes: Sequence[psutil.Process]) -> Iterator[Reading]:
        usages = {}
        for process in processes:
            usage = libproc.usage(process.pid)
            if usage is not None:
                usages[process] = usage
            elif process.is_running():
                # A sum without one of its parts would be a wrong number.
                return
        if not usages:
            return
        yield c.ENGINE_PROCESS_FOOTPRINT(sum(usage.footprint for usage in usages.values()), engine=engine)
        neural = [usage.neural_footprint for usage in usages.values() if usage.neural_footprint is not None]
        if len(neural) == len(usages):
            yield c.ENGINE_PROCESS_NEURAL(sum(neural), engine=engine)
        joules = {process: usage.energy_joules for process, usage in usages.items() if usage.energy_joules is not None}
        if len(joules) == len(usages):
            yield c.ENGINE_PROCESS_ENERGY(self._sum(self._joules, engine).add(joules), engine=engine)

    def _gpu(self, engine: str, processes: Sequence[psutil.Process]) -> Iterator[Reading]:
        if self._gpu_seconds is None:
            try:
                self._gpu_seconds = self._clients.read()
            except (NotAvailable, OSError):
                self._gpu_seconds = {}
        # Every Mac draws something: where nobody has a client, there is no driver that counts.
        if self._gpu_seconds:
            seconds = {process: self._gpu_seconds.get(process.pid, 0.0) for process in processes}
            yield c.ENGINE_PROCESS_GPU_SECONDS(self._sum(self._seconds, engine).add(seconds), engine=engine)

    def _sum(self, sums: dict[str, _Sum], engine: str) -> _Sum:
        return sums.setdefault(engine, _Sum(self._began))


class _Sum:
    """A counter over processes that come and go, from 0 at `began` (Unix time)."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._total = 0.0
        self._last: dict[psutil.Process, float] = {}

    def add(self, now: Mapping[psutil.Process, float]) -> float:
        """Take what each process counts since its own start; what one counted before `began` is not in the total."""
        for process, value in now.items():
            before = self._last.get(process)
            if before is None:
                before = 0.0 if process.create_time() >= self._began else value
            # A count that fell began anew.
            self._total += value - before if value >= before else value
        away = {p: value for p, value in self._last.items() if p not in now and p.is_running()}
        self._last = away | dict(now)
        return self._total
