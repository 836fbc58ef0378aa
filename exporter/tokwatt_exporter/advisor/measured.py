"""What was measured on this machine, put side by side only where the conditions were the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

UseCase = Literal["throughput", "latency", "efficiency", "long-context"]
USE_CASES: tuple[UseCase, ...] = ("throughput", "latency", "efficiency", "long-context")


class Figure(NamedTuple):
    """What decides a use case: its name in a result, its unit, and whether more of it is better."""

    name: str
    unit: str
    more: bool


FIGURES: dict[str, Figure] = {
    "throughput": Figure("generation_tokens_per_second", "tok/s", True),
    "latency": Figure("time_to_first_token_seconds", "s to the first token", False),
    "efficiency": Figure("energy_per_token_joules", "J/token", False),
    "long-context": Figure("prompt_tokens_per_second", "tok/s of prompt", True),
}
#: What must be the same in two runs, beside machine, scenario, concurrency and answer length.
_SAME = ("prompt_characters", "warm_prefix", "cold", "rate_per_second", "temperature")


class Run(NamedTuple):
    """A run of a model: the figure asked for with its interval, the conditions, and what was wrong with them."""

    run_id: str
    engine: str
    model: str
    value: float | None
    interval: tuple[float, float] | None
    conditions: tuple[tuple[str, Any], ...]
    problems: tuple[str, ...]
    finished: str | None

    def as_json(self) -> dict[str, Any]:
        """An entry of `measured`."""
        return {
            "run_id": self.run_id, "engine": self.engine, "model": self.model, "value": self.value,
            "ci95": list(self.interval) if self.interval else None, "conditions": dict(self.conditions),
            "problems": list(self.problems), "finished": self.finished,
        }  # fmt: skip


def runs(data_dir: Path, use_case: str, host: str) -> list[Run]:
    """The newest run of each engine and model under each conditions, newest first. The history is only read."""
    from tokwatt_exporter.store import read
    from tokwatt_exporter.store.queries import prepare

    # Not `read.query`, which takes the journal in and so writes.
    with read.opened(data_dir, read.LOCK_WAIT, read.TIMEOUT) as db:
        rows = read.rows_of(db, prepare("bench_results", {"limit": 10_000})) if db else []
    return newest(run_of(row, FIGURES[use_case]) for row in rows if row["host"] in (None, host))


def newest(found: Iterable[Run]) -> list[Run]:
    """The first of each engine, model and conditions."""
    kept: dict[Any, Run] = {}
    for run in found:
        kept.setdefault((run.engine, run.model, run.conditions), run)
    return list(kept.values())


def run_of(row: Mapping[str, Any], figure: Figure) -> Run:
    """A row of `bench_run` as far as it tells the figure."""
    settings, result = _mapping(row.get("settings")), _mapping(row.get("result"))
    told = result.get(figure.name)
    value, interval = (told.get("p50"), told.get("ci95")) if isinstance(told, Mapping) else (told, None)
    same = {name: row.get(name) for name in ("host", "scenario", "concurrency", "max_tokens")}
    same |= {name: settings.get(name) for name in _SAME}
    return Run(
        str(row["run_id"]), str(row.get("engine")), str(row.get("model")), _number(value), _interval(interval),
        tuple((name, value) for name, value in same.items() if value is not None),
        tuple(map(str, _mapping(result.get("conditions")).get("problems") or ())), row.get("finished"),
    )  # fmt: skip


def of(model: str, engine: str | None, found: Sequence[Run]) -> list[Run]:
    """The runs of a model, however an engine writes its name."""
    wanted = _plain(model)
    return [run for run in found if _plain(run.model) == wanted and engine in (None, run.engine)]


def _plain(name: str) -> str:
    """`org/Name-7B-Q4_K_M.gguf` and `name-7b:q4_K_M` are one model; a quantization is a part of it."""
    last = name.lower().rpartition("/")[2].removesuffix(".gguf").removesuffix(":latest")
    return re.sub(r"[^a-z0-9.]+", "-", last)


def _mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _interval(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = map(_number, value)
    return None if low is None or high is None else (low, high)
