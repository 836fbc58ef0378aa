"""What the machine was like before, during and after a run, from the collectors that the exporter reads too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.catalogue import Family
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import TokwattError
from tokwatt_exporter.snapshot import Reading

COLLECTORS = ("thermal", "memory", "battery", "power_mode", "cpu", "gpu", "temperature")
PERIOD_SECONDS = 1.0
#: More samples than this of a long run tell nothing more: every other one is dropped.
MOST_SAMPLES = 600
#: The share of all cores that others may use while nothing is asked of the engine.
MOST_BACKGROUND = 0.2

_STATES = {
    "thermal_state": c.THERMAL_STATE, "memory_pressure_state": c.MEMORY_PRESSURE,
    "power_source_state": c.POWER_SOURCE, "power_mode_state": c.POWER_MODE,
}  # fmt: skip
_HIGHEST = {
    "swap_used_bytes": c.SWAP_USED, "swap_in_bytes_total": c.SWAP_IN, "cpu_frequency_hertz": c.CPU_FREQUENCY,
    "gpu_frequency_hertz": c.GPU_FREQUENCY, "temperature_celsius": c.TEMPERATURE,
}  # fmt: skip
Sample = dict[str, Any]


class Conditions:
    """Reads a sample of them; what is not known is not in it."""

    def __init__(self, collectors: Iterable[Collector]) -> None:
        self._collectors = list(collectors)
        self._busy: tuple[float, float] | None = None

    def sample(self) -> Sample:
        """`{"time"}` in Unix milliseconds and what is known now; `cpu_busy_cores` is since the sample before."""
        readings: list[Reading] = []
        for collector in self._collectors:
            try:
                readings += collector.read()
            except Exception:  # noqa: BLE001 - a driver may raise anything; what it would have said is absent
                continue
        found: Sample = {"time": round(time.time() * 1000)}
        for name, states in _STATES.items():
            if state := _state(readings, states):
                found[name] = state
        for name, gauge in _HIGHEST.items():
            values = [value for of, _, value in readings if of == gauge]
            if values:
                found[name] = max(values)
        return found | self._cores(readings)

    def _cores(self, readings: Sequence[Reading]) -> Sample:
        values = [value for of, _, value in readings if of == c.CPU_BUSY]
        before, now = self._busy, time.monotonic()
        self._busy = (now, sum(values)) if values else None
        if before is None or not values or now <= before[0]:
            return {}
        return {"cpu_busy_cores": max(sum(values) - before[1], 0.0) / (now - before[0])}


def _state(readings: Sequence[Reading], family: Family) -> str | None:
    return next((dict(labels)["state"] for of, labels, value in readings if of == family and value == 1), None)


class Refused(TokwattError):
    """The machine is in no condition to be measured, and that was not to be overlooked."""


def problems(samples: Sequence[Mapping[str, Any]], beside: Sequence[str] = ()) -> list[str]:
    """What makes these conditions bad ones, a sentence each. `beside` are other engines that hold a model."""
    found = [
        f"{label} was {state}"
        for name, label, good in _GOOD
        for state in dict.fromkeys(one[name] for one in samples if name in one and one[name] not in good)
    ]
    swapped = [one["swap_in_bytes_total"] for one in samples if "swap_in_bytes_total" in one]
    if swapped and (grown := swapped[-1] - swapped[0]) > 0:
        found.append(f"{grown / 2**20:.3g} MiB were read back from swap")
    return found + [f"{name} holds a model, too" for name in beside]


def background(samples: Sequence[Mapping[str, Any]], cores: int | None = None) -> list[str]:
    """The same of the time in which nothing was asked of the engine: what else uses the processor."""
    cores = cores or os.cpu_count() or 1
    busy = [one["cpu_busy_cores"] for one in samples if "cpu_busy_cores" in one]
    if not busy or (mean := sum(busy) / len(busy)) <= MOST_BACKGROUND * cores:
        return []
    return [f"other programs use {mean:.2g} of {cores} cores"]


_GOOD = (
    ("thermal_state", "thermal pressure", ("nominal",)),
    ("memory_pressure_state", "memory pressure", ("normal",)),
    ("power_source_state", "the power source", ("ac",)),
    ("power_mode_state", "the power mode", ("automatic", "high")),
)


def thinned(samples: Sequence[Sample]) -> list[Sample]:
    """At most `MOST_SAMPLES` of them, the last one included."""
    step = -(-len(samples) // MOST_SAMPLES) or 1
    return list(samples[::-1][::step][::-1])
