"""Plans made, run, shown and kept, one after the other."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tokwatt_bench import keep, load, report
from tokwatt_bench.cold import refuse
from tokwatt_bench.conditions import Refused
from tokwatt_bench.keep import lock
from tokwatt_bench.options import Asked
from tokwatt_bench.plan import Plan
from tokwatt_bench.target import Target
from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.shell import DONE, FAILED, print_json

INTERRUPTED = 130
#: A gate said no.
REFUSED = 3


class Kept(NamedTuple):
    """Where results go: the data directory (None for nowhere), and how they are shown."""

    data_dir: Path | None
    json: bool = False
    csv: Path | None = None


class Done(NamedTuple):
    """A plan that was run, and its result."""

    run: load.Run
    found: dict[str, Any]


def plans(
    target: Target, fields: Mapping[str, Any], asked: Asked, loads: Sequence[Mapping[str, Any]], lengths: Sequence[int]
) -> Iterator[Plan]:
    """A plan for each load and each length of the prompt; the latter are fitted to the engine's own count."""
    for length in lengths or (None,):
        for one in loads:
            yield plan(target, {**fields, **one}, asked, length)


def plan(target: Target, fields: Mapping[str, Any], asked: Asked, length: int | None = None) -> Plan:
    """A plan that the engine can be asked for; `UsageError` where it cannot."""
    more: dict[str, Any] = {"scenario": asked.scenario, "asks": asked.asks}
    if asked.prompt is not None:
        more["prompt"] = asked.prompt
    made = Plan(target=target, **{**fields, **more})
    if asked.asks and next(asked.asks.asks(0)).at_seconds is not None:
        made = replace(made, timed=True, runs=sum(1 for _ in asked.asks.asks(0)), precision=None, seconds=None)
    if length is not None:
        from tokwatt_bench.context import fitted

        made = fitted(made, length)
    # What the engine cannot be asked is said before anything is measured.
    made.generation()
    if made.cold:
        refuse(made)
    return made


def measure(plans: Iterable[Plan], kept: Kept) -> int:
    """Run them all and show what was found; the exit code."""
    done: list[Done] = []
    problem: StoreError | None = None
    with lock(kept.data_dir):
        try:
            for one in plans:
                found, trouble = measured(one, kept)
                done.append(found)
                problem = problem or trouble
                if found.run.aborted or found.run.problem:
                    break
        except Refused as error:
            sys.stderr.write(f"tokwatt-bench: not measured (--gate refuse): {error}\n")
            return REFUSED
    show(done, kept)
    code = exit_code(done)
    if problem:
        raise problem
    return code


def measured(plan: Plan, kept: Kept) -> tuple[Done, StoreError | None]:
    """Run one plan and keep what it found, before anything is printed: who reads the output may go away."""
    with report.progress(plan.most) as step:
        run = load.run(plan, step)
    # What is made of it then need not be loaded before the first request is sent.
    from tokwatt_bench.result import record, result

    found = result(run)
    problem = None
    if kept.data_dir and run.measured:
        try:
            keep.keep(kept.data_dir, record(run, found))
        except StoreError as error:
            problem = error
    if plan.gate == "warn":
        for line in found["conditions"]["problems"]:
            sys.stderr.write(f"tokwatt-bench: {line}\n")
    return Done(run, found), problem


def show(done: Sequence[Done], kept: Kept, **more: Any) -> None:
    """Print the results; `more` is what else the JSON has."""
    if kept.json:
        print_json({"results": [one.found for one in done], **more})
    else:
        for one in done:
            report.result_table(one.found)
    if kept.csv:
        report.requests_csv([one.run for one in done], kept.csv)


def exit_code(done: Sequence[Done]) -> int:
    """1 where no request succeeded at all, 130 where it was interrupted; failures are named on stderr."""
    for one in done:
        for failure in one.found["failures"]:
            sys.stderr.write(
                f"tokwatt-bench: {failure['count']} of {one.found['runs']} requests failed ({failure['class']}): "
                f"{failure['detail']}\n"
            )
    if any(one.run.aborted for one in done):
        return INTERRUPTED
    if stopped := list(filter(None, (one.run.problem for one in done))):
        sys.stderr.write(f"tokwatt-bench: ended early: {stopped[0]}\n")
        return FAILED
    return DONE if any(one.run.results for one in done) else FAILED
