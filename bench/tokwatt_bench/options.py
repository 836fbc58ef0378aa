"""Options that several commands have: what is measured, and how it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from tokwatt_bench.completion import scenarios
from tokwatt_exporter import parse
from tokwatt_exporter.completion import words
from tokwatt_exporter.errors import UsageError

if TYPE_CHECKING:
    from tokwatt_bench.scenarios import Scenario

APIS, GATES = ("chat", "completions", "native"), ("refuse", "warn", "annotate")

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Url = Annotated[str | None, typer.Option(help="Base URL of the engine. Default: the one found.", metavar="URL")]
Model = Annotated[str | None, typer.Option(help="Model. Default: the one in memory.", metavar="NAME")]
Engine = Annotated[
    str | None, typer.Option(help="Name or kind of the engine to choose of those found.", metavar="NAME")
]
Prompt = Annotated[str | None, typer.Option(help="Prompt.", metavar="TEXT")]
PromptFile = Annotated[
    Path | None,
    typer.Option(help="File with prompts: text is one, JSON and JSON lines are many (also OpenAI messages, ShareGPT, "
                 "traces).", metavar="FILE"),
]  # fmt: skip
ScenarioName = Annotated[
    str, typer.Option(help="What is asked (tokwatt-bench scenarios lists them); with a prompt of your own, the name "
                      "under which results are kept together.", metavar="NAME", autocompletion=scenarios),
]  # fmt: skip
ApiName = Annotated[
    str | None, typer.Option(help="chat, completions or native. Default: native for Ollama, else chat.",
                             metavar="API", autocompletion=words(*APIS)),
]  # fmt: skip
Warmup = Annotated[
    int | None, typer.Option(help="Requests before them that do not count. Default: until they get no faster.",
                             metavar="N"),
]  # fmt: skip
MaxTokens = Annotated[int, typer.Option(help="Longest answer.", metavar="T")]
Temperature = Annotated[float | None, typer.Option(help="Default: the engine's.", metavar="X")]
Seed = Annotated[int | None, typer.Option(help="Default: the engine's.", metavar="N")]
IdleSeconds = Annotated[
    float, typer.Option(help="Time for which idle power is measured before; 0 for not.", metavar="S")
]
Timeout = Annotated[str, typer.Option(help="Longest time of one request.", metavar="DURATION")]
Slo = Annotated[
    str | None, typer.Option(help="Times that an answer must keep, for goodput: ttft=500ms,itl=50ms,e2e=10s.",
                             metavar="TIMES"),
]  # fmt: skip
Gate = Annotated[
    str, typer.Option(help="What becomes of a run in bad conditions (heat, memory pressure, battery, other load): "
                      "refuse, warn or annotate.", metavar="WHAT", autocompletion=words(*GATES)),
]  # fmt: skip
NoCalibrate = Annotated[
    bool, typer.Option("--no-calibrate", help="Do not spend two seconds on finding out how far off this client is.")
]
NoStore = Annotated[bool, typer.Option("--no-store", help="Do not keep the result.")]

WHOLE = (1, 1e9)


class Asked(NamedTuple):
    """What is asked: a prompt or a scenario, and the name that stands for it."""

    scenario: str
    prompt: str | None = None
    asks: Scenario | None = None


def asked(scenario: str, prompt: str | None, file: Path | None) -> Asked:
    """Of the three options; `UsageError` where they do not fit together or the file is none."""
    name = parse.flag("--scenario", parse.label, scenario)
    if prompt is not None and file:
        raise UsageError("--prompt and --prompt-file exclude each other")
    if prompt is not None:
        if not prompt.strip():
            raise UsageError("the prompt is empty")
        return Asked(name, prompt)
    from tokwatt_bench.scenarios import SCENARIOS, from_file

    if file:
        return Asked(name if name != "default" else file.stem, asks=from_file(file))
    if name == "default":
        return Asked(name)
    if name not in SCENARIOS:
        raise UsageError(f"--scenario: there is no {name}; there are default, {', '.join(SCENARIOS)}")
    return Asked(name, asks=SCENARIOS[name])


def asking(
    api: str | None, warmup: int | None, max_tokens: int, temperature: float | None, seed: int | None,
    idle_seconds: float, timeout: str, slo: str | None, gate: str, no_calibrate: bool,
) -> dict[str, Any]:  # fmt: skip
    """Fields of the `Plan` from the options that all commands have."""
    from tokwatt_bench.goodput import objective

    if warmup is not None:
        at_least("--warmup", warmup, 0)
    at_least("--max-tokens", max_tokens, 1)
    at_least("--idle-seconds", idle_seconds, 0)
    return {
        "api": api and parse.flag("--api", parse.choice(*APIS), api),
        "warmup": warmup, "max_tokens": max_tokens, "temperature": temperature, "seed": seed,
        "idle_seconds": idle_seconds, "timeout": parse.flag("--timeout", parse.duration, timeout),
        "objective": slo and parse.flag("--slo", objective, slo),
        "gate": parse.flag("--gate", parse.choice(*GATES), gate),
        "calibrate": not no_calibrate,
    }  # fmt: skip


def numbers(flag: str, text: str, least: float, whole: bool = True) -> list[Any]:
    """`1,8,32`, with k for thousands; `UsageError` names the one that is none."""
    found = []
    for part in text.split(","):
        digits, thousand = (part.strip()[:-1], 1024) if part.strip().lower().endswith("k") else (part.strip(), 1)
        try:
            value: float = int(digits) * thousand if whole else float(digits) * thousand
        except ValueError:
            raise UsageError(f"{flag}: {part.strip()!r} is not a {'whole number' if whole else 'number'}") from None
        at_least(flag, value, least)
        found.append(value)
    return found


def at_least(flag: str, value: float, least: float) -> None:
    """`UsageError` for what is less, or no number."""
    if not least <= value < 1e9:
        raise UsageError(f"{flag}: {value:g} is not {least:g} or more")


def ratio(flag: str, text: str) -> float:
    """`3%` or `0.03`."""
    try:
        value = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        raise UsageError(f"{flag}: {text!r} is not a share such as 3% or 0.03") from None
    if not 0 < value < 1:
        raise UsageError(f"{flag}: {text} is not between 0% and 100%")
    return value
