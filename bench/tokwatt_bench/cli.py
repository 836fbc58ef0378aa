"""The commands of `tokwatt-bench`. They parse, call and print; what they call is imported when they run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tokwatt_bench.compare_cli import ab, compare, regress
from tokwatt_bench.dashboards_cli import app as dashboards
from tokwatt_bench.explain_cli import explain
from tokwatt_bench.options import Json
from tokwatt_bench.quality_cli import quality, scenarios
from tokwatt_bench.report_cli import report
from tokwatt_bench.run_cli import run, sweep
from tokwatt_bench.share_cli import share
from tokwatt_exporter import __version__
from tokwatt_exporter.config import Config
from tokwatt_exporter.examples import examples, show_in_help
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.shell import one_format, print_json

app = typer.Typer(
    help="Measure LLM engines: time to first token, tokens per second, joules per token.",
    no_args_is_help=True, pretty_exceptions_enable=False,
)  # fmt: skip

app.command()(run)
app.command()(sweep)
app.command()(ab)
app.command()(compare)
app.command()(regress)
app.command()(quality)
app.command()(scenarios)
app.command()(report)
app.command()(share)
app.command()(explain)
app.add_typer(dashboards, name="dashboards")


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Measure LLM engines: time to first token, tokens per second, joules per token."""
    if version:
        typer.echo(f"tokwatt-bench {__version__}")
        raise typer.Exit


@app.command()
@examples("tokwatt-bench history", "tokwatt-bench history --engine ollama --limit 100 --csv")
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
    from tokwatt_bench import report as printed
    from tokwatt_exporter.store.read import query

    one_format(json, csv)
    wanted = {"engine": engine, "model": model, "scenario": scenario, "limit": limit}
    rows = query(config.data_dir, "bench_results", wanted)
    if json:
        print_json({"runs": rows})
    elif csv:
        printed.history_csv(rows)
    elif rows:
        printed.history_table(rows)
    else:
        sys.stderr.write("nothing was measured yet: tokwatt-bench run\n")


show_in_help(app)
