"""What the commands print: tables for people, CSV for spreadsheets, a bar while they measure."""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokwatt_bench.explain import BY_NAME
from tokwatt_bench.report.rows import Row, rows, shown, shown_with_tails
from tokwatt_exporter.errors import UsageError

if TYPE_CHECKING:
    from tokwatt_bench.load import Run

#: Figures with a row of their own, whether or not they are known; the others are said below.
_FIGURES = (
    "time_to_first_token_seconds", "time_to_first_answer_token_seconds", "inter_token_latency_seconds",
    "mean_inter_token_latency_seconds", "generation_tokens_per_second", "prompt_tokens_per_second",
    "request_duration_seconds", "load_seconds", "delay_seconds",
)  # fmt: skip
#: Columns of `bench_run`, and figures.
_HISTORY = ("run", "time", "engine", "model", "scenario", "streams", "runs", "failed")
#: So much of a run's id tells it from the others, for `compare` and the like.
_ID_LENGTH = 8
_HISTORY_FIGURES = (
    "generation_tokens_per_second", "prompt_tokens_per_second", "time_to_first_token_seconds",
    "inter_token_latency_seconds", "energy_per_token_joules",
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
    from tokwatt_exporter.show import table

    known = {row.metric.name: row for row in rows(found)}
    cells = [_cells_of(known[name]) for name in _FIGURES if name in known]
    table(("figure", "median", "95 % interval", "p95", "p99", "max of", "unit"), cells,
          right=("median", "p95", "p99", "max of"))  # fmt: skip
    tokens = found["tokens"]
    print_line(f"tokens: {_text(tokens['prompt'])} prompt, {_text(tokens['generated'])} generated "
               f"(counted by {tokens['source'] or 'nobody'})")  # fmt: skip
    for line in (*_single(known), *_together(found, known), *_around(found, known)):
        print_line(line)
    for line in _absent(found["reasons"]):
        print_line(line)
    for note in found["notes"]:
        print_line(f"note: {note}")


def _single(known: Mapping[str, Row]) -> Iterator[str]:
    """Figures that are one number for all requests."""
    for name in (
        "longest_pause_seconds", "energy_per_token_joules", "energy.prefill_per_token_joules",
        "energy.decode_per_token_joules", "energy.tokens_per_joule", "energy.idle_watts", "memory_bandwidth_ratio",
        "peak_memory_bytes",
    ):  # fmt: skip
        if name in known and known[name].p50 is not None:
            yield f"{known[name].metric.title}: {_with_interval(known[name])}"


def _together(found: Mapping[str, Any], known: Mapping[str, Row]) -> Iterator[str]:
    """What streams side by side add up to, and how many answers were quick enough."""
    throughput, goodput = found["throughput"], found["goodput"]
    if throughput["generation_tokens_per_second"] is not None:
        speed, rate = (known[f"throughput.{name}_per_second"] for name in ("generation_tokens", "requests"))
        yield (f"{speed.metric.title}: {_with_interval(speed)}, {_with_interval(rate)} "
               f"over {_short(throughput['seconds'])} s")  # fmt: skip
    if goodput and goodput["ratio"] is not None:
        limits = ", ".join(f"{name} {_short(value * 1e3)} ms" for name, value in goodput["objective"].items() if value)
        rate, ratio = known["goodput.requests_per_second"], known["goodput.ratio"]
        a_second = f", {_with_interval(rate)}" if rate.p50 is not None else ""
        yield f"{rate.metric.title}: {_with_interval(ratio)} within {limits}{a_second}"


def _around(found: Mapping[str, Any], known: Mapping[str, Row]) -> Iterator[str]:
    """How far off the client is, and what was wrong with the machine."""
    if found["calibration"]:
        late = known["calibration.time_to_first_token_error_seconds"]
        gap = known["calibration.inter_token_latency_error_ratio"]
        p95 = "" if late.p95 is None else f", p95 {shown(late)[2]} ms"
        yield f"{late.metric.title}: {_with_interval(late)}{p95}"
        yield f"{gap.metric.title}: {_with_interval(gap)}"
    for why in found["client_bound"]:
        yield f"this result is bounded by the client: {why}"
    for problem in found["answer_problems"]:
        good = found["runs"] - found["failed"]
        yield f"answers: {problem['count']} of {good} {problem['kind']}: {problem['detail']}"
    for problem in found["conditions"]["problems"]:
        yield f"conditions: {problem}"


def _with_interval(row: Row) -> str:
    """`512 tokens/s (95 %: 498 to 527)`."""
    p50, interval, *_, unit = shown(row)
    return f"{p50} {unit}" + (f" (95 %: {interval})" if interval else "")


def requests_csv(runs: Sequence[Run], path: Path) -> None:
    """A line a request, all columns of `bench_request` but the offsets; `UsageError` where it cannot be written."""
    written = (request.row(run.plan.run_id) for run in runs for request in run.requests)
    first = next(written, {})
    names = [name for name in first if name != "chunk_offsets_ns"]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.DictWriter(file, [*names, "chunks"], extrasaction="ignore")
            out.writeheader()
            for row in itertools.chain([first] if first else [], written):
                out.writerow({**row, "chunks": len(row["chunk_offsets_ns"])})
    except OSError as error:
        raise UsageError(f"--csv: {path} cannot be written: {error.strerror}") from None


def history_table(found: Sequence[Mapping[str, Any]]) -> None:
    """Past runs as a table, newest first."""
    from tokwatt_exporter.show import table

    names = [*_HISTORY, *(BY_NAME[name].title for name in _HISTORY_FIGURES)]
    table(names, (_past(row) for row in found), right=names[5:])


def history_csv(found: Sequence[Mapping[str, Any]]) -> None:
    """Past runs as CSV on stdout: the columns of `bench_run` but the two of JSON."""
    names = [name for name in (found[0] if found else _HISTORY) if name not in ("settings", "result")]
    out = csv.DictWriter(sys.stdout, names, extrasaction="ignore")
    out.writeheader()
    out.writerows(found)


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
        yield (f"{', '.join(few)} left out where there are too few samples, or they differ too much: --runs 20 is "
               "enough for p95, 100 for p99")  # fmt: skip
    told = (name for name in reasons if not name.endswith(_PARTS) and not name.startswith(_NO_NEWS))
    yield from (f"no {name}: {reasons[name]}" for name in told)


def _cells_of(row: Row) -> tuple[str | None, ...]:
    """Title, median and its interval, the tails with theirs, and what else there is of few: the largest."""
    p50, interval, p95, p99, most, count, unit = shown_with_tails(row)
    return row.metric.title, p50, interval, p95, p99, f"{most} of {count}" if most else "", unit


def _past(run: Mapping[str, Any]) -> list[object]:
    run = {**run, "run": run["run_id"][:_ID_LENGTH], "time": run["finished"], "streams": run["concurrency"]}
    known = {row.metric.name: row for row in rows(run["result"])} if run["result"] else {}
    figures = [_with_interval(known[name]) if name in known and known[name].p50 is not None else None
               for name in _HISTORY_FIGURES]  # fmt: skip
    return [*(run[name] for name in _HISTORY), *figures]


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def _text(value: int | None) -> str:
    return "an unknown number of" if value is None else str(value)
