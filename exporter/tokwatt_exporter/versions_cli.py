"""`tokwatt versions`: which versions of the engines run, are installed, and are to be had."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tokwatt_exporter.config import Config
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.shell import print_json

if TYPE_CHECKING:
    from tokwatt_exporter.versions import Versions


@examples("tokwatt versions", "tokwatt versions --online")
@with_config(collectors=True)
def versions(
    config: Config,
    online: Annotated[bool, typer.Option("--online", help="Ask GitHub and PyPI for the newest versions.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Compare the version of each engine that runs with the one that is installed, and with the newest."""
    from tokwatt_exporter import show

    if online:
        from tokwatt_exporter import versions_online

        sys.stderr.write(f"asking {versions_online.GITHUB} and {versions_online.PYPI} for the engines found here\n")
        found = versions_online.versions(config)
    else:
        from tokwatt_exporter import versions as look

        found = look.versions(config)
    if json:
        print_json({"engines": [one.as_json() for one in found]})
    elif not found:
        sys.stderr.write("no engine runs or is installed here\n")
    else:
        show.table(("engine", "running", "installed", "newest", "what to do", "where"),
                   ((one.name, one.running, one.installed, one.newest, _advice(one), one.installed_at)
                    for one in found))  # fmt: skip


def _advice(one: Versions) -> str | None:
    if one.running_is_older:
        return "start it again: what runs is older than what is installed"
    if one.update_available:
        return "an update is there"
    return one.problem
