"""`tokwatt proxy`: an engine with a meter before it."""

from __future__ import annotations

from typing import Annotated

import typer

from tokwatt_exporter import parse
from tokwatt_exporter.config import Config
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config


@examples(
    "tokwatt proxy --engine ollama",
    "tokwatt proxy --engine http://127.0.0.1:8080 --listen 127.0.0.1:8081",
    "tokwatt proxy --engine lm_studio --name studio --listen :1235 --expose",
)
@with_config("data-dir", "log.level", "log.file", "log.format")
def proxy(
    config: Config,
    engine: Annotated[str, typer.Option(help="Kind, configured name or base URL of the engine.", metavar="ENGINE")],
    listen: Annotated[str, typer.Option(help="Address for clients.", metavar="HOST:PORT")] = "127.0.0.1:11435",
    name: Annotated[str | None, typer.Option(help="What the engine is called in the label `engine`.",
                                             metavar="NAME", show_default=False)] = None,
    expose: Annotated[bool, typer.Option("--expose", help="Let other machines in, where --listen says so.")] = False,
) -> None:  # fmt: skip
    """Pass requests on to an engine untouched, and count them: time to first token, tokens, duration."""
    from tokwatt_exporter.proxy.serve import run_proxy
    from tokwatt_exporter.proxy.target import choose

    address = parse.flag("--listen", parse.address, listen)
    raise typer.Exit(run_proxy(config, choose(config, engine, name), address, expose))
