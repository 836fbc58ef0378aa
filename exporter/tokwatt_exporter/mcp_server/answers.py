"""What the tools answer, typed: the SDK makes their output schemas of these."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Health(BaseModel):
    """Whether this machine is measured now."""

    daemon: bool
    url: str | None = None
    #: Why no daemon answers.
    problem: str | None = None
    version: str
    collectors_reading: list[str] = []
    collector_problems: dict[str, str] = {}


class Value(BaseModel):
    """One series."""

    metric: str
    labels: dict[str, str]
    value: float
    #: UCUM.
    unit: str


class Snapshot(BaseModel):
    """Every series asked for, at one time."""

    time: str
    #: `daemon`, or `own sample` where none runs.
    source: str
    readings: list[Value]


class Engine(BaseModel):
    """An engine on this machine or in the configuration."""

    name: str
    kind: str | None
    version: str | None
    url: str
    up: bool
    models: list[str]
    evidence: list[str]
    problem: str | None


class Engines(BaseModel):
    """The engines."""

    engines: list[Engine]


class Model(BaseModel):
    """A model in memory; what the engine does not say is null."""

    engine: str
    model: str
    quantization: str | None = None
    format: str | None = None
    memory_bytes: float | None = None
    context_tokens: float | None = None
    requests_running: float | None = None


class Models(BaseModel):
    """The models in memory."""

    models: list[Model]


class Page(BaseModel):
    """Some rows, and what to give as `cursor` for those after them."""

    rows: list[dict[str, Any]]
    next_cursor: str | None = None


class Finding(BaseModel):
    """A check of `tokwatt doctor`."""

    check: str
    status: str
    looked: str
    found: str
    means: str
    mend: str | None


class Diagnosis(BaseModel):
    """What `tokwatt doctor --json` prints."""

    faults: int
    checks: list[Finding]


class Benchmark(BaseModel):
    """The results of a run, as `tokwatt-bench run --json` prints them."""

    results: list[dict[str, Any]]
