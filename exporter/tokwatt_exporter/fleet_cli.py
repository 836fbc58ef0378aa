"""`tokwatt fleet`: many machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tokwatt_exporter import parse
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.shell import print_json

app = typer.Typer(help="Many machines.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Many machines."""


@app.command()
@examples(
    "tokwatt fleet sd --target mac-studio --target 192.0.2.7:10021",
    "tokwatt fleet sd --file machines.txt --label site=home --output sd.json",
    "tokwatt fleet sd --file machines.txt --listen 127.0.0.1:10023",
)
@with_config("web.config.file", "web.bearer-token-file", "web.allowed-host", "log.level", "log.file", "log.format")
def sd(
    config: Config,
    target: Annotated[list[str] | None, typer.Option(help="A machine; repeatable. Without a port it is tokwatt's own.",
                                                     metavar="HOST[:PORT]", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option(help="Machines, HOST[:PORT] [NAME=VALUE …] a line; # is a comment.",
                                              metavar="FILE", show_default=False)] = None,
    label: Annotated[list[str] | None, typer.Option(help="Label of every machine; repeatable.", metavar="NAME=VALUE",
                                                    show_default=False)] = None,
    output: Annotated[Path | None, typer.Option(help="Write to a file, whole or not at all.", metavar="FILE",
                                                show_default=False)] = None,
    listen: Annotated[str | None, typer.Option(help="Serve the list at /sd, for http_sd.", metavar="HOST:PORT",
                                               show_default=False)] = None,
) -> None:  # fmt: skip
    """Print the machines for Prometheus' service discovery, file_sd or http_sd."""
    if not target and not file:
        raise UsageError("which machines? --target HOST or --file FILE says it")
    if output and listen:
        raise UsageError("--output writes the list once, --listen serves it: give one of them")

    def listing() -> list[dict[str, Any]]:
        return _listing(target or (), file, label or ())

    if listen:
        from tokwatt_exporter.fleet_serve import serve

        raise typer.Exit(serve(config, parse.flag("--listen", parse.address, listen), listing))
    if output:
        from tokwatt_exporter.service import files

        # Prometheus runs as a user of its own.
        files.write(output, json.dumps(listing(), ensure_ascii=False, indent=2) + "\n", mode=0o644)
    else:
        print_json(listing())


def _listing(targets: Sequence[str], file: Path | None, labels: Sequence[str]) -> list[dict[str, Any]]:
    from tokwatt_exporter import fleet

    named = [fleet.Target(parse.flag("--target", fleet.address, one)) for one in targets]
    common = dict(parse.flag("--label", fleet.label, one) for one in labels)
    return fleet.groups([*named, *(fleet.read_hosts(file) if file else ())], common)
