"""`tokwatt-bench quality` and `scenarios`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tokwatt_bench import options as o
from tokwatt_bench.completion import suites as known_suites
from tokwatt_exporter import parse
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.shell import DONE, FAILED, print_json

#: Exit codes besides those of every command: a score was too low, and interrupted.
_TOO_LOW, _INTERRUPTED = 3, 130


@examples(
    "tokwatt-bench quality",
    "tokwatt-bench quality --suite json_schema,tool_call --fail-under 80%",
    "tokwatt-bench quality --suite needle --context 4k,16k --keep-answers a.jsonl",
)
@with_config("data-dir")
def quality(
    config: Config,
    url: o.Url = None,
    model: o.Model = None,
    engine: o.Engine = None,
    api: o.ApiName = None,
    suite: Annotated[str | None, typer.Option(help="json_schema, tool_call, instructions, needle, arithmetic, code; "
                                              "several with commas. Default: all, code only with --execute-code.",
                                              metavar="NAMES", autocompletion=known_suites)] = None,
    context: Annotated[str, typer.Option(help="Lengths of the needle's texts in tokens, about.",
                                         metavar="TOKENS")] = "1k,4k,8k",
    max_tokens: Annotated[int, typer.Option(help="Longest answer, reasoning included.", metavar="T")] = 1024,
    timeout: o.Timeout = "300s",
    execute_code: Annotated[bool, typer.Option("--execute-code", help="Run the code that the model writes, in a "
                                               "sandboxed process.")] = False,
    keep_answers: Annotated[Path | None, typer.Option(help="Write the answers to this file, a line of JSON each.",
                                                      metavar="FILE")] = None,
    fail_under: Annotated[str | None, typer.Option(help="End with 3 where a suite's score is lower: 80%.",
                                                   metavar="SHARE")] = None,
    json: o.Json = False,
) -> None:  # fmt: skip
    """Ask questions with one right answer each, and say how many were answered right. Nothing is timed."""
    from tokwatt_bench.quality import show
    from tokwatt_bench.quality.score import mark
    from tokwatt_bench.quality.suites import chosen

    suites = chosen(suite, execute_code)
    least = None if fail_under is None else o.ratio("--fail-under", fail_under)
    if keep_answers and not keep_answers.parent.is_dir():
        raise UsageError(f"--keep-answers: {keep_answers.parent} is no directory")
    from tokwatt_bench.keep import lock

    asking = _asking(config, url, engine, model, api, context, max_tokens, timeout, execute_code)
    with lock(config.data_dir):
        marks = mark(asking, suites, show.step)
    show.over()
    found = marks.as_json()
    if keep_answers:
        show.answers(marks, keep_answers)
    if json:
        print_json(found)
    else:
        show.scores(found)
    raise typer.Exit(_exit_code(found, least))


@examples("tokwatt-bench scenarios", "tokwatt-bench scenarios --json")
def scenarios(json: o.Json = False) -> None:
    """List what can be asked with `run --scenario`."""
    from tokwatt_bench.scenarios import SCENARIOS, VERSION

    if json:
        rows = [{"name": name, "description": one.description, "cold": one.cold} for name, one in SCENARIOS.items()]
        print_json({"content_version": VERSION, "scenarios": rows})
        return
    from tokwatt_exporter.show import table

    table(("scenario", "what is asked"), ((name, one.description) for name, one in SCENARIOS.items()))


def _asking(
    config: Config, url: str | None, engine: str | None, model: str | None, api: str | None, context: str,
    max_tokens: int, timeout: str, execute: bool,
) -> Any:  # fmt: skip
    from tokwatt_bench.quality.base import Options
    from tokwatt_bench.quality.examine import Asking
    from tokwatt_bench.target import choose

    o.at_least("--max-tokens", max_tokens, 1)
    lengths = o.numbers("--context", context, 200)
    seconds = parse.flag("--timeout", parse.duration, timeout)
    chosen: Any = api and parse.flag("--api", parse.choice(*o.APIS), api)
    if chosen == "completions":
        raise UsageError("--api: the questions need a template, which completions have not; take chat or native")
    target = choose(config, url, engine, model)
    return Asking(target, max_tokens, seconds, chosen, Options(tuple(lengths), execute))


def _exit_code(found: dict[str, Any], least: float | None) -> int:
    if found["aborted"]:
        return _INTERRUPTED
    for one in found["suites"]:
        if one["unanswered"]:
            sys.stderr.write(
                f"tokwatt-bench: {one['suite']}: {len(one['unanswered'])} of {one['items']} questions were not "
                f"answered: {one['unanswered'][0]['why']}\n"
            )
    if not any(one["answered"] for one in found["suites"]):
        return FAILED
    low = [one for one in found["suites"] if least is not None and one["answered"] and one["score"] < least]
    for one in low:
        sys.stderr.write(f"tokwatt-bench: {one['suite']}: {one['score']:.0%} is less than {least:.0%}\n")
    return _TOO_LOW if low else DONE
