"""The advice for people, with its arithmetic."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

from rich.console import Console

from tokwatt_exporter.advisor.advise import Advice, Recommendation
from tokwatt_exporter.advisor.measured import FIGURES
from tokwatt_exporter.advisor.speed import LEAST_SHARE, MOST_SHARE

_UNKNOWN = "not known"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def print_advice(found: Recommendation) -> None:
    """Print all of it."""
    # As wide as it needs to be where stdout is not a terminal: `grep` works.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 1000, soft_wrap=True)
    for line in lines(found):
        console.print(line)


def lines(found: Recommendation) -> Iterator[str]:
    """The machine, each candidate, and which is best."""
    here = found.room
    yield f"memory for models: {size(here.most_bytes)}, {size(here.free_bytes)} free now ({here.why})"
    yield f"memory bandwidth:  {found.bandwidth.why}"
    if found.thermal_state:
        yield f"thermal pressure:  {found.thermal_state}"
    for one in found.advice:
        yield ""
        yield from _candidate(one, found)
    yield ""
    best = " or ".join(found.verdict.best)
    yield f"best for {found.use_case}: {f'{best} ({found.verdict.why})' if best else found.verdict.why}"


def _candidate(one: Advice, found: Recommendation) -> Iterator[str]:
    yield one.candidate.name + (f" on {one.candidate.engine}" if one.candidate.engine else "")
    model = one.candidate.model
    if model is None:
        yield f"  {_UNKNOWN}: {one.candidate.why}"
    else:
        parts = (model.weights_bytes, model.kv_bytes(one.context), model.overhead_bytes(one.context))
        weights, cache, overhead = map(size, parts)
        yield (f"  memory  {weights} weights + {cache} KV cache of {one.context} tokens"
               f" + {overhead} overhead = {size(one.needed)}: {_fits(one)}")  # fmt: skip
        yield f"  context {one.longest or _UNKNOWN} tokens fit; trained for {model.trained_context or _UNKNOWN}"
    if one.speed and one.speed.roofline and one.speed.expected:
        low, high = one.speed.expected
        yield (f"  speed   {size(found.bandwidth.bytes_per_second)}/s / {size(one.speed.read_bytes)} a token ="
               f" {one.speed.roofline:.3g} tok/s at most; {low:.3g} to {high:.3g} expected"
               f" ({LEAST_SHARE:.0%} to {MOST_SHARE:.0%} of it)")  # fmt: skip
    elif one.speed:
        yield f"  speed   {_UNKNOWN}: {one.speed.why}"
    unit = FIGURES[found.use_case].unit
    for run in one.runs:
        value = _UNKNOWN if run.value is None else f"{run.value:.4g} {unit}"
        spread = f" ({run.interval[0]:.4g} to {run.interval[1]:.4g})" if run.interval else ""
        dirty = f"; not counted: {'; '.join(run.problems)}" if run.problems else ""
        kept = ", ".join(f"{name} {value}" for name, value in run.conditions if name != "host")
        yield f"  measured on {run.engine}: {value}{spread}, {kept}{dirty}"
    for note in model.notes if model else ():
        yield f"  note    {note}"


def _fits(one: Advice) -> str:
    whole, now = one.room.fits(one.needed), one.room.fits_now(one.needed)
    if whole is None:
        return "whether it fits is not known"
    if not whole:
        return "does not fit"
    return "fits now" if now else "fits when other programs end" if now is False else "fits when nothing else runs"


def size(value: float | None) -> str:
    """Bytes for people, in powers of 1024."""
    if value is None:
        return _UNKNOWN
    power = min(int(math.log(max(abs(value), 1), 1024)), len(_UNITS) - 1)
    return f"{value / 1024**power:.4g} {_UNITS[power]}"
