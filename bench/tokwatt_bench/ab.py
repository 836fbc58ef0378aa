"""Two engines, models or settings held against each other: in pairs, in turns, so that what drifts hits both alike."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from tokwatt_bench import cold, keep, report
from tokwatt_bench.calibration import calibrate
from tokwatt_bench.keep import lock
from tokwatt_bench.load import Driver, Run, Step, idle, now_ms
from tokwatt_bench.measure import Done, Kept, exit_code
from tokwatt_bench.observe import Observer
from tokwatt_bench.plan import Plan
from tokwatt_bench.result import record, result
from tokwatt_bench.settle import settle, used_memory
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.shell import print_json

#: With one model in memory at a time, each is brought back about so often.
_BLOCKS = 4


def turns(pairs: int, seed: int, at_once: int = 1) -> Iterator[tuple[int, int]]:
    """The number of a pair and which of the two is asked, `at_once` pairs of one after the other: ABBA or BAAB, by
    chance, so that a steady drift and a periodic one cancel.
    """
    chance = random.Random(seed)
    first = 0
    for block, start in enumerate(range(0, pairs, at_once)):
        first = chance.randrange(2) if block % 2 == 0 else 1 - first
        for one in (first, 1 - first):
            yield from ((pair, one) for pair in range(start, min(start + at_once, pairs)))


def run(
    plans: tuple[Plan, Plan], pairs: int, step: Step = lambda what, done, of: None, *, solo: bool = False
) -> tuple[Run, Run]:  # fmt: skip
    """Warm both up, then measure them in turns; an interrupt ends it early, and what is no whole pair does not count
    in the comparison. With `solo`, only one of the two is in memory at a time.
    """
    runs = Run(plans[0], now_ms()), Run(plans[1], now_ms())
    try:
        if plans[0].calibrate:
            step("calibrating the client", 0, pairs)
            runs[0].calibration = runs[1].calibration = calibrate(1)
        with ExitStack() as stack:
            _measure(_drivers(runs, stack), pairs, step, solo)
    except KeyboardInterrupt:
        for done in runs:
            done.aborted = True
    except EngineError as error:
        if not all(done.measured for done in runs):
            raise
        runs[0].problem = str(error)
    for done in runs:
        done.finished_ms = now_ms()
    return runs


def _drivers(runs: tuple[Run, Run], stack: ExitStack) -> list[Driver]:
    drivers: list[Driver] = []
    for done in runs:
        plan = done.plan
        observer = stack.enter_context(Observer(plan.target.pid, plan.procfs, plan.sysfs))
        # The machine is idle once for both.
        done.idle = idle(observer, plan, done) if not drivers else runs[0].idle
        done.samples, done.idle_samples = observer.samples, len(observer.samples)
        drivers.append(Driver(done, observer, lambda what, done, of: None))
    return drivers


def _measure(drivers: list[Driver], pairs: int, step: Step, solo: bool) -> None:
    if not solo:
        step("warming up", 0, pairs)
        for driver in drivers:
            driver.warm_up()
    there: int | None = None
    for done, (pair, one) in enumerate(turns(pairs, 0, -(-pairs // _BLOCKS) if solo else 1)):
        if solo and one != there:
            step("changing models", done // 2, pairs)
            _change(drivers[1 - one], drivers[one])
            there = one
        step("measuring", done // 2, pairs)
        drivers[one].round("measured", 1, block=pair)


def _change(out: Driver, into: Driver) -> None:
    """Drop the model of one, give memory its time, and warm the other up, which brings its model back."""
    plan, name = out.done.plan, f"{out.done.plan.target.model} of {out.done.plan.target.name}"
    if cold.unload(plan):
        settled = settle(used_memory(plan.procfs, plan.sysfs)) if plan.target.local else None
        said = f"{name} was unloaded" + (f"; {settled}" if settled else "")
        sys.stderr.write(f"tokwatt-bench: {said}\n")
        into.done.notes.append(said)
    into.warm_up(least=1)


def ab(plans: tuple[Plan, Plan], pairs: int, margin: float, kept: Kept, *, solo: bool = False) -> int:
    """Measure, keep and compare; the exit code."""
    from tokwatt_bench.compare import compared, comparison_table
    from tokwatt_bench.measured import Measured

    if solo:
        for plan in plans:
            cold.refuse(plan, "--solo")
    with lock(kept.data_dir), report.progress(pairs) as step:
        runs = run(plans, pairs, step, solo=solo)
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
