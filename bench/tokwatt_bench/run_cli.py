"""`tokwatt-bench run` and `sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokwatt_bench import options as o
from tokwatt_exporter import parse
from tokwatt_exporter.completion import words
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config

if TYPE_CHECKING:
    from tokwatt_bench.target import Target

#: What is known so well by then is not known better by a few more.
MOST_RUNS = 50
PRECISION = "3%"
ARRIVALS = ("poisson", "constant")


@examples(
    "tokwatt-bench run  # the engine found here and its model in memory",
    "tokwatt-bench run --engine ollama --model qwen3:8b --runs 20",
    "tokwatt-bench run --url http://127.0.0.1:8080 --context 1k,4k,16k",
    "tokwatt-bench run --concurrency 1,8,32 --slo ttft=500ms,itl=50ms",
    "tokwatt-bench run --rate 2 --duration 5m --json > result.json",
)
@with_config("data-dir", "path.procfs", "path.sysfs")
def run(
    config: Config,
    url: o.Url = None,
    model: o.Model = None,
    engine: o.Engine = None,
    prompt: o.Prompt = None,
    prompt_file: o.PromptFile = None,
    scenario: o.ScenarioName = "default",
    context: Annotated[str | None, typer.Option(help="Prompt tokens, exact by the engine's own count; with commas a "
                                                "result each: 1k,4k,16k.", metavar="TOKENS")] = None,
    api: o.ApiName = None,
    runs: Annotated[int | None, typer.Option(help="Measured requests. Default: as many as --precision takes.",
                                             metavar="N")] = None,
    precision: Annotated[str, typer.Option(help="Measure until the 95 % interval of the median is as narrow as this to "
                                           "either side.", metavar="SHARE")] = PRECISION,
    duration: Annotated[str | None, typer.Option(help="Measure for so long instead.", metavar="DURATION")] = None,
    concurrency: Annotated[str, typer.Option(help="Streams at a time; with commas a result each: 1,8,32.",
                                             metavar="N")] = "1",
    rate: Annotated[str | None, typer.Option(help="Requests a second, each sent at its time whatever became of those "
                                             "before; with commas a result each.", metavar="N")] = None,
    arrivals: Annotated[str, typer.Option(help="With --rate: poisson or constant.", metavar="HOW",
                                           autocompletion=words(*ARRIVALS))] = "poisson",
    warmup: o.Warmup = None,
    max_tokens: o.MaxTokens = 128,
    temperature: o.Temperature = None,
    seed: o.Seed = None,
    slo: o.Slo = None,
    idle_seconds: o.IdleSeconds = 5.0,
    timeout: o.Timeout = "120s",
    warm_prefix: Annotated[bool, typer.Option("--warm-prefix", help="Send the very same prompt each time, so that the "
                                              "engine's prefix cache is used.")] = False,
    cold: Annotated[bool, typer.Option("--cold", help="Unload the model before each request and load it again; say "
                                       "how long that took.")] = False,
    gate: o.Gate = "warn",
    no_calibrate: o.NoCalibrate = False,
    no_store: o.NoStore = False,
    json: o.Json = False,
    csv: Annotated[Path | None, typer.Option(help="Write a line a request to this file.", metavar="FILE")] = None,
) -> None:  # fmt: skip
    """Measure an engine: streamed requests, one after the other or side by side."""
    fields = o.asking(api, warmup, max_tokens, temperature, seed, idle_seconds, timeout, slo, gate, no_calibrate)
    asked = o.asked(scenario, prompt, prompt_file)
    loads = _loads(concurrency, rate, arrivals, cold)
    fields |= _length(runs, precision, duration) | {
        "warm_prefix": warm_prefix,
        "cold": cold or bool(asked.asks and asked.asks.cold),
    }
    if csv and not csv.parent.is_dir():
        raise UsageError(f"--csv: {csv.parent} is no directory")
    lengths = context and o.numbers("--context", context, 16)
    if lengths and (prompt is not None or prompt_file or scenario != "default"):
        raise UsageError("--context brings its own prompt; it excludes --prompt, --prompt-file and --scenario")
    from tokwatt_bench.measure import Kept, measure, plans
    from tokwatt_bench.target import choose

    target = choose(config, url, engine, model)
    fields |= _around(config, target, gate)
    kept = Kept(None if no_store else config.data_dir, json, csv)
    raise typer.Exit(measure(plans(target, fields, asked, loads, lengths or ()), kept))


@examples("tokwatt-bench sweep", "tokwatt-bench sweep --url http://127.0.0.1:8000 --most 128 --slo ttft=1s")
@with_config("data-dir", "path.procfs", "path.sysfs")
def sweep(
    config: Config,
    url: o.Url = None,
    model: o.Model = None,
    engine: o.Engine = None,
    prompt: o.Prompt = None,
    prompt_file: o.PromptFile = None,
    scenario: o.ScenarioName = "default",
    api: o.ApiName = None,
    runs: Annotated[
        int, typer.Option(help="Requests of each lane; with fewer than 6 nothing has an interval.", metavar="N")
    ] = 6,
    most: Annotated[int, typer.Option(help="Most streams at a time.", metavar="N")] = 64,
    warmup: o.Warmup = 1,
    max_tokens: o.MaxTokens = 128,
    temperature: o.Temperature = None,
    seed: o.Seed = None,
    slo: o.Slo = None,
    idle_seconds: o.IdleSeconds = 0.0,
    timeout: o.Timeout = "120s",
    gate: o.Gate = "warn",
    no_calibrate: o.NoCalibrate = False,
    no_store: o.NoStore = False,
    json: o.Json = False,
) -> None:
    """Double the streams until the engine gives no more, and find the knee."""
    fields = o.asking(api, warmup, max_tokens, temperature, seed, idle_seconds, timeout, slo, gate, no_calibrate)
    asked = o.asked(scenario, prompt, prompt_file)
    o.at_least("--runs", runs, 1)
    o.at_least("--most", most, 2)
    from tokwatt_bench import sweep as found
    from tokwatt_bench.measure import Kept
    from tokwatt_bench.target import choose

    target = choose(config, url, engine, model)
    fields |= _around(config, target, gate)
    kept = Kept(None if no_store else config.data_dir, json)
    raise typer.Exit(found.sweep(target, fields, asked, runs, most, kept))


def _loads(concurrency: str, rate: str | None, arrivals: str, cold: bool) -> list[dict[str, Any]]:
    """Fields of the `Plan` of each load."""
    lanes = o.numbers("--concurrency", concurrency, 1)
    poisson = parse.flag("--arrivals", parse.choice(*ARRIVALS), arrivals) == "poisson"
    if rate is None:
        if cold and lanes != [1]:
            raise UsageError("--cold loads the model before each request, which takes --concurrency 1")
        return [{"concurrency": count} for count in lanes]
    if lanes != [1]:
        raise UsageError("--rate and --concurrency exclude each other: an open loop has as many streams as it takes")
    if cold:
        raise UsageError("--rate and --cold exclude each other")
    return [{"rate": one, "poisson": poisson} for one in o.numbers("--rate", rate, 0.001, whole=False)]


def _length(runs: int | None, precision: str, duration: str | None) -> dict[str, Any]:
    """Fields of the `Plan` that say when it is over."""
    if runs is not None and duration is not None:
        raise UsageError("--runs and --duration exclude each other")
    if duration is not None:
        return {"seconds": parse.flag("--duration", parse.duration, duration)}
    if runs is not None:
        o.at_least("--runs", runs, 1)
        return {"runs": runs}
    return {"runs": MOST_RUNS, "precision": o.ratio("--precision", precision)}


def _around(config: Config, target: Target, gate: str) -> dict[str, Any]:
    """Fields of the `Plan` that are of the machine."""
    from tokwatt_bench.roofline import roof

    return {
        "procfs": config.path_procfs, "sysfs": config.path_sysfs, "roof": roof(config, target),
        "beside": _beside(config, target.url, gate),
    }  # fmt: skip


def _beside(config: Config, url: str, gate: str) -> tuple[str, ...]:
    """Other engines on this machine that hold a model: they take its memory, and may take its time."""
    if gate == "annotate":
        return ()
    from tokwatt_exporter.engines.discovery import find_now, same

    others = [found for found in find_now(config) if not same(found.url, url)]
    return tuple(found.name for found in others if found.models)
