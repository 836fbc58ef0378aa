"""The result of a run as JSON has it, and as the store keeps it. Names and shape are a contract: docs/benchmark.md."""

from __future__ import annotations

import os
from typing import Any

from tokwatt_bench import conditions, energy, figures, intervals
from tokwatt_bench.calibration import bound
from tokwatt_bench.goodput import goodput
from tokwatt_bench.hardware import hardware
from tokwatt_bench.load import Run
from tokwatt_bench.phases import phases
from tokwatt_bench.request import Request
from tokwatt_bench.roofline import share
from tokwatt_bench.statistics import Summary, median, summarise
from tokwatt_bench.throughput import span_seconds, throughput
from tokwatt_exporter import __version__

#: Ollama looks up a model that is in memory within milliseconds and calls that loading too.
LOAD_SECONDS = 0.25


def result(run: Run) -> dict[str, Any]:
    """One entry of `{"results": […]}`; what is null has its reason in `reasons`, under its dotted name."""
    plan, target, good = run.plan, run.plan.target, run.results
    reasons: dict[str, str] = {}
    found: dict[str, Any] = {
        "engine": target.name, "kind": target.kind, "version": target.version, "url": target.url,
        "model": target.model, "scenario": plan.scenario, "concurrency": plan.concurrency, "runs": len(run.measured),
        "failed": len(run.measured) - len(good), "aborted": run.aborted, "run_id": run.plan.run_id,
    }  # fmt: skip
    latency, note = figures.inter_token_latency(good)
    _add_summaries(found, reasons, run, latency)
    found["tokens"] = _tokens(run, reasons)
    found["chunks"] = _chunks(good)
    found["longest_pause_seconds"] = figures.longest_pause(good)
    _add_load(found, reasons, run)
    _add_energy(found, reasons, run)
    found["memory_bandwidth_ratio"], why = share(plan.roof, found)
    if why:
        reasons["memory_bandwidth_ratio"] = why
    found["peak_memory_bytes"] = run.peak_memory_bytes
    if run.peak_memory_bytes is None:
        reasons["peak_memory_bytes"] = "the engine's process cannot be seen from here"
    _add_circumstances(found, reasons, run)
    intervals.add(found, reasons, run)
    found["failures"] = figures.failures(run.measured)
    found["answer_problems"] = figures.answer_problems(good)
    found["reasons"] = reasons
    found["notes"] = [*filter(None, [note, run.problem]), *run.notes, *_notes(good)]
    found["settings"] = plan.settings()
    found["host"], found["tool_version"] = os.uname().nodename, __version__
    found["hardware"] = hardware(plan.procfs, plan.sysfs) if target.local else None
    if not target.local:
        reasons["hardware"] = "the engine runs on another machine"
    return found


def _add_summaries(found: dict[str, Any], reasons: dict[str, str], run: Run, latency: Summary) -> None:
    plan, good = run.plan, run.results
    reuses = plan.warm_prefix or bool(plan.asks and not plan.asks.unique_prefix)
    speeds = [figures.prompt_speed(request, not reuses) for request in good]
    summaries = {
        "time_to_first_token_seconds": _plain(good, lambda request: request.first_token_seconds),
        "time_to_first_answer_token_seconds": _plain(
            good, lambda request: request.first_answer_token_seconds, "an answer held no answer token, only reasoning"
        ),
        "engine_time_to_first_token_seconds": _plain(
            good, lambda request: request.answer.engine_ttft_seconds, "the engine does not say"
        ),
        "inter_token_latency_seconds": latency,
        "mean_inter_token_latency_seconds": figures.over(good, figures.mean_token_gap),
        "generation_tokens_per_second": figures.over(good, figures.generation_speed),
        "prompt_tokens_per_second": _speeds(speeds),
        "chunk_gap_seconds": figures.chunk_gap(good),
        "connect_seconds": _plain(good, lambda request: request.connect_seconds),
        "request_duration_seconds": _plain(good, lambda request: request.duration_seconds),
    }
    if plan.cold:
        summaries["load_seconds"] = _loads(good)
    if plan.arrivals:
        summaries["delay_seconds"] = _plain(good, lambda request: request.delay_seconds)
    for name, summary in summaries.items():
        found[name] = summary.as_json()
        reasons |= {f"{name}.{part}" if part else name: why for part, why in summary.reasons.items()}
    found["prompt_tokens_per_second"]["source"] = ", ".join(sorted({source for _, source in speeds if source})) or None
    if plan.cold:
        found["load_seconds"]["source"] = ", ".join(sorted({r.load.source for r in good if r.load})) or None


def _add_load(found: dict[str, Any], reasons: dict[str, str], run: Run) -> None:
    plan, rounds = run.plan, run.measured_rounds
    is_open = plan.arrivals is not None
    found["load"] = {"mode": "open", "arrivals": plan.arrivals} if is_open else {"mode": "closed"}
    if plan.rate is not None:
        found["load"]["rate_per_second"] = plan.rate
    if run.stopped:
        found["load"]["stopped"] = run.stopped.why
    together = throughput(rounds, None if is_open else plan.concurrency)
    if why := together.pop("reason"):
        reasons |= {f"throughput.{name}": why for name, value in together.items() if value is None}
    found["throughput"] = together
    found["goodput"] = None
    if plan.objective:
        found["goodput"] = goodput(run.measured, plan.objective, span_seconds(rounds))
        if why := found["goodput"].pop("reason"):
            reasons["goodput"] = why
    else:
        reasons["goodput"] = "no objective was given (--slo)"


