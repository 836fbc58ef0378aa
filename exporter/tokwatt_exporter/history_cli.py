"""`tokwatt history`: ask the history, and take care of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokwatt_exporter.catalogue import ENERGY, MEMORY_AVAILABLE, TEMPERATURE
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.history_leave_cli import export, import_
from tokwatt_exporter.shell import FAILED, one_format, print_json

if TYPE_CHECKING:
    from tokwatt_exporter.store.queries import Over

app = typer.Typer(help="Ask the history that the daemon keeps, and take care of it.", no_args_is_help=True)
app.command("export")(export)
app.command("import")(import_)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")]
Labels = Annotated[
    list[str] | None, typer.Option(help="Only series with this label; repeatable.", metavar="NAME=VALUE")
]
DATA_DIR = "data-dir"
RETENTION = ("history.retention-raw", "history.retention-1m", "history.retention-1h")


@app.command("info")
@examples("tokwatt history info", "tokwatt history info --json")
@with_config(DATA_DIR)
def info(config: Config, json: Json = False) -> None:
    """Say what the history holds: file, size, series, samples, first and last time, what still waits."""
    from tokwatt_exporter import show
    from tokwatt_exporter.store import read

    facts = read.info(config.data_dir)
    print_json(facts) if json else show.facts_table(facts)


@app.command("query")
@examples(
    f"tokwatt history query --metric {MEMORY_AVAILABLE} --since 10m",
    f"tokwatt history query 'rate({ENERGY}[5m])'",
    f"tokwatt history query 'max({TEMPERATURE})' --since 30d --csv",
)
@with_config(DATA_DIR)
def query(
    config: Config,
    expression: Annotated[
        str | None, typer.Argument(help="As PromQL writes it: sum by (device) (rate(NAME[5m])).", metavar="EXPRESSION")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Instead: name of a metric, as on /metrics.", metavar="NAME")
    ] = None,
    label: Labels = None,
    since: Annotated[str, typer.Option(help="How far back, or an ISO time.", metavar="DURATION")] = "1h",
    until: Annotated[str | None, typer.Option(help="How far back it ends, or an ISO time.", metavar="DURATION")] = None,
    step: Annotated[
        str | None, typer.Option(help="One value a step: the last, or that of the expression.", metavar="DURATION")
    ] = None,
    json: Json = False,
    csv: Csv = False,
) -> None:  # fmt: skip
    """Print the samples of a metric, or what an expression gives over time."""
    from tokwatt_exporter.store import queries, read

    one_format(json, csv)
    given: dict[str, Any] = {"since": since, "until": until, "step": step}
    if expression is None:
        if metric is None:
            raise UsageError("missing option '--metric', or an expression like 'rate(NAME[5m])'")
        prepared = queries.prepare("samples", {**given, "metric": metric, "labels": label or []})
    elif metric is not None or label:
        raise UsageError("an expression has its metric and labels in itself; leave out --metric and --label")
    else:
        prepared = queries.prepare("expression", {**given, "expr": expression})
    _print_samples(read.answer(config.data_dir, prepared), prepared.over, json, csv)


def _print_samples(rows: list[dict[str, Any]], over: Over | None, json: bool, csv: bool) -> None:
    from tokwatt_exporter import show

    if json:
        told = {"resolution": over.resolution, "step_seconds": over.step_ms / 1000} if over else {}
        print_json({**told, "samples": rows})
        return
    show.samples_csv(rows) if csv else show.samples_table(rows)
    if over:
        rows_are = {"raw": "every sample", "1m": "a row for each minute", "1h": "a row for each hour"}[over.resolution]
        typer.echo(f"a value every {over.step_ms / 1000:g} s, from {rows_are}", err=True)


@app.command("sql")
@examples(
    "tokwatt history sql 'SHOW TABLES'",
    "tokwatt history sql 'FROM power ORDER BY time DESC LIMIT 10'",
    "tokwatt history sql --csv - < question.sql",
)
@with_config(DATA_DIR)
def sql(
    config: Config,
    statement: Annotated[str, typer.Argument(help="A SELECT of DuckDB; - reads it from stdin.", metavar="SQL")],
    limit: Annotated[int, typer.Option(help="More rows than this are refused.", min=1, max=1_000_000)] = 10_000,
    timeout: Annotated[str, typer.Option(help="How long it may take.", metavar="DURATION")] = "30s",
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Ask the history in SQL, for reading only. `SHOW TABLES` and docs/history.md say what there is."""
    from tokwatt_exporter import parse, show
    from tokwatt_exporter.store import sql as asking

    one_format(json, csv)
    seconds = parse.flag("--timeout", parse.duration, timeout)
    found = asking.ask(config.data_dir, sys.stdin.read() if statement == "-" else statement, limit, timeout=seconds)
    if json:
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
        print_json({"columns": list(found.columns), "rows": rows})
    elif csv:
        show.rows_csv(found.columns, found.rows)
    else:
        show.table(found.columns, found.rows)


