"""What the commands print: tables for people, CSV for spreadsheets, a bar while they measure."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.show import table

if TYPE_CHECKING:
    from tokwatt_bench.load import Run

_SECONDS = (
    ("time to first token", "time_to_first_token_seconds", 1e3, "ms"),
    ("time to first answer token", "time_to_first_answer_token_seconds", 1e3, "ms"),
    ("inter-token latency", "inter_token_latency_seconds", 1e3, "ms"),
    ("mean inter-token latency", "mean_inter_token_latency_seconds", 1e3, "ms"),
    ("generation", "generation_tokens_per_second", 1, "tokens/s"),
    ("prompt", "prompt_tokens_per_second", 1, "tokens/s"),
    ("request", "request_duration_seconds", 1e3, "ms"),
    ("model load", "load_seconds", 1, "s"),
)
_HISTORY = (
    "time", "engine", "model", "scenario", "runs", "failed", "generation_tokens_per_second",
    "prompt_tokens_per_second", "time_to_first_token_median_seconds", "inter_token_latency_median_seconds",
    "energy_per_token_joules",
)  # fmt: skip

_PARTS = (".p95", ".p99", ".ci95")
#: Few engines give a time of their own; of the others, why they are not there is told with what they are part of.
_NO_NEWS = ("engine_", "energy.", "throughput.", "goodput", "calibration", "memory_bandwidth")


def result_table(found: Mapping[str, Any]) -> None:
    """A result as a table on stdout: a row a figure, and below it why some are not there."""
    version = f" {found['version']}" if found["version"] else ""
    aborted = ", stopped early" if found["aborted"] else ""
    lanes = f", {found['concurrency']} streams at a time" if found["concurrency"] > 1 else ""
    if rate := found["load"].get("rate_per_second"):
        lanes = f", {_short(rate)} a second ({found['load']['arrivals']})"
    print_line(f"{found['engine']}{version}, {found['model']}, {found['scenario']}: {found['runs']} runs{lanes}, "
               f"{found['failed']} failed{aborted}")  # fmt: skip
    rows = [_row(label, found[name], scale, unit) for label, name, scale, unit in _SECONDS if name in found]
    table(("figure", "median", "95 % interval", "p95", "p99", "unit"), rows, right=("median", "p95", "p99"))
    tokens = found["tokens"]
    print_line(f"tokens: {_text(tokens['prompt'])} prompt, {_text(tokens['generated'])} generated "
               f"(counted by {tokens['source'] or 'nobody'})")  # fmt: skip
    if found["longest_pause_seconds"] is not None:
        print_line(f"longest pause: {_short(found['longest_pause_seconds'] * 1e3)} ms")
    if found["energy_per_token_joules"] is not None:
        print_line(f"energy: {_short(found['energy_per_token_joules'])} J/token, idle power "
                   f"of {_short(found['energy']['idle_watts'])} W subtracted")  # fmt: skip
    if found["memory_bandwidth_ratio"] is not None:
        print_line(f"memory bandwidth: {found['memory_bandwidth_ratio']:.0%} of what the chip has")
    for line in (*_together(found), *_around(found)):
        print_line(line)
    for line in _absent(found["reasons"]):
        print_line(line)
    for note in found["notes"]:
        print_line(f"note: {note}")


def _together(found: Mapping[str, Any]) -> Iterator[str]:
    """What streams side by side add up to, and how many answers were quick enough."""
    throughput, goodput = found["throughput"], found["goodput"]
    if throughput["generation_tokens_per_second"] is not None:
        speed, rate = throughput["generation_tokens_per_second"], throughput["requests_per_second"]
        yield f"throughput: {_short(speed)} tokens/s, {_short(rate)} requests/s over {_short(throughput['seconds'])} s"
    if goodput and goodput["ratio"] is not None:
        limits = ", ".join(f"{name} {_short(value * 1e3)} ms" for name, value in goodput["objective"].items() if value)
        rate = goodput["requests_per_second"]
        yield f"goodput: {goodput['ratio']:.0%} within {limits}" + (f", {_short(rate)} requests/s" if rate else "")


def _around(found: Mapping[str, Any]) -> Iterator[str]:
    """How far off the client is, and what was wrong with the machine."""
    if calibration := found["calibration"]:
        late = calibration["time_to_first_token_error_seconds"]
        gap = calibration["inter_token_latency_error_ratio"]
        yield (f"client: first token {_short(late['p50'] * 1e3)} ms late (p95 {_short(late['p95'] * 1e3)} ms), "
               f"mean gap {gap:+.2%}")  # fmt: skip
    for why in found["client_bound"]:
        yield f"this result is bounded by the client: {why}"
    for problem in found["answer_problems"]:
        good = found["runs"] - found["failed"]
        yield f"answers: {problem['count']} of {good} {problem['kind']}: {problem['detail']}"
    for problem in found["conditions"]["problems"]:
        yield f"conditions: {problem}"


def requests_csv(runs: Sequence[Run], path: Path) -> None:
    """A line a request, all columns of `bench_request` but the offsets; `UsageError` where it cannot be written."""
    rows = [request.row(run.plan.run_id) for run in runs for request in run.requests]
    names = [name for name in (rows[0] if rows else {}) if name != "chunk_offsets_ns"]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.DictWriter(file, [*names, "chunks"], extrasaction="ignore")
            out.writeheader()
            out.writerows({**row, "chunks": len(row["chunk_offsets_ns"])} for row in rows)
    except OSError as error:
        raise UsageError(f"--csv: {path} cannot be written: {error.strerror}") from None


def history_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Past runs as a table, newest first."""
    names = [name.replace("_tokens_per_second", " tok/s").replace("_seconds", " s").replace("_", " ")
             for name in _HISTORY]  # fmt: skip
    table(names, (_cells(row) for row in rows), right=names[4:])


