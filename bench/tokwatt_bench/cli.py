"""The commands of `tokwatt-bench`. They parse, call and print; what they call is imported when they run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokwatt_exporter import __version__, parse
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import StoreError, UsageError
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.shell import DONE, FAILED, print_json

if TYPE_CHECKING:
    from tokwatt_bench.load import Run
    from tokwatt_bench.plan import Plan

app = typer.Typer(
    help="Measure LLM engines: time to first token, tokens per second, joules per token.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip

INTERRUPTED = 130
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Measure LLM engines: time to first token, tokens per second, joules per token."""
    if version:
        typer.echo(f"tokwatt-bench {__version__}")
        raise typer.Exit


@app.command()
@with_config("data-dir", "path.procfs", "path.sysfs")
def run(
    config: Config,
    url: Annotated[str | None, typer.Option(help="Base URL of the engine. Default: the one found.",
                                            metavar="URL")] = None,
    model: Annotated[str | None, typer.Option(help="Model. Default: the one in memory.", metavar="NAME")] = None,
    engine: Annotated[str | None, typer.Option(help="Name or kind of the engine to choose of those found.",
                                               metavar="NAME")] = None,
    prompt: Annotated[str | None, typer.Option(help="Prompt.", metavar="TEXT")] = None,
    prompt_file: Annotated[Path | None, typer.Option(help="File with the prompt.", metavar="FILE")] = None,
    api: Annotated[str | None, typer.Option(help="How it is asked: chat, completions or native. Default: native for "
                                            "Ollama, else chat.", metavar="API")] = None,
    runs: Annotated[int, typer.Option(help="Measured requests.", metavar="N")] = 10,
    warmup: Annotated[int, typer.Option(help="Requests before them that do not count.", metavar="N")] = 1,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.", metavar="T")] = 128,
    temperature: Annotated[float | None, typer.Option(help="Default: the engine's.", metavar="X")] = None,
    seed: Annotated[int | None, typer.Option(help="Default: the engine's.", metavar="N")] = None,
    scenario: Annotated[str, typer.Option(help="Name under which results are kept together.",
                                          metavar="NAME")] = "default",
    idle_seconds: Annotated[float, typer.Option(help="Time for which idle power is measured before; 0 for not.",
                                                metavar="S")] = 5.0,
    timeout: Annotated[str, typer.Option(help="Longest time of one request.", metavar="DURATION")] = "120s",
    warm_prefix: Annotated[bool, typer.Option("--warm-prefix", help="Send the very same prompt each time, so that the "
                                              "engine's prefix cache is used.")] = False,
    cold: Annotated[bool, typer.Option("--cold", help="Unload the model before each request and load it again; say "
                                       "how long that took.")] = False,
    no_store: Annotated[bool, typer.Option("--no-store", help="Do not keep the result.")] = False,
    json: Json = False,
    csv: Annotated[Path | None, typer.Option(help="Write a line a request to this file.", metavar="FILE")] = None,
) -> None:  # fmt: skip
    """Measure an engine: one streamed request after the other."""
    _at_least("--runs", runs, 1)
    _at_least("--warmup", warmup, 0)
    _at_least("--max-tokens", max_tokens, 1)
    _at_least("--idle-seconds", idle_seconds, 0)
    options: dict[str, Any] = {
        "runs": runs, "warmup": warmup, "max_tokens": max_tokens, "temperature": temperature, "seed": seed,
        "idle_seconds": idle_seconds, "warm_prefix": warm_prefix, "cold": cold, "procfs": config.path_procfs,
        "sysfs": config.path_sysfs,
        "scenario": parse.flag("--scenario", parse.label, scenario),
        "timeout": parse.flag("--timeout", parse.duration, timeout),
        "api": api and parse.flag("--api", parse.choice("chat", "completions", "native"), api),
    }  # fmt: skip
    text = _prompt(prompt, prompt_file)
    if text is not None:
        options["prompt"] = text
    if csv and not csv.parent.is_dir():
        raise UsageError(f"--csv: {csv.parent} is no directory")
    from tokwatt_bench.cold import refuse
    from tokwatt_bench.plan import Plan
    from tokwatt_bench.target import choose

    plan = Plan(target=choose(config, url, engine, model), **options)
    # What the engine cannot be asked is said before anything is measured.
    plan.generation()
    refuse(plan)
    raise typer.Exit(_measure(plan, None if no_store else config.data_dir, json, csv))


@app.command()
@with_config("data-dir")
def history(
    config: Config,
    model: Annotated[str | None, typer.Option(help="Only of this model.", metavar="NAME")] = None,
    engine: Annotated[str | None, typer.Option(help="Only of this engine.", metavar="NAME")] = None,
    scenario: Annotated[str | None, typer.Option(help="Only of this scenario.", metavar="NAME")] = None,
    limit: Annotated[int, typer.Option(help="The newest so many.", metavar="N")] = 20,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
) -> None:
    """Print what was measured before, newest first."""
    from tokwatt_bench import report
    from tokwatt_exporter.store.read import query

    if json and csv:
        raise UsageError("--json and --csv exclude each other")
    wanted = {"engine": engine, "model": model, "scenario": scenario, "limit": limit}
    rows = query(config.data_dir, "bench_results", wanted)
    if json:
        print_json({"runs": rows})
    elif csv:
        report.history_csv(rows)
    elif rows:
        report.history_table(rows)
    else:
        sys.stderr.write("nothing was measured yet: tokwatt-bench run\n")


def _measure(plan: Plan, data_dir: Path | None, json: bool, csv: Path | None) -> int:
    from contextlib import nullcontext

    from tokwatt_bench import keep, load, report
    from tokwatt_bench.result import record, result
    from tokwatt_exporter.store.folder import prepare

    if data_dir:
        prepare(data_dir)
    with keep.running(data_dir) if data_dir else nullcontext(), report.progress(plan.warmup + plan.runs) as step:
        done = load.run(plan, step)
    found = result(done)
    problem = None
    if data_dir and done.measured:
        # Before anything is printed: who reads the output may go away.
        try:
            keep.keep(data_dir, record(done, found))
        except StoreError as error:
            problem = error
    print_json({"results": [found]}) if json else report.result_table(found)
    if csv:
        report.requests_csv(done, csv)
    code = _code(done, found)
    if problem:
        raise problem
    return code


def _code(done: Run, found: dict[str, Any]) -> int:
    for failure in found["failures"]:
        sys.stderr.write(
            f"tokwatt-bench: {failure['count']} of {found['runs']} requests failed ({failure['class']}): "
            f"{failure['detail']}\n"
        )
    if done.aborted:
        return INTERRUPTED
    return DONE if done.results else FAILED


def _prompt(text: str | None, file: Path | None) -> str | None:
    if text is not None and file:
        raise UsageError("--prompt and --prompt-file exclude each other")
    if file:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"--prompt-file: {file} cannot be read: {reason}") from None
    if text is not None and not text.strip():
        raise UsageError("the prompt is empty")
    return text


def _at_least(flag: str, value: float, least: float) -> None:
    if not least <= value < 1e9:
        raise UsageError(f"{flag}: {value:g} is not {least:g} or more")
