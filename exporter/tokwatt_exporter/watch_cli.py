"""`tokwatt watch`: alerts without a server."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokwatt_exporter import parse
from tokwatt_exporter.config import Config
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.shell import print_json

if TYPE_CHECKING:
    from tokwatt_exporter.alerts.rules import Rules
    from tokwatt_exporter.alerts.send import Receiver


@examples(
    "tokwatt watch --desktop",
    "tokwatt watch --webhook https://hooks.example.org/tokwatt",
    "tokwatt watch --alertmanager http://127.0.0.1:9093 --every 1m",
    "tokwatt watch --once --json",
)
@with_config("data-dir")
def watch(
    config: Config,
    desktop: Annotated[bool, typer.Option("--desktop", help="Show a notification on this screen.")] = False,
    webhook: Annotated[str | None, typer.Option(help="Post each change to this URL.", metavar="URL",
                                                envvar="TOKWATT_WATCH_WEBHOOK", show_default=False)] = None,
    alertmanager: Annotated[str | None, typer.Option(help="Base URL of an Alertmanager.", metavar="URL",
                                                     show_default=False)] = None,
    rules: Annotated[Path | None, typer.Option(help="A file of alert rules. Default: those that come with tokwatt.",
                                               metavar="FILE", show_default=False)] = None,
    every: Annotated[str, typer.Option(help="Time between two looks.", metavar="DURATION")] = "30s",
    once: Annotated[bool, typer.Option("--once", help="Print what fires now, and end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="With --once: print JSON on stdout.")] = False,
) -> None:  # fmt: skip
    """Watch the history by the shipped alert rules, and say once when one begins to fire and when it ends."""
    from tokwatt_exporter.alerts import rules as definitions
    from tokwatt_exporter.errors import UsageError

    if json and not once:
        raise UsageError("--json goes with --once")
    seconds = parse.flag("--every", parse.duration, every)
    loaded = definitions.load(rules)
    _say_what_is_missing(loaded)
    if once:
        _print_now(config, loaded, json)
        return
    receivers = _receivers(desktop, webhook, alertmanager)
    _run(config, loaded, receivers, seconds)


def _say_what_is_missing(loaded: Rules) -> None:
    from tokwatt_exporter.alerts.history import not_kept

    for line in loaded.left_out:
        sys.stderr.write(f"tokwatt: {line}\n")
    for rule in loaded.alerts:
        if missing := not_kept(rule):
            sys.stderr.write(f"tokwatt: {rule.name} is judged without {', '.join(missing)}, which no history keeps\n")


def _print_now(config: Config, loaded: Rules, json: bool) -> None:
    from tokwatt_exporter import show
    from tokwatt_exporter.alerts.watch import now

    state = now(config.data_dir, loaded.alerts)
    found = [alert.as_json() for alert in state.alerts]
    if json:
        print_json({"looked_ms": state.looked_ms, "alerts": found})
    elif found:
        show.table(("state", "alert", "since", "what"),
                   ((kept["state"], alert.name, show.iso(alert.since_ms), alert.summary)
                    for kept, alert in zip(found, state.alerts, strict=True)))  # fmt: skip
    else:
        sys.stderr.write("nothing is pending, nothing fires\n")


def _receivers(desktop: bool, webhook: str | None, alertmanager: str | None) -> list[Receiver]:
    from tokwatt_exporter.alerts import send

    found: list[Receiver] = [send.Desktop()] if desktop else []
    if webhook:
        found.append(send.Webhook(parse.flag("--webhook", parse.url, webhook)))
    if alertmanager:
        found.append(send.Alertmanager(parse.flag("--alertmanager", parse.engine_url, alertmanager)))
    return found


def _run(config: Config, loaded: Rules, receivers: list[Receiver], seconds: float) -> None:
    from tokwatt_exporter.alerts import state
    from tokwatt_exporter.alerts.watch import Watch
    from tokwatt_exporter.store.folder import prepare

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    prepare(config.data_dir)
    with state.alone(config.data_dir):
        where = ", ".join(receiver.name for receiver in receivers) or "nobody but this terminal"
        sys.stderr.write(f"watching {len(loaded.alerts)} alerts in {config.data_dir}; told is {where}\n")
        Watch(config.data_dir, loaded.alerts, receivers, seconds, _line).run(stop)


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
