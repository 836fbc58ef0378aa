"""`tokwatt doctor`: what is wrong here, and what mends it."""

from __future__ import annotations

from typing import Annotated

import typer

from tokwatt_exporter import parse
from tokwatt_exporter.config import Config
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.shell import FAILED, print_json


@examples(
    "tokwatt doctor",
    "tokwatt doctor --prometheus http://127.0.0.1:9090",
    "tokwatt doctor --json | jq '.findings[] | select(.status == \"fault\")'",
)
@with_config(collectors=True)
def doctor(
    config: Config,
    prometheus: Annotated[str | None, typer.Option(help="Base URL of a Prometheus that should scrape this machine.",
                                                   metavar="URL", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:  # fmt: skip
    """Look at everything that tokwatt needs, and say what mends what is wrong; exit 1 only where something is."""
    from tokwatt_exporter.doctor import report
    from tokwatt_exporter.doctor.finding import as_json
    from tokwatt_exporter.doctor.run import diagnose

    url = parse.flag("--prometheus", parse.engine_url, prometheus) if prometheus else None
    findings = diagnose(config, url)
    print_json(as_json(findings)) if json else report.print_findings(findings)
    if any(finding.status == "fault" for finding in findings):
        raise typer.Exit(FAILED)
