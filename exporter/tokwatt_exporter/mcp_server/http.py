"""Streamable HTTP, and SSE for older clients: our own checks of Host, Origin and token before anything of the SDK."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.mcp_server.server import build
from tokwatt_exporter.parse import Address
from tokwatt_exporter.web.auth import Authenticator, TooManyChecks
from tokwatt_exporter.web.config import WebConfig, load
from tokwatt_exporter.web.hosts import Hosts
from tokwatt_exporter.web.listen import is_loopback, listen

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]
_App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class Guard:
    """An ASGI application before another; it refuses foreign hosts, web pages, and who lacks the token."""

    def __init__(self, app: _App, config: Config, web: WebConfig) -> None:
        self._app = app
        self._hosts = Hosts(config)
        self._web = web
        self._auth = Authenticator()

    async def __call__(self, scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := await self._refusal(headers, scope["server"]):
            status, text = refusal
            challenge = [(b"www-authenticate", b"Bearer")] if status == 401 else []
            start = {"type": "http.response.start", "status": status,
                     "headers": [(b"content-type", b"text/plain; charset=utf-8"), *challenge]}  # fmt: skip
            await send(start)
            await send({"type": "http.response.body", "body": f"{text}\n".encode()})
            return
        await self._app(scope, receive, send)

    async def _refusal(self, headers: dict[str, str], server: Any) -> tuple[int, str] | None:
        here = server[0] if server else None
        if not self._hosts.allows(headers.get("host", ""), here):
            return 421, "this server has another name; --web.allowed-host adds one"
        origin = headers.get("origin")
        if origin and not self._hosts.allows(urlsplit(origin).netloc, here):
            return 403, "a page of another site may not ask"
        if not self._web.asks_who:
            return None
        try:
            allowed = await self._auth.allows(headers.get("authorization", ""), self._web)
        except TooManyChecks:
            return 503, "too many passwords to check"
        return None if allowed else (401, "a token is needed")


def serve(config: Config, address: Address, prometheus: str | None = None, *, sse: bool = False) -> None:
    """Serve at `http://HOST:PORT/mcp`, or with `sse` at `/sse`, until interrupted.

    `UsageError` where others could ask without a token.
    """
    import uvicorn

    web = load(config)
    sockets = listen([address])
    if not web.asks_who and not all(map(is_loopback, sockets)):
        raise UsageError(f"--listen: {address} lets others in: --web.bearer-token-file says who")
    guarded = Guard(_app(build(config, prometheus=prometheus, own=False), sse), config, web)
    uvicorn.Server(uvicorn.Config(guarded, log_level="warning", lifespan="on")).run(sockets=sockets)


def _app(server: MCPServer[Any], sse: bool) -> _App:
    from mcp.server.transport_security import TransportSecuritySettings

    # The guard knows more names of this machine than a list could.
    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    make = server.sse_app if sse else server.streamable_http_app
    return make(transport_security=unchecked)
