"""`tokwatt history`: ask the history, and take care of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tokwatt_exporter.config import Config
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.history_leave_cli import export, import_
from tokwatt_exporter.shell import FAILED, print_json

app = typer.Typer(help="Ask the history that the daemon keeps, and take care of it.", no_args_is_help=True)
app.command("export")(export)
app.command("import")(import_)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Labels = Annotated[
    list[str] | None, typer.Option(help="Only series with this label; repeatable.", metavar="NAME=VALUE")
]
DATA_DIR = "data-dir"
RETENTION = ("history.retention-raw", "history.retention-1m", "history.retention-1h")


@app.command("info")
@with_config(DATA_DIR)
def info(config: Config, json: Json = False) -> None:
    """Say what the history holds: file, size, series, samples, first and last time, what still waits."""
    from tokwatt_exporter import show
    from tokwatt_exporter.store import read

    facts = read.info(config.data_dir)
    print_json(facts) if json else show.facts_table(facts)


@app.command("query")
@with_config(DATA_DIR)
def query(
    config: Config,
    metric: Annotated[str, typer.Option(help="Name of the metric, as on /metrics.", metavar="NAME")],
    label: Labels = None,
    since: Annotated[str, typer.Option(help="How far back, or an ISO time.", metavar="DURATION")] = "1h",
    until: Annotated[str | None, typer.Option(help="How far back it ends, or an ISO time.", metavar="DURATION")] = None,
    step: Annotated[str | None, typer.Option(help="One value a step: the last.", metavar="DURATION")] = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
) -> None:  # fmt: skip
    """Print the samples of a metric."""
    from tokwatt_exporter import show
    from tokwatt_exporter.errors import UsageError
    from tokwatt_exporter.store import read

    if json and csv:
        raise UsageError("--json and --csv exclude each other")
    given = {"metric": metric, "labels": label or [], "since": since, "until": until, "step": step}
    rows = read.query(config.data_dir, "samples", {name: value for name, value in given.items() if value is not None})
    if json:
        print_json({"samples": rows})
    else:
        show.samples_csv(rows) if csv else show.samples_table(rows)


@app.command()
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
@with_config(DATA_DIR)
def backup(
    config: Config,
    file: Annotated[Path | None, typer.Argument(help="Where to; beside the history where not given.")] = None,
) -> None:
    """Copy the history, also while the daemon runs. What still waits in the journal is not in the copy."""
    from tokwatt_exporter.store import backup as copies

    typer.echo(copies.backup(config.data_dir, file))


@app.command()
@with_config(DATA_DIR)
def restore(config: Config, file: Annotated[Path, typer.Argument(help="A copy that `backup` made.")]) -> None:
    """Make a copy the history again; the present one stays under another name."""
    from tokwatt_exporter.store import backup as copies

    kept = copies.restore(config.data_dir, file)
    typer.echo(f"{file} is the history now" + (f"; the one before is {kept}" if kept else ""))


@app.command()
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
    from tokwatt_exporter.store import care, queries

    until = None if before is None else parse.flag("--before", queries.time_ms, before)
    done = care.forget(config.data_dir, metric, parse.flag("--label", queries.label_pairs, label or []), until,
                       dry_run=dry_run)  # fmt: skip
    if json:
        print_json(done)
        return
    typer.echo(f"{done['samples']} samples of {done['series']} series {'would be' if dry_run else 'are'} forgotten")
    if done["copies"]:
        typer.echo(f"copies that still hold them: {', '.join(done['copies'])}", err=True)
