"""`tokwatt mcp`: what tokwatt knows, for agents."""

from __future__ import annotations

from typing import Annotated

import typer

from tokwatt_exporter import parse
from tokwatt_exporter.config import MCP_PORT, Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.flags import with_config


@with_config(collectors=True)
def mcp(
    config: Config,
    http: Annotated[bool, typer.Option("--http", help="Serve streamable HTTP at /mcp instead of stdin.")] = False,
    listen: Annotated[str, typer.Option(help="Address for --http.", metavar="HOST:PORT")] = f"127.0.0.1:{MCP_PORT}",
) -> None:
    """Serve the Model Context Protocol: snapshot, history, engines, doctor and benchmark, for agents."""
    address = parse.flag("--listen", parse.address, listen)
    try:
        from tokwatt_exporter.mcp_server import http as over_http
        from tokwatt_exporter.mcp_server.server import build
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "uvicorn", "starlette", "pydantic"):
            raise
        raise UsageError("the MCP server needs the SDK: pip install 'tokwatt[mcp]'") from None
    if http:
        over_http.serve(config, address)
    else:
        build(config).run()
