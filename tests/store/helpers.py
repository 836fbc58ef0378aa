"""Snapshots to keep, and what a history file holds as DuckDB itself says it, without our reading code."""

import contextlib
import functools
import subprocess
import sys
import time

import duckdb

from support.warm import warm
from tokwatt_exporter.catalogue import FAN_SPEED, MEMORY_USED, TEMPERATURE
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal

#: A moment in 2026, in milliseconds.
NOON = 1_790_000_000_000


def snapshot(number: int, series: int = 4) -> Snapshot:
    """The snapshot of a second after NOON: `series` temperatures, each with a value of its own, and two more."""
    readings = [TEMPERATURE(number + sensor / 8, device="cpu", sensor=f"core {sensor}") for sensor in range(series)]
    return Snapshot.of(
        NOON + 1000 * number, [*readings, FAN_SPEED(1200, fan="left"), MEMORY_USED(2.0**40, kind="anon")]
    )


def rows_of(snapshots):
    return sorted((s.time_ms, family.name, labels, value) for s in snapshots for family, labels, value in s)


@functools.cache
def _duckdb():
    # One for all: to start DuckDB takes 30 ms, and to attach a file to it one.
    return duckdb.connect()


def sql(data_dir, query, *values):
    db = _duckdb()
    db.execute(f"ATTACH '{data_dir / 'history.duckdb'}' AS history (READ_ONLY)")
    try:
        db.execute("USE history")
        return db.execute(query, values).fetchall()
    finally:
        db.execute("USE memory")
        db.execute("DETACH history")


def stored(data_dir):
    """Every row in the file: time, metric, labels, value."""
    found = sql(data_dir, "SELECT epoch_ms(time), metric, labels, value FROM sample JOIN series USING (series_id)")
    return sorted((time_ms, metric, tuple(labels.items()), value) for time_ms, metric, labels, value in found)


def segments(data_dir):
    return sorted((data_dir / "journal").glob("*"))


def written(data):
    """Ten snapshots and a benchmark, in a journal that is still open."""
    journal = Journal(data)
    for number in range(10):
        journal.append_snapshot(snapshot(number), "box")
    journal.append(bench())
    return journal


def taken_in(data):
    """The same, in the history."""
    written(data).close()
    ingest(data)
    return data


def bench(run_id="run-1", **more):
    """A record of a benchmark run with two requests."""
    run = {
        "run_id": run_id, "started": NOON, "finished": NOON + 5000, "host": "box", "engine": "llama_cpp",
        "model": "tiny", "scenario": "chat", "concurrency": 1, "runs": 2, "failed": 1, "settings": {"seed": 7},
        "result": {"p50": 12.5}, "generation_tokens_per_second": 12.5, **more,
    }  # fmt: skip
    requests = [
        {"request_index": 0, "phase": "warmup", "started": NOON, "ok": False, "failure": "timeout"},
        {"request_index": 0, "phase": "measured", "started": NOON + 900, "ok": True, "generated_tokens": 3,
         "chunk_offsets_ns": [10, 2**40, 2**41]},
    ]  # fmt: skip
    return {"kind": "bench", "run": run, "requests": requests}


_HOLD = """
import contextlib, duckdb, sys, time
for _ in range(500):
    with contextlib.suppress(duckdb.IOException):
        db = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reading")
        break
    time.sleep(0.01)
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held(path, how="writing"):
    """Another program has the file open for as long as the block runs, for writing or for "reading" alone."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder.pid
        finally:
            holder.communicate("", timeout=20)


_STEP = """
import itertools, os, pathlib, sys
left = itertools.count(int(sys.argv[-1]), -1)
def step(name):
    if next(left) == 0:
        os.write(1, name.encode())
        os._exit(9)
"""


@contextlib.contextmanager
def dying(folder, code, *modules):
    """Runs the code, which calls `step`, in processes that end without a word at the step of the last argument.

    Gives a function of the code's arguments: the step's name, empty where the code got through.
    """
    with warm(folder, "duckdb", *modules) as python:

        def die_at(*arguments):
            result = python.run(_STEP + code, *map(str, arguments))
            assert result.returncode == (9 if result.stdout else 0), result.stderr
            return result.stdout

        yield die_at


def seconds_of(call):
    began = time.monotonic()
    call()
    return time.monotonic() - began
