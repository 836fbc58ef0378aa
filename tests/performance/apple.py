"""The sources of a Mac, against the C library that stands for it: what a tick costs, and that nothing grows."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from .report import Row, below, megabytes, quantile

ROOT = Path(__file__).parents[2]
CHANNELS, STATE_CHANNELS, STATES = 320, 24, 20
COST_TICKS, WARM_UP, TICKS = 1_000, 50, 100_000


def rows() -> Iterator[Row]:
    """Measured in a process of its own, so that the memory is that of the ticks."""
    name = __spec__.name if __spec__ else __name__
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT)])}
    done = subprocess.run([sys.executable, "-m", name], check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["failed"])[-1])
    found = json.loads(done.stdout)
    what = f"CPU a tick, {CHANNELS} IOReport channels subscribed to, all kept"
    yield Row(what, f"{found['all'] + found['all, sampling alone']:.2f} ms")
    yield below("of it outside of the library's own sampling", found["all"], 2.0, "{:.2f} ms")
    what = f"CPU a tick, {STATE_CHANNELS} IOReport channels of {STATES} states"
    yield Row(what, f"{found['states'] + found['states, sampling alone']:.2f} ms")
    yield below("of it outside of the library's own sampling", found["states"], 2.0, "{:.2f} ms")
    yield Row(f"CPU a read, energy collector, which keeps few of {CHANNELS}", f"{found['energy']:.2f} ms")
    yield Row("CPU a tick, every binding once, on a small Mac", f"{found['tick']:.2f} ms")
    for thing in ("objects", "handles", "files"):
        before, after = found["before"][thing], found["after"][thing]
        yield Row(f"{thing} alive before / after {TICKS:,} ticks", f"{before} / {after}", "equal", before == after)
    grown = (found["after"]["resident"] - found["before"]["resident"]) / 1e6
    yield below(f"resident memory grown in {TICKS:,} ticks", grown, 1.0, "{:.2f} MB")
    yield Row("resident memory at the end", megabytes(found["after"]["resident"]))


def measure() -> dict[str, object]:
    """Milliseconds of CPU a tick, and what lives before and after many."""
    from fakes.apple.control import Fake
    from fakes.apple.machine import Machine
    from support.apple_bindings import Bindings
    from tokwatt_exporter.apple import libraries

    fake = Fake()
    libraries.PATHS.update(dict.fromkeys(libraries.PATHS, fake.path))
    costs = dict(_costs(fake))
    machine = Machine.sample()
    fake.show(machine)
    pid = machine.processes[0].pid
    bindings = Bindings()
    costs["tick"] = _milliseconds(lambda: bindings.tick(pid))
    before = _alive(fake)
    for _ in range(TICKS):
        bindings.tick(pid)
    return {**costs, "before": before, "after": _alive(fake)}


def _costs(fake: Any) -> Iterator[tuple[str, float]]:
    from fakes.apple.machine import Machine, SimpleChannel, StateChannel
    from tokwatt_exporter.apple.corefoundation import CF
    from tokwatt_exporter.apple.ioreport import IOREPORT, Subscription
    from tokwatt_exporter.collectors.apple_energy import AppleEnergy

    rails = ["CPU Energy", "GPU Energy", "ANE", "DRAM", *(f"PACC0_CPU{index}" for index in range(CHANNELS - 4))]
    units = {"GPU Energy": "nJ      "}
    energy = [SimpleChannel("Energy Model", None, rail, units.get(rail, "mJ      "), 1, published=1) for rail in rails]
    states: list[tuple[str | None, int]] = [("IDLE", 5), *((f"V{index}P0", 7) for index in range(STATES - 1))]
    names = [f"PCPU{index:02}0" for index in range(STATE_CHANNELS)]
    cores = [StateChannel("CPU Stats", "CPU Core Performance States", name, states) for name in names]
    fake.show(Machine(channels=[*energy, *cores], cpu_ticks=[(1, 1, 1, 1)] * STATE_CHANNELS))
    for name, group in (("all", "Energy Model"), ("states", "CPU Stats")):
        subscription = Subscription.open(group)
        assert subscription is not None
        create, pointers = IOREPORT.IOReportCreateSamples, (subscription._subscription, subscription._subscribed, None)
        alone, whole = _in_turns(lambda: CF.CFRelease(create(*pointers)), subscription.sample)  # noqa: B023
        yield f"{name}, sampling alone", alone
        yield name, whole - alone
        subscription.close()
    collector = AppleEnergy()
    yield "energy", _milliseconds(lambda: list(collector.read()))
    collector.close()


def _milliseconds(tick: Callable[[], object]) -> float:
    return _in_turns(tick)[0]


def _in_turns(*ticks: Callable[[], object]) -> list[float]:
    """CPU milliseconds of each, the median; in turns, so that a busy moment hits all of them."""
    spent: list[list[float]] = [[] for _ in ticks]
    for turn in range(WARM_UP + COST_TICKS):
        for tick, mine in zip(ticks, spent, strict=True):
            began = time.thread_time()
            tick()
            if turn >= WARM_UP:
                mine.append(time.thread_time() - began)
    return [quantile(mine, 0.5) * 1e3 for mine in spent]


def _alive(fake: Any) -> dict[str, int]:
    gc.collect()
    process = psutil.Process()
    return {
        "objects": fake.live_objects(),
        "handles": fake.live_handles(),
        "files": process.num_fds(),
        "resident": process.memory_info().rss,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure()))
