"""What one flush of the journal into DuckDB costs, in the child process that does it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from .report import Row, megabytes, milliseconds, quantile
from .servers import readings

FLUSHES, SAMPLES, SERIES = 8, 12, 300


def rows() -> Iterator[Row]:
    """Measured in a process that has no other children."""
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name if __spec__ else __name__], check=False, capture_output=True, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["failed"])[-1])
    found = json.loads(done.stdout)
    wall, cpu = found["wall"], found["cpu"]
    rows_each = SAMPLES * SERIES
    yield Row(f"first flush (new file), {rows_each:,} rows: wall / CPU", f"{milliseconds(wall[0])} / {cpu[0]:.3f} s")
    yield Row(
        f"later flushes, {rows_each:,} rows each: wall median / max",
        f"{milliseconds(quantile(wall[1:], 0.5))} / {milliseconds(max(wall[1:]))}",
    )
    yield Row("later flushes: CPU seconds each", f"{quantile(cpu[1:], 0.5):.3f} s")
    yield Row("peak memory of the child, gone after the flush", megabytes(found["peak"]))
    yield Row("size of the history after all flushes", megabytes(found["size"]))


def measure() -> dict[str, object]:
    """Seconds and bytes of the flushes, in order."""
    from tokwatt_exporter.snapshot import Snapshot
    from tokwatt_exporter.store.client import Store
    from tokwatt_exporter.store.journal import Journal

    wall, cpu = [], []
    with TemporaryDirectory() as name:
        folder = Path(name)
        journal, store = Journal(folder), Store(folder)
        now = int(time.time() * 1000)
        for flush in range(FLUSHES):
            for sample in range(SAMPLES):
                turn = flush * SAMPLES + sample
                journal.append_snapshot(Snapshot.of(now + turn * 1000, readings(SERIES, turn)), "bench")
            journal.rotate()
            before, began = children_cpu(), time.perf_counter()
            store.flush(60)
            wall.append(time.perf_counter() - began)
            cpu.append(children_cpu() - before)
        journal.close()
        size = sum(path.stat().st_size for path in folder.glob("history.duckdb*"))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"wall": wall, "cpu": cpu, "peak": peak, "size": size}


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure()))
