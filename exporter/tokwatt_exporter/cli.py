"""The commands of `tokwatt`. They parse, call and print; what they call is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tokwatt_exporter import __version__, parse
from tokwatt_exporter.config import Config
from tokwatt_exporter.doctor_cli import doctor
from tokwatt_exporter.examples import examples, show_in_help
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.fleet_cli import app as fleet
from tokwatt_exporter.history_cli import app as history
from tokwatt_exporter.mcp_cli import mcp
from tokwatt_exporter.proxy_cli import proxy
from tokwatt_exporter.recommend_cli import recommend
from tokwatt_exporter.service_cli import app as service
from tokwatt_exporter.shell import print_json
from tokwatt_exporter.top_cli import top
from tokwatt_exporter.versions_cli import versions
from tokwatt_exporter.watch_cli import watch

app = typer.Typer(
    help="See what this machine and its LLM engines do: metrics, energy and tokens.",
    no_args_is_help=True, pretty_exceptions_enable=False,
)  # fmt: skip
settings = typer.Typer(help="Look at the configuration.", no_args_is_help=True)
app.add_typer(history, name="history")
app.add_typer(settings, name="config")
app.add_typer(service, name="service")
app.add_typer(fleet, name="fleet")

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
DATA_DIR = "data-dir"


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """See what this machine and its LLM engines do: metrics, energy and tokens."""
    if version:
        typer.echo(f"tokwatt {__version__}")
        raise typer.Exit


@app.command()
@examples(
    "tokwatt run",
    "tokwatt run --sample-interval 1s --no-collector.engines",
    "tokwatt run --web.listen-address 0.0.0.0:10021 --web.config.file web.yml",
    "tokwatt run --otlp.endpoint http://127.0.0.1:4318/v1/metrics",
    "tokwatt run --demo mac-studio  # a made-up machine, to try the boards",
)
@with_config(collectors=True)
def run(config: Config) -> None:
    """Run the exporter: sample, publish /metrics, keep history, push OTLP where an endpoint is set."""
    from tokwatt_exporter.daemon import run_daemon

    raise typer.Exit(run_daemon(config))


@app.command()
@examples(
    "tokwatt sample",
    "tokwatt sample --series --no-collector.engines",
    "tokwatt sample --json | jq '.readings[].metric'",
)
@with_config(DATA_DIR, "demo", "path.procfs", "path.sysfs", collectors=True)
def sample(
    config: Config,
    json: Json = False,
    series: Annotated[bool, typer.Option("--series", help="Print every series instead of a summary.")] = False,
) -> None:
    """Look at the machine once (two readings, a second apart): power, clocks, heat, memory, engines."""
    from tokwatt_exporter import panel, show
    from tokwatt_exporter.daemon import sample_once

    before, now = sample_once(config)
    if json:
        print_json(show.snapshot_json(now))
    else:
        show.snapshot_table(now) if series else panel.panel(before, now)


@app.command()
@examples("tokwatt engines", "tokwatt engines --url http://127.0.0.1:8080 --json")
@with_config(DATA_DIR)
def engines(
    config: Config,
    url: Annotated[str | None, typer.Option(help="Look only at this base URL.", metavar="URL")] = None,
    json: Json = False,
) -> None:
    """List the engines found on this machine, and why they were taken for what they are."""
    from tokwatt_exporter import show
    from tokwatt_exporter.engines import discovery

    found = discovery.find_now(config, parse.flag("--url", parse.engine_url, url) if url else None)
    print_json(discovery.as_json(found)) if json else show.engines_table(found)


@settings.command("show")
@examples("tokwatt config show", "tokwatt config show --config.file tokwatt.toml --json")
@with_config(collectors=True)
def config_show(config: Config, json: Json = False) -> None:
    """Print every setting, where it came from, and no secret."""
    from tokwatt_exporter import show

    rows = show.settings_rows(config)
    print_json({"settings": rows}) if json else show.settings_table(rows)


@settings.command("check")
@examples("tokwatt config check", "tokwatt config check --config.file tokwatt.toml")
@with_config(collectors=True)
def config_check(config: Config) -> None:
    """Check the configuration and the files it names; exit 2 with one line where something is wrong."""
    from tokwatt_exporter.daemon import check

    check(config)
    typer.echo("the configuration is valid")


# As they are listed: what one looks at first comes first.
app.command()(top)
app.command()(doctor)
app.command()(watch)
app.command()(recommend)
app.command()(versions)
app.command()(proxy)
app.command()(mcp)


@app.command()
@examples("tokwatt capture", "tokwatt capture --output my-mac")
def capture(
    output: Annotated[Path, typer.Option(help="New folder to write to.", metavar="DIR")] = Path("tokwatt-capture"),
) -> None:
    """Record this Mac for the tests of tokwatt, without what says whose Mac it is."""
    from tokwatt_exporter import capture as recording

    for line in recording.capture(output).lines():
        typer.echo(line)


show_in_help(app)
