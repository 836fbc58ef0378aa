"""The newest benchmark results, as the history last told them, and whether a benchmark is running now."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.snapshot import Reading

#: Columns of the query `bench_latest`, and what they are on /metrics.
_COLUMNS = {
    "runs_total": c.BENCHMARK_RUNS,
    "runs_failed_total": c.BENCHMARK_RUNS_FAILED,
    "generation_tokens_per_second": c.BENCHMARK_GENERATION_SPEED,
    "prompt_tokens_per_second": c.BENCHMARK_PROMPT_SPEED,
    "time_to_first_token_median_seconds": c.BENCHMARK_TTFT_MEDIAN,
    "time_to_first_token_p95_seconds": c.BENCHMARK_TTFT_P95,
    "energy_per_token_joules": c.BENCHMARK_ENERGY_PER_TOKEN,
    "peak_memory_bytes": c.BENCHMARK_PEAK_MEMORY,
}


class Benchmark(Collector):
    """`latest` gives the rows of the query `bench_latest`; a running benchmark holds `bench.lock` in `data_dir`."""

    name = "benchmark"

    def __init__(self, latest: Callable[[], list[dict[str, Any]]], data_dir: Path) -> None:
        self._latest = latest
        self._lock = data_dir / "bench.lock"

    def read(self) -> Iterator[Reading]:
        """The newest figures of each engine, model and scenario; a figure that is not known is absent."""
        running = _held(self._lock)
        if running is not None:
            yield c.BENCHMARK_RUNNING(running)
        for row in self._latest():
            yield from _readings(row)


def _readings(row: Mapping[str, Any]) -> Iterator[Reading]:
    labels = {name: row[name] for name in ("engine", "model", "scenario")}
    if None in labels.values():
        return
    if row["finished"] is not None:
        yield c.BENCHMARK_LAST_RUN(datetime.fromisoformat(row["finished"]).timestamp(), **labels)
    for column, metric in _COLUMNS.items():
        if row[column] is not None:
            yield metric(row[column], **labels)


def _held(lock: Path) -> bool | None:
    """Whether another process holds the lock; None where that cannot be found out. The file is never made here."""
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        # Shared, so that two who look do not see each other.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
