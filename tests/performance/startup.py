"""How long the commands take to start, and what their imports weigh."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .report import Row, below, megabytes, quantile

RUNS = 15
COMMANDS = (("tokwatt", "--version"), ("tokwatt-bench", "--help"))


def rows() -> Iterator[Row]:
    """Wall time of the installed commands, beside a bare interpreter."""
    folder = Path(sys.executable).parent
    bare = median_seconds([sys.executable, "-c", "pass"])
    yield Row("python -c pass", f"{bare * 1e3:.0f} ms")
    for command, argument in COMMANDS:
        seconds = median_seconds([str(folder / command), argument])
        what = f"{command} {argument}, median of {RUNS}"
        if argument == "--version":
            yield below(what, seconds * 1e3, 100, "{:.0f} ms")
        else:
            yield Row(what, f"{seconds * 1e3:.0f} ms")


def median_seconds(command: list[str]) -> float:
    """Wall seconds from start to exit; RuntimeError with the last line it wrote where it fails."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        times.append(time.perf_counter() - began)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return quantile(times, 0.5)


#: In the order in which the daemon imports them; each step costs what those before it have not loaded yet.
STEPS = (
    "logging, json, threading, queue",
    "psutil",
    "httpx",
    "asyncio",
    "hypercorn.asyncio",
    "prometheus_client",
    "tokwatt_exporter.catalogue",
    "tokwatt_exporter.config",
    "tokwatt_exporter.daemon",
    "tokwatt_exporter.collectors.registry",
    "tokwatt_exporter.store.client, tokwatt_exporter.store.journal, tokwatt_exporter.sinks.history",
    "tokwatt_exporter.engines.monitor",
    "tokwatt_exporter.web.server",
    "tokwatt_exporter.sinks.otlp",
)

_STEP = """
import resource, sys
def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
sys.stdout.write(f"python {resident()} {len(sys.modules)}\\n")
for step in sys.argv[1:]:
    try:
        exec(f"import {step}")
    except ImportError as error:
        sys.stdout.write(f"- {error}\\n")
    else:
        sys.stdout.write(f"+ {resident()} {len(sys.modules)}\\n")
"""


def import_rows() -> Iterator[Row]:
    """Resident memory, import by import (Linux)."""
    done = subprocess.run([sys.executable, "-c", _STEP, *STEPS], check=True, capture_output=True, text=True)
    first, *lines = done.stdout.splitlines()
    before = int(first.split()[1])
    yield Row("python alone", megabytes(before))
    for step, line in zip(STEPS, lines, strict=True):
        sign, rest = line.split(" ", 1)
        if sign == "-":
            yield Row(f"import {step}", f"not there: {rest}")
            continue
        after, modules = map(int, rest.split())
        yield Row(f"import {step}", f"+{megabytes(after - before)} = {megabytes(after)}, {modules} modules")
        before = after
