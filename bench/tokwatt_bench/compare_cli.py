"""`tokwatt-bench compare`, `regress` and `ab`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from tokwatt_bench import options as o
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.shell import DONE, FAILED, print_json

#: A regression was shown.
REGRESSION = 3
RUNS = "A run: the beginning of its id, latest, engine=NAME,model=NAME (last=5 for several), or a file."
Margin = Annotated[
    str, typer.Option(help="A difference that does not matter: with all of the interval within, two are equivalent.",
                      metavar="SHARE"),
]  # fmt: skip


@examples(
    "tokwatt-bench compare 3f2a 91bc  # two runs by the beginning of their ids",
    "tokwatt-bench compare engine=ollama,last=5 engine=lm_studio,last=5",
    "tokwatt-bench compare before.json latest --margin 5% --json",
)
@with_config("data-dir")
def compare(
    config: Config,
    first: Annotated[str, typer.Argument(help=RUNS, metavar="A")],
    second: Annotated[str, typer.Argument(help="The same.", metavar="B")],
    margin: Margin = "2%",
    json: o.Json = False,
) -> None:
    """Hold two runs, or sets of runs, against each other: ratios, intervals, and what may be said."""
    share = o.ratio("--margin", margin)
    from tokwatt_bench.compare import compared, comparison_table
    from tokwatt_bench.measured import find

    found = compared(find(config.data_dir, first), find(config.data_dir, second), margin=share)
    print_json(found) if json else comparison_table(found)
    raise typer.Exit(DONE if any(one["verdict"] for one in found["figures"]) else FAILED)


@examples(
    "tokwatt-bench regress --baseline before.json",
    "tokwatt-bench regress --baseline 3f2a --candidate latest --threshold 5%",
    "tokwatt-bench regress --baseline before.json --allow engine_version",
)
@with_config("data-dir")
def regress(
    config: Config,
    baseline: Annotated[str, typer.Option(help=RUNS, metavar="RUN")],
    candidate: Annotated[str, typer.Option(help="What is held against it.", metavar="RUN")] = "latest",
    threshold: Annotated[str, typer.Option(help="A regression is at least as large as this.", metavar="SHARE")] = "2%",
    allow: Annotated[list[str] | None, typer.Option(help="A condition that may differ; repeatable.",
                                                    metavar="NAME")] = None,
    json: o.Json = False,
) -> None:  # fmt: skip
    """Say whether a run is worse than another one under the same conditions; exit code 3 where it is shown to be."""
    share = o.ratio("--threshold", threshold)
    from tokwatt_bench import regress as judged
    from tokwatt_bench.compare import comparison_table
    from tokwatt_bench.measured import find

    first, second = find(config.data_dir, baseline), find(config.data_dir, candidate)
    if first[0].result["run_id"] == second[0].result["run_id"]:
        raise UsageError("--baseline and --candidate are the same run")
    found = judged.regress(first, second, share, allow or ())
    if json:
        print_json(found)
    else:
        comparison_table(found)
    for line in found["regressions"]:
        sys.stderr.write(f"tokwatt-bench: regression: {line}\n")
    if found["regressions"]:
        raise typer.Exit(REGRESSION)
    if not found["comparable"]:
        sys.stderr.write("tokwatt-bench: nothing could be compared: too few requests that succeeded\n")
        raise typer.Exit(FAILED)


@examples(
    "tokwatt-bench ab --a http://127.0.0.1:11434 --b http://127.0.0.1:8080",
    "tokwatt-bench ab --a http://127.0.0.1:1234#small --b http://127.0.0.1:1234#big",
)
@with_config("data-dir", "path.procfs", "path.sysfs")
def ab(
    config: Config,
    a: Annotated[str, typer.Option("--a", help="Base URL of the first engine; #MODEL after it chooses a model.",
                                   metavar="URL")],
    b: Annotated[str, typer.Option("--b", help="The second.", metavar="URL")],
    pairs: Annotated[int, typer.Option(help="Pairs of requests.", metavar="N")] = 20,
    prompt: o.Prompt = None,
    prompt_file: o.PromptFile = None,
    scenario: o.ScenarioName = "default",
    api: o.ApiName = None,
    warmup: o.Warmup = None,
    max_tokens: o.MaxTokens = 128,
    temperature: o.Temperature = None,
    seed: o.Seed = None,
    margin: Margin = "2%",
    idle_seconds: o.IdleSeconds = 5.0,
    timeout: o.Timeout = "120s",
    solo: Annotated[bool, typer.Option("--solo", help="Keep only one of the two models in memory: drop it before the "
                                       "other's turns, a few times in all.")] = False,
    no_calibrate: o.NoCalibrate = False,
    no_store: o.NoStore = False,
    json: o.Json = False,
) -> None:  # fmt: skip
    """Measure two engines or models in turns, so that what drifts hits both alike, and compare them in pairs."""
    fields = o.asking(api, warmup, max_tokens, temperature, seed, idle_seconds, timeout, None, "annotate", no_calibrate)
    asked = o.asked(scenario, prompt, prompt_file)
    share = o.ratio("--margin", margin)
    o.at_least("--pairs", pairs, 6)
    from tokwatt_bench.ab import ab as measured
    from tokwatt_bench.measure import Kept, plan
    from tokwatt_bench.target import choose

    targets: list[Any] = []
    for flag, text in (("--a", a), ("--b", b)):
        url, _, model = text.partition("#")
        if not url:
            raise UsageError(f"{flag}: {text!r} is not a URL")
        targets.append(choose(config, url, None, model or None))
    if (targets[0].url, targets[0].model) == (targets[1].url, targets[1].model):
        raise UsageError("--a and --b are the same model of the same engine")
    fields |= {"procfs": config.path_procfs, "sysfs": config.path_sysfs, "runs": pairs}
    first, second = (plan(target, fields, asked) for target in targets)
    kept = Kept(None if no_store else config.data_dir, json)
    raise typer.Exit(measured((first, second), pairs, share, kept, solo=solo))
