"""The exporter process itself, under the names that every Prometheus client uses."""

from __future__ import annotations

from collections.abc import Iterator

import psutil

from tokwatt_exporter.catalogue import PROCESS_CPU, PROCESS_OPEN_FDS, PROCESS_RESIDENT_MEMORY, PROCESS_START_TIME
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.snapshot import Reading


class Process(Collector):
    """CPU seconds, resident bytes, open descriptors and start of a process: this one unless told otherwise."""

    name = "process"

    def __init__(self, pid: int | None = None) -> None:
        self._process = psutil.Process(pid)

    def read(self) -> Iterator[Reading]:
        """The values now; short-lived children of the process are not in them."""
        with self._process.oneshot():
            times = self._process.cpu_times()
            yield PROCESS_CPU(times.user + times.system)
            yield PROCESS_RESIDENT_MEMORY(self._process.memory_info().rss)
            yield PROCESS_OPEN_FDS(self._process.num_fds())
            yield PROCESS_START_TIME(self._process.create_time())
