"""Two engines, models or settings held against each other: in pairs, in turns, so that what drifts hits both alike."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from tokwatt_bench import keep, report
from tokwatt_bench.load import Driver, Run, Step, idle, now_ms
from tokwatt_bench.measure import Done, Kept, exit_code, lock
from tokwatt_bench.observe import Observer
from tokwatt_bench.plan import Plan
from tokwatt_bench.result import record, result
from tokwatt_exporter.shell import print_json


def turns(pairs: int, seed: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """The number of each pair and which of the two goes first in it: ABBA or BAAB, by chance, so that a steady drift
    and a periodic one cancel.
    """
    chance = random.Random(seed)
    first = 0
    for pair in range(pairs):
        first = chance.randrange(2) if pair % 2 == 0 else 1 - first
        yield pair, (first, 1 - first)


def run(plans: tuple[Plan, Plan], pairs: int, step: Step = lambda what, done, of: None) -> tuple[Run, Run]:
    """Warm both up, then measure them in turns; an interrupt ends it early, and what is no whole pair does not count
    in the comparison.
    """
    runs = Run(plans[0], now_ms()), Run(plans[1], now_ms())
    try:
        with ExitStack() as stack:
            drivers: list[Driver] = []
            for plan, done in zip(plans, runs, strict=True):
                observer = stack.enter_context(Observer(plan.target.pid, plan.procfs, plan.sysfs))
                # The machine is idle once for both.
                done.idle = idle(observer, plan, done) if not drivers else runs[0].idle
                done.samples, done.idle_samples = observer.samples, len(observer.samples)
                drivers.append(Driver(done, observer, lambda what, done, of: None))
            step("warming up", 0, pairs)
            for driver in drivers:
                driver.warm_up()
            for pair, order in turns(pairs, 0):
                step("measuring", pair, pairs)
                for one in order:
                    drivers[one].round("measured", 1, block=pair)
    except KeyboardInterrupt:
        for done in runs:
            done.aborted = True
    for done in runs:
        done.finished_ms = now_ms()
    return runs


def ab(plans: tuple[Plan, Plan], pairs: int, margin: float, kept: Kept) -> int:
    """Measure, keep and compare; the exit code."""
    from tokwatt_bench.compare import compared, comparison_table
    from tokwatt_bench.measured import Measured

    with lock(kept.data_dir), report.progress(pairs) as step:
        runs = run(plans, pairs, step)
        done = [Done(one, result(one)) for one in runs]
        for one in done:
            if kept.data_dir and one.run.measured:
                keep.keep(kept.data_dir, record(one.run, one.found))
    first, second = (
        Measured(one.found, [request.row(one.run.plan.run_id) for request in one.run.requests]) for one in done
    )
    found: dict[str, Any] = compared([first], [second], margin=margin)
    if kept.json:
        print_json({"results": [one.found for one in done], "comparison": found})
    else:
        for one in done:
            report.result_table(one.found)
        comparison_table(found)
    return exit_code(done)
