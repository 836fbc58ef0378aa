"""`python -m tests.performance [PART …]`: prints one table a part. 1 when a part could not be measured."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable

from . import apple, client, daemon, fleet, flush, history, history_speed, proxy, scrape, startup
from .report import Row, show

QUICK_MINUTES = 1.0


def parts(minutes: float) -> dict[str, tuple[str, Callable[[], Iterable[Row]]]]:
    """What can be measured, by the word that asks for it."""
    return {
        "startup": ("Start-up", startup.rows),
        "scrape": ("Scrapes, new connection each, the servers in turns", scrape.rows),
        "flush": ("Flush into DuckDB", flush.rows),
        "history": ("The history's size, beside others with the same samples", history.rows),
        "history-speed": ("The history as it grows, and what it answers beside Prometheus", history_speed.rows),
        "proxy": ("What tokwatt proxy adds to each chunk of a stream", proxy.rows),
        "client": ("How far the benchmark is from the truth", client.rows),
        "fleet": (f"{fleet.EXPORTERS} exporters, one Prometheus, and the boards", fleet.rows),
        "imports": ("Where memory goes, import by import", startup.import_rows),
        "apple": ("The sources of a Mac, against the library that stands for it", apple.rows),
        "idle": ("The daemon at 5 s", lambda: daemon.idle_rows(60 * min(minutes, 2) + 5)),
        "memory": ("The daemon at 1 s", lambda: daemon.busy_rows(60 * minutes)),
    }


def main() -> int:
    """Measure and print."""
    minutes = float(os.environ.get("BENCH_MINUTES") or QUICK_MINUTES)
    known = parts(minutes)
    parser = argparse.ArgumentParser(prog="make bench", description="Measure tokwatt against its targets.")
    parser.add_argument("part", nargs="*", help=f"some of {', '.join(known)}; all where none is named")
    wanted = parser.parse_args().part or list(known)
    if unknown := set(wanted) - set(known):
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.2f} before the run\n", flush=True)
    broken = missed = 0
    began = time.monotonic()
    for word in wanted:
        title, measure = known[word]
        rows: list[Row] = []
        try:
            for row in measure():
                rows.append(row)
        except Exception as error:
            broken += 1
            rows.append(Row("", "not measured", note=str(error).strip() or type(error).__name__))
        show(title, rows)
        missed += sum(row.met is False for row in rows)
    print(f"{missed} targets missed, {broken} parts not measured, {time.monotonic() - began:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
