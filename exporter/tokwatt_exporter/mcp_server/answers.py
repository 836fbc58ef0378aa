"""What the tools answer, typed: the SDK makes their output schemas of these."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


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


class Alert(BaseModel):
    """An alert that is pending or fires, as `tokwatt watch --once --json` prints it; times are Unix milliseconds."""

    alert: str
    state: str
    labels: dict[str, str]
    annotations: dict[str, str]
    value: float
    since_ms: int
    fired_ms: int | None


class Alerts(BaseModel):
    """What is pending and fires now; of all other rules nothing does."""

    looked_ms: int | None
    alerts: list[Alert]
    rules: list[str]
    #: Rules that are judged without some of their metrics, which no history has.
    judged_without: dict[str, list[str]]


class Room(BaseModel):
    """What the machine has for models."""

    most_bytes: float | None
    sure_bytes: float | None
    free_bytes: float | None
    memory_why: str
    bandwidth_bytes_per_second: float | None
    bandwidth_why: str
    thermal_state: str | None


class Needed(BaseModel):
    """What a model needs at the wanted context, and whether that is there."""

    weights_bytes: float | None
    kv_cache_bytes: float | None
    kv_cache_bytes_per_token: float | None
    overhead_bytes: float | None
    needed_bytes: float | None
    fits: bool | None
    fits_now: bool | None
    longest_context_tokens: int | None
    trained_context_tokens: int | None


class Speed(BaseModel):
    """Tokens a second that the memory allows, and the range to expect."""

    read_bytes_per_token: float | None
    roofline_tokens_per_second: float | None
    expected_tokens_per_second: list[float] | None
    why: str


class Measured(BaseModel):
    """A benchmark of a model: the figure that decides the use case."""

    run_id: str
    engine: str
    model: str
    value: float | None
    ci95: list[float] | None
    conditions: dict[str, Any]
    problems: list[str]
    finished: str | None


class Candidate(BaseModel):
    """A model that an engine lists."""

    name: str
    engine: str | None
    format: str | None
    problem: str | None
    memory: Needed
    speed: Speed | None
    measured: list[Measured]
    notes: list[str]


class Recommendation(BaseModel):
    """What `tokwatt recommend --json` prints."""

    use_case: str
    context_tokens: int
    machine: Room
    best: list[str]
    why: str
    candidates: list[Candidate]


class Versions(BaseModel):
    """The versions of an engine."""

    name: str
    kind: str | None
    running: str | None
    installed: str | None
    installed_at: str | None
    newest: str | None
    running_is_older: bool | None
    update_available: bool | None
    problem: str | None


class AllVersions(BaseModel):
    """What `tokwatt versions --json` prints."""

    engines: list[Versions]


class Compared(BaseModel):
    """A figure of two sides; `ratio` is second by first."""

    model_config = ConfigDict(extra="allow")

    name: str
    first: float | None
    second: float | None
    ratio: float | None
    ci95: list[float] | None
    verdict: str | None
    #: Why there is no verdict.
    reason: str | None


class Comparison(BaseModel):
    """What `tokwatt-bench compare --json` prints."""

    first: dict[str, Any]
    second: dict[str, Any]
    #: Runs on each side.
    runs: list[int]
    paired: bool
    #: Conditions that differ.
    unmatched: list[dict[str, Any]]
    warnings: list[str]
    figures: list[Compared]


class Generation(BaseModel):
    """How fast an engine generates with a model, over the last five minutes."""

    engine: str
    model: str
    tokens_per_second: float


class Machine(BaseModel):
    """A machine of a fleet, over the last five minutes; what is not measured is null."""

    job: str
    instance: str
    up: bool
    power_watts: float | None
    joules_per_token: float | None
    generation: list[Generation]
    #: Those that Prometheus says fire.
    alerts: list[str]


class Fleet(BaseModel):
    """Every machine that was there within the last hour."""

    prometheus: str
    machines: list[Machine]