def history_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Past runs as CSV on stdout: the columns of `bench_run` but the two of JSON."""
    names = [name for name in (rows[0] if rows else dict.fromkeys(_HISTORY)) if name not in ("settings", "result")]
    out = csv.DictWriter(sys.stdout, names, extrasaction="ignore")
    out.writeheader()
    out.writerows(rows)


@contextmanager
def progress(of: int) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr where that is a terminal. It is drawn between requests only: no thread disturbs the timing."""
    if not sys.stderr.isatty():
        yield lambda what, done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task("starting", total=of)

        def step(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, refresh=True)

        yield step


def print_line(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")


def _absent(reasons: Mapping[str, str]) -> Iterator[str]:
    # That a quantile takes more samples is said once, not for each figure.
    few = sorted({name.rpartition(".")[2] for name in reasons if name.endswith(_PARTS)})
    if few:
        yield f"{', '.join(few)} left out where there are too few samples: --runs 20 is enough for p95, 100 for p99"
    told = (name for name in reasons if not name.endswith(_PARTS) and not name.startswith(_NO_NEWS))
    yield from (f"no {name}: {reasons[name]}" for name in told)


def _row(label: str, summary: Mapping[str, Any], scale: float, unit: str) -> tuple[str | None, ...]:
    ends = summary["ci95"]
    interval = f"{_short(ends[0] * scale)} to {_short(ends[1] * scale)}" if ends else None
    p50, p95, p99 = (None if summary[q] is None else _short(summary[q] * scale) for q in ("p50", "p95", "p99"))
    return label, p50, interval, p95, p99, unit


def _cells(row: Mapping[str, Any]) -> list[object]:
    row = {**row, "time": row["finished"]}
    return [_short(row[name]) if isinstance(row[name], float) else row[name] for name in _HISTORY]


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def _text(value: int | None) -> str:
    return "an unknown number of" if value is None else str(value)
