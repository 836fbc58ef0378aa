"""`tokwatt recommend`: which model fits here, how fast it can be, and what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tokwatt_exporter import completion, parse
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.shell import print_json

#: A context that most conversations stay within.
CONTEXT = 8192
MOST_CONTEXT = 2**30


def use_cases(incomplete: str) -> list[str]:
    """What the shell completes `--use-case` to."""
    from tokwatt_exporter.advisor.measured import USE_CASES

    return completion.words(*USE_CASES)(incomplete)


@examples(
    "tokwatt recommend  # of the models that the engines have",
    "tokwatt recommend --model ~/models --use-case latency",
    "tokwatt recommend --model big.gguf --context 32768 --json",
)
@with_config(collectors=True)
def recommend(
    config: Config,
    model: Annotated[list[Path] | None, typer.Option(
        help="A .gguf file, or a folder of models; repeatable. Default: what the engines list.", metavar="FILE|DIR",
        show_default=False)] = None,
    use_case: Annotated[str, typer.Option(help="What counts: throughput, latency, efficiency or long-context.",
                                          metavar="WHAT", autocompletion=use_cases)] = "throughput",
    context: Annotated[int, typer.Option(help="Tokens of context.", metavar="N")] = CONTEXT,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:  # fmt: skip
    """Say which model fits here, how fast it can be and what was measured, with the arithmetic."""
    from tokwatt_exporter.advisor import report
    from tokwatt_exporter.advisor.advise import recommend as advice
    from tokwatt_exporter.advisor.measured import USE_CASES

    wanted = parse.flag("--use-case", parse.choice(*USE_CASES), use_case)
    if not 1 <= context <= MOST_CONTEXT:
        raise UsageError(f"--context: {context} is not a number of tokens from 1 to {MOST_CONTEXT}")
    found = advice(config, model or [], wanted, context)
    print_json(found.as_json()) if json else report.print_advice(found)
