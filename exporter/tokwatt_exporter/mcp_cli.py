"""`tokwatt mcp`: what tokwatt knows, for agents."""

from __future__ import annotations

from typing import Annotated

import typer

from tokwatt_exporter import parse
from tokwatt_exporter.completion import words
from tokwatt_exporter.config import MCP_PORT, Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config

STDIO, HTTP, SSE = TRANSPORTS = ("stdio", "streamable-http", "sse")


@examples(
    "tokwatt mcp  # on stdio, as most agents start it",
    "tokwatt mcp --transport streamable-http --listen 127.0.0.1:10022",
    "tokwatt mcp --prometheus http://127.0.0.1:9090",
)
@with_config(collectors=True)
def mcp(
    config: Config,
    transport: Annotated[str, typer.Option(help="stdio, streamable-http (at /mcp), or sse (at /sse) for older clients.",
                                           metavar="TRANSPORT", autocompletion=words(*TRANSPORTS))] = STDIO,
    listen: Annotated[str, typer.Option(help="Address for the two over HTTP.",
                                        metavar="HOST:PORT")] = f"127.0.0.1:{MCP_PORT}",
    prometheus: Annotated[str | None, typer.Option(help="Base URL of a Prometheus that knows all machines.",
                                                   metavar="URL", envvar="TOKWATT_MCP_PROMETHEUS",
                                                   show_default=False)] = None,
) -> None:  # fmt: skip
    """Serve the Model Context Protocol: snapshot, history, engines, doctor and benchmark, for agents."""
    over = parse.flag("--transport", parse.choice(*TRANSPORTS), transport)
    address = parse.flag("--listen", parse.address, listen)
    url = parse.flag("--prometheus", parse.engine_url, prometheus) if prometheus else None
    try:
        from tokwatt_exporter.mcp_server import http
        from tokwatt_exporter.mcp_server.server import build
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "uvicorn", "starlette", "pydantic"):
            raise
        raise UsageError("the MCP server needs the SDK: pip install 'tokwatt[mcp]'") from None
    if over == STDIO:
        build(config, prometheus=url).run()
    else:
        http.serve(config, address, url, sse=over == SSE)
