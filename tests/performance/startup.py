"""How long the commands take to start, and what their imports weigh."""

from __future__ import annotations

import json
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


#: In the order of the daemon; each step costs what those before it have not loaded yet.
STEPS = {
    "the command line": "import tokwatt_exporter.cli",
    "the daemon": "import tokwatt_exporter.daemon",
    "the web server": "import tokwatt_exporter.web.server",
    "the history": (
        "import tokwatt_exporter.store.client, tokwatt_exporter.store.journal, tokwatt_exporter.sinks.history"
    ),
    "the OTLP push": "import tokwatt_exporter.sinks.otlp",
    "the engines": "import tokwatt_exporter.engines.monitor",
    "the collectors": (
        "from tokwatt_exporter import config, daemon, selfmetrics;"
        "daemon.collectors(config.load({}), selfmetrics.SelfMetrics(), list)"
    ),
}

_MEASURE = """
import resource, sys
def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
def packages():
    return {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names - {"tokwatt_exporter"}
found = [(resident(), "")]
for step in sys.argv[1:]:
    before = packages()
    try:
        exec(step)
        new = sorted(name for name in packages() - before if not name.startswith("_"))
        found.append((resident(), ", ".join(new)))
    except ImportError as error:
        found.append((resident(), f"NOT THERE: {error}"))
import json
sys.stdout.write(json.dumps(found))
"""


def import_rows() -> Iterator[Row]:
    """Resident memory after each part of the daemon is imported, and the packages it brought (Linux)."""
    done = subprocess.run([sys.executable, "-c", _MEASURE, *STEPS.values()], check=True, capture_output=True, text=True)
    (before, _), *steps = json.loads(done.stdout)
    yield Row("python alone", megabytes(before))
    for what, (after, packages) in zip(STEPS, steps, strict=True):
        yield Row(f"{what}", f"+ {megabytes(after - before)} = {megabytes(after)}", note=packages)
        before = after