def _add_energy(found: dict[str, Any], reasons: dict[str, str], run: Run) -> None:
    windows = [energy.Window(one.requests, one.use) for one in run.measured_rounds]
    joules = energy.per_token(windows, run.idle, run.no_energy)
    why = joules.pop("reason")
    apart = phases(windows, run.idle, why or "")
    found["energy_per_token_joules"] = joules["per_token_joules"]
    if why:
        reasons["energy_per_token_joules"] = why
    reasons |= {f"energy.{name}": why for name, why in apart.pop("reasons").items()}
    found["energy"] = joules | apart


def _add_circumstances(found: dict[str, Any], reasons: dict[str, str], run: Run) -> None:
    calibration = run.calibration
    found["calibration"] = calibration.as_json() if calibration else None
    found["client_bound"] = bound(found, calibration) if calibration else []
    if calibration is None:
        reasons["calibration"] = "the client was not calibrated"
    idle = run.samples[: run.idle_samples]
    during = run.samples[max(run.idle_samples - 1, 0) :]
    found["conditions"] = {
        "before": idle[-1] if idle else {}, "after": run.samples[-1] if run.samples else {},
        "samples": conditions.thinned(run.samples),
        "problems": [*conditions.problems(during, run.plan.beside), *conditions.background(idle)],
    }  # fmt: skip


def record(run: Run, found: dict[str, Any]) -> dict[str, Any]:
    """The journal's record of a run: a row of `bench_run` and the rows of `bench_request`."""
    row = {
        "run_id": run.plan.run_id, "started": run.started_ms, "finished": run.finished_ms, "host": found["host"],
        "tool_version": found["tool_version"], "engine": found["engine"], "engine_kind": found["kind"],
        "engine_version": found["version"], "engine_url": found["url"], "model": found["model"],
        "scenario": found["scenario"], "concurrency": found["concurrency"], "runs": found["runs"],
        "failed": found["failed"], "max_tokens": run.plan.max_tokens, "settings": found["settings"], "result": found,
        "generation_tokens_per_second": found["generation_tokens_per_second"]["p50"],
        "prompt_tokens_per_second": found["prompt_tokens_per_second"]["p50"],
        "time_to_first_token_median_seconds": found["time_to_first_token_seconds"]["p50"],
        "time_to_first_token_p95_seconds": found["time_to_first_token_seconds"]["p95"],
        "inter_token_latency_median_seconds": found["inter_token_latency_seconds"]["p50"],
        "energy_per_token_joules": found["energy_per_token_joules"], "peak_memory_bytes": found["peak_memory_bytes"],
    }  # fmt: skip
    return {"kind": "bench", "run": row, "requests": [request.row(run.plan.run_id) for request in run.requests]}


def _plain(requests: list[Request], value: Any, why: str = "not known") -> Summary:
    return figures.over(requests, lambda request: figures.Known(value(request), why))


def _loads(requests: list[Request]) -> Summary:
    if len({request.load.source for request in requests if request.load}) > 1:
        return Summary(0, reasons={"": "its loads were timed in different ways"})
    return _plain(requests, lambda request: request.load and request.load.seconds)


def _speeds(speeds: list[tuple[figures.Known, str]]) -> Summary:
    if len({source for _, source in speeds}) > 1:
        return Summary(0, reasons={"": "its requests were timed in different ways"})
    if why := next((speed.why for speed, _ in speeds if speed.value is None), ""):
        return Summary(0, reasons={"": why})
    return summarise([s.value for s, _ in speeds if s.value is not None], why_none="no request succeeded")


def _tokens(run: Run, reasons: dict[str, str]) -> dict[str, Any]:
    """Sums over the measured requests that succeeded; the warm-up apart, for the engine's own counters hold both."""
    good = run.results
    warm = [request for request in run.requests if request.phase == "warmup" and request.ok]
    found = {
        "prompt": figures.total(good, lambda request: request.prompt_tokens),
        "generated": figures.total(good, lambda request: request.generated_tokens),
        "cached": figures.total(good, lambda request: request.cached_tokens),
        "source": figures.sources(good),
        "warmup_prompt": figures.total(warm, lambda request: request.prompt_tokens),
        "warmup_generated": figures.total(warm, lambda request: request.generated_tokens),
    }
    whys = {
        "prompt": "the engine gives no count of prompt tokens", "generated": figures.NO_COUNT,
        "cached": "the engine does not say how many prompt tokens were cached",
    }  # fmt: skip
    reasons |= {
        f"tokens.{name}": why if good else "no request succeeded" for name, why in whys.items() if found[name] is None
    }
    return found


def _notes(good: list[Request]) -> list[str]:
    loads = [(request.index, request.answer.load_seconds or 0.0) for request in good]
    loaded = [
        f"the engine loaded its model within request {index}, for {seconds:.1f} s: measure with --warmup 1 or more"
        for index, seconds in loads
        if seconds >= LOAD_SECONDS
    ]
    if estimated := sum(figures.first_estimated(request) for request in good):
        loaded.append(f"the tokens of the first chunk are estimated by its share of the text in {estimated} requests")
    return loaded + sorted({note for request in good for note in request.answer.notes})


def _chunks(good: list[Request]) -> dict[str, Any]:
    """How the tokens came: chunks an answer, tokens a chunk, and the share of chunks that shared a read."""
    if not good:
        return {"per_request": None, "tokens_per_chunk": None, "shared_read_ratio": None}
    chunks = sum(len(request.chunks) for request in good)
    tokens = figures.total(good, lambda request: request.generated_tokens)
    gaps = [gap for request in good for gap in figures.chunk_gaps(request)]
    return {
        "per_request": median([len(request.chunks) for request in good]),
        "tokens_per_chunk": tokens / chunks if tokens else None,
        "shared_read_ratio": sum(gap == 0 for gap in gaps) / len(gaps) if gaps else None,
    }