@app.command()
@examples("tokwatt history check")
@with_config(DATA_DIR)
def check(config: Config, json: Json = False) -> None:
    """Read all of the history and say what is wrong with it; exit 1 where something is."""
    from tokwatt_exporter import show
    from tokwatt_exporter.store import care

    facts = care.check(config.data_dir)
    if json:
        print_json(facts)
    else:
        rows = ", ".join(f"{name} {count}" for name, count in facts["rows"].items())
        aside = ", ".join(facts["moved_aside"]) or None
        show.facts_table(facts | {"moved_aside": aside, "rows": rows or None, "problems": None})
        typer.echo("\n".join(facts["problems"]) or "the history is sound")
    if facts["problems"]:
        raise typer.Exit(FAILED)


@app.command()
@examples("tokwatt history backup", "tokwatt history backup /mnt/copies/history.duckdb")
@with_config(DATA_DIR)
def backup(
    config: Config,
    file: Annotated[Path | None, typer.Argument(help="Where to; beside the history where not given.")] = None,
) -> None:
    """Copy the history, also while the daemon runs. What still waits in the journal is not in the copy."""
    from tokwatt_exporter.store import backup as copies

    typer.echo(copies.backup(config.data_dir, file))


@app.command()
@examples("tokwatt history restore /mnt/copies/history.duckdb")
@with_config(DATA_DIR)
def restore(config: Config, file: Annotated[Path, typer.Argument(help="A copy that `backup` made.")]) -> None:
    """Make a copy the history again; the present one stays under another name."""
    from tokwatt_exporter.store import backup as copies

    kept = copies.restore(config.data_dir, file)
    typer.echo(f"{file} is the history now" + (f"; the one before is {kept}" if kept else ""))


@app.command()
@examples("tokwatt history compact", "tokwatt history compact --history.retention-raw 7d")
@with_config(DATA_DIR, *RETENTION)
def compact(config: Config, json: Json = False) -> None:
    """Pack closed days now, drop what is too old, and write the file anew without the room it has free."""
    from tokwatt_exporter.store import care
    from tokwatt_exporter.store.upkeep import Retention

    done = care.compact(config.data_dir, Retention(**config.retention))
    if json:
        print_json(done)
    else:
        typer.echo(f"{done['before_bytes']} bytes before, {done['after_bytes']} after; {done['packed']} rows packed")


@app.command()
@examples(
    f"tokwatt history forget --metric {TEMPERATURE} --dry-run",
    "tokwatt history forget --before 365d",
)
@with_config(DATA_DIR)
def forget(
    config: Config,
    metric: Annotated[str | None, typer.Option(help="Only this metric.", metavar="NAME")] = None,
    label: Labels = None,
    before: Annotated[str | None, typer.Option(help="Only what is older, or an ISO time.", metavar="DURATION")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would be.")] = False,
    json: Json = False,
) -> None:
    """Delete samples and roll-ups for good. Copies of the history and Prometheus keep what they have."""
    from tokwatt_exporter import parse
    from tokwatt_exporter.store import care, params

    until = None if before is None else parse.flag("--before", params.time_ms, before)
    done = care.forget(config.data_dir, metric, parse.flag("--label", params.label_pairs, label or []), until,
                       dry_run=dry_run)  # fmt: skip
    if json:
        print_json(done)
        return
    typer.echo(f"{done['samples']} samples of {done['series']} series {'would be' if dry_run else 'are'} forgotten")
    if done["copies"]:
        typer.echo(f"copies that still hold them: {', '.join(done['copies'])}", err=True)
