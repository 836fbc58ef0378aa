"""`tokwatt top`: live, in a terminal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tokwatt_exporter import parse
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config


@examples("tokwatt top", "tokwatt top --every 1s", "tokwatt top --demo laptop")
@with_config(collectors=True)
def top(
    config: Config,
    every: Annotated[str, typer.Option(help="Time between two looks.", metavar="DURATION")] = "2s",
) -> None:
    """Watch power, GPU, memory, engines and tokens in the terminal, from the daemon where one runs."""
    seconds = parse.flag("--every", parse.duration, every)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("top needs a terminal; `tokwatt sample` prints the machine once")
    try:
        from tokwatt_exporter.top.app import Top
    except ModuleNotFoundError as error:
        if error.name != "textual":
            raise
        raise UsageError("top needs Textual: pip install 'tokwatt[top]'") from None
    from tokwatt_exporter.top.feed import Feed

    feed = Feed(config)
    try:
        Top(feed, seconds).run()
    finally:
        feed.close()
