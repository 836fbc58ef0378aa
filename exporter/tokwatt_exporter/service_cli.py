"""`tokwatt service`: tokwatt for good, by launchd or systemd."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tokwatt_exporter.examples import examples
from tokwatt_exporter.shell import FAILED, print_json

if TYPE_CHECKING:
    from tokwatt_exporter.service.base import Service

app = typer.Typer(
    help="Run tokwatt for good: launchd does it on a Mac, systemd on Linux.", no_args_is_help=True
)  # fmt: skip

System = Annotated[bool, typer.Option("--system", help="That of the machine instead of your own; needs root.")]


@app.command()
@examples(
    "tokwatt service install",
    "tokwatt service install -- --sample-interval 1s",
    "tokwatt service install --config.file tokwatt.toml --data-dir ~/tokwatt",
    "sudo tokwatt service install --system",
)
def install(
    arguments: Annotated[list[str] | None, typer.Argument(help="After `--`: further flags of `tokwatt run`.",
                                                          metavar="-- FLAGS", show_default=False)] = None,
    config_file: Annotated[str | None, typer.Option("--config.file", help="Configuration file (TOML).",
                                                    metavar="FILE", show_default=False)] = None,
    data_dir: Annotated[str | None, typer.Option("--data-dir", help="Where the history is kept.", metavar="DIR",
                                                 show_default=False)] = None,
    system: System = False,
    user: Annotated[str | None, typer.Option(help="With --system on a Mac: who it runs as. Default: who said sudo.",
                                             metavar="NAME", show_default=False)] = None,
) -> None:  # fmt: skip
    """Install and start the service; again after a change, or to move it to another tokwatt."""
    from tokwatt_exporter.service import find, program, view
    from tokwatt_exporter.service.base import Command

    service = find.service("install", system=system, user=user)
    command = Command(program.installed(), find.arguments(config_file, data_dir, arguments or ()))
    # Settings that cannot be used would end it over and over where nobody looks.
    view.check(command.program, command.arguments, service.runs_as)
    for warning in (*program.warnings(command.program), *find.unseen(os.environ)):
        sys.stderr.write(f"tokwatt: warning: {warning}\n")
    for line in service.install(command):
        typer.echo(line)
    _say_how_it_is(service)


@app.command()
@examples("tokwatt service uninstall", "sudo tokwatt service uninstall --system")
def uninstall(system: System = False) -> None:
    """End and remove the service; history and settings stay."""
    for line in _service("uninstall", system).uninstall():
        typer.echo(line)


@app.command()
@examples("tokwatt service start")
def start(system: System = False) -> None:
    """Start the service, where its settings can be used."""
    service = _service("start", system)
    service.check()
    service.start()
    _say_how_it_is(service)


@app.command()
@examples("tokwatt service stop")
def stop(system: System = False) -> None:
    """Stop the service; it starts again with the next session, or with the machine."""
    service = _service("stop", system)
    service.installed()
    service.stop()
    typer.echo("stopped")


@app.command()
@examples("tokwatt service restart  # after a change of the settings")
def restart(system: System = False) -> None:
    """Stop and start the service; one whose settings cannot be used any more is left running."""
    service = _service("restart", system)
    service.check()
    service.restart()
    _say_how_it_is(service)


@app.command()
@examples("tokwatt service status", "tokwatt service status --json")
def status(
    system: System = False, json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False
) -> None:
    """Say how the service is doing; exit 0 where it runs and answers, 1 where it does not."""
    from tokwatt_exporter import show

    found = _service("status", system).status()
    if json:
        print_json({"service": found.as_json()})
    else:
        facts = {name: value for name, value in found.as_json().items() if value not in (None, [])}
        show.facts_table({name: ", ".join(v) if isinstance(v, list) else v for name, v in facts.items()})
    if not found.running or found.healthy is False:
        raise typer.Exit(FAILED)


@app.command()
@examples("tokwatt service logs -n 20", "tokwatt service logs --follow")
def logs(
    system: System = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines.", metavar="N")] = 100,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is added.")] = False,
) -> None:
    """Print the service's log."""
    _service("logs", system).logs(lines, follow)


def _service(verb: str, system: bool) -> Service:
    from tokwatt_exporter.service import find

    return find.service(verb, system=system)


def _say_how_it_is(service: Service) -> None:
    """Where it can be asked, once it can; `ServiceError` with what is wrong."""
    from tokwatt_exporter.errors import ServiceError

    found = service.settled()
    if found.problem:
        raise ServiceError(found.problem)
    typer.echo(f"running (pid {found.pid})" + (f", {found.url}" if found.url else ""))
