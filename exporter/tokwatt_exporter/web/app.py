"""What is answered: the checks that every request passes, then the endpoints, as an ASGI application."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tokwatt_exporter.config import Config
from tokwatt_exporter.sinks.prometheus import Renderer, negotiate
from tokwatt_exporter.web.api import Api, problem
from tokwatt_exporter.web.auth import Authenticator, TooManyChecks
from tokwatt_exporter.web.config import RateLimit, Source, WebConfig
from tokwatt_exporter.web.hosts import Hosts
from tokwatt_exporter.web.landing import landing_page

if TYPE_CHECKING:
    from tokwatt_exporter.web.server import Query, State

log = logging.getLogger(__name__)

PLAIN = "text/plain; charset=utf-8"
#: On every answer; those of `http_server_config.headers` replace them.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "deny",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_Send = Callable[[dict[str, Any]], Awaitable[None]]


class Answer(NamedTuple):
    """One response."""

    status: int
    body: bytes
    content_type: str = PLAIN
    headers: tuple[tuple[str, str], ...] = ()


class Refused(Exception):
    """The request goes no further; `args[0]` is the answer."""


def refuse(status: int, why: str, *headers: tuple[str, str]) -> Refused:
    """A refusal in one line of text."""
    return Refused(Answer(status, f"{why}\n".encode(), headers=headers))


class Request:
    """What the checks and the endpoints look at."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.method: str = scope["method"]
        # Undecoded: one path, one spelling.
        self.path = scope["raw_path"].decode("ascii")
        self.query = scope["query_string"].decode("ascii")
        self.server: str | None = scope["server"][0] if scope["server"] else None
        self._headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            before = self._headers.get(name)
            self._headers[name] = value if before is None else before + b"," + value

    def header(self, name: str) -> str:
        """The value of a header, empty where there is none; several are joined by commas."""
        return self._headers.get(name.encode(), b"").decode("latin-1")


class App:
    """The application; `private` says that nobody but this machine can connect."""

    def __init__(
        self,
        config: Config,
        state: State,
        source: Source,
        count: Callable[[str], None],
        query: Query | None,
    ) -> None:
        self.private = False
        self._state = state
        self._source = source
        self._count = count
        self._hosts = Hosts(config)
        self._renderer = Renderer()
        self._auth = Authenticator()
        self._bucket = _Bucket()
        self._api = Api(query)
        self._landing = landing_page(config.web_telemetry_path)
        self._pages: dict[str, Callable[[Request], Answer]] = {
            "/": self._root,
            "/-/healthy": self._healthy,
            "/-/ready": self._ready,
            config.web_telemetry_path: self._metrics,
        }

    def safe(self, web: WebConfig) -> bool:
        """Whether the history may be asked: only this machine can, or only who is known, and nobody listens in."""
        return self.private or (web.context is not None and (web.asks_who or web.verifies_clients))

    def close(self) -> None:
        """Let go of the threads."""
        self._auth.close()
        self._api.close()

    async def __call__(self, scope: dict[str, Any], receive: object, send: _Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        web = self._source.current()
        try:
            answer = await self._answer(Request(scope), web)
        except Refused as refused:
            answer = refused.args[0]
        except Exception:
            log.exception("a request could not be answered")
            answer = Answer(500, b"internal error; the log says more\n")
        head = {"type": "http.response.start", "status": answer.status, "headers": _headers(answer, web)}
        await send(head)
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, request: Request, web: WebConfig) -> Answer:
        if not self._hosts.allows(request.header("host"), request.server):
            self._count("host")
            raise refuse(421, "this server has another name; --web.allowed-host adds one")
        if web.rate_limit and not self._bucket.take(web.rate_limit):
            raise refuse(429, "too many requests", ("Retry-After", "1"))
        await self._authenticate(request, web)
        if request.method not in ("GET", "HEAD"):
            raise refuse(405, "only GET and HEAD", ("Allow", "GET, HEAD"))
        if request.header("content-length") not in ("", "0") or request.header("transfer-encoding"):
            raise refuse(413, "requests have no body here")
        if page := self._pages.get(request.path):
            return page(request)
        if self._api.has(request.path):
            if not self.safe(web):
                return Answer(*problem(403, "closed: listening beyond this machine without TLS and authentication"))
            return Answer(*await self._api.answer(request.path, request.query))
        raise refuse(404, "not found")

    async def _authenticate(self, request: Request, web: WebConfig) -> None:
        if not web.asks_who:
            return
        try:
            allowed = await self._auth.allows(request.header("authorization"), web)
        except TooManyChecks:
            raise refuse(503, "too many passwords to check", ("Retry-After", "1")) from None
        if not allowed:
            self._count("auth")
            schemes = ["Basic"] * bool(web.users) + ["Bearer"] * bool(web.token)
            raise refuse(
                401, "unauthorized", *(("WWW-Authenticate", f'{scheme} realm="tokwatt"') for scheme in schemes)
            )

    def _metrics(self, request: Request) -> Answer:
        snapshot = self._state.latest
        if snapshot is None:
            raise refuse(503, "no sample yet")
        # The last values would look like live ones.
        if self._state.stalled():
            raise refuse(503, "sampling has stopped")
        choice = negotiate(request.header("accept"), request.header("accept-encoding"))
        coding = (("Content-Encoding", "gzip"),) if choice.gzip else ()
        headers = (("Vary", "Accept, Accept-Encoding"), *coding)
        return Answer(200, self._renderer.render(snapshot, choice), choice.format.value, headers)

    def _root(self, request: Request) -> Answer:
        return Answer(200, self._landing, "text/html; charset=utf-8")

    def _healthy(self, request: Request) -> Answer:
        if self._state.stalled():
            raise refuse(503, "sampling has stopped")
        return Answer(200, b"tokwatt is healthy\n")

    def _ready(self, request: Request) -> Answer:
        if self._state.latest is None:
            raise refuse(503, "no sample yet")
        return Answer(200, b"tokwatt is ready\n")


class _Bucket:
    """Tokens of a rate limit."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._limit: RateLimit | None = None
        self._last = 0.0

    def take(self, limit: RateLimit) -> bool:
        """Whether one more request may pass now."""
        now = time.monotonic()
        if limit != self._limit:
            self._limit, self._tokens = limit, float(limit.burst)
        else:
            self._tokens = min(self._tokens + (now - self._last) / limit.interval, float(limit.burst))
        self._last = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _headers(answer: Answer, web: WebConfig) -> list[tuple[bytes, bytes]]:
    ours = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **HEADERS, **web.headers}
    if answer.status >= 400:
        # Whatever was wrong, or still is on its way, ends here.
        ours["Connection"] = "close"
    pairs: Iterable[tuple[str, str]] = (*ours.items(), *answer.headers)
    return [(name.lower().encode(), value.encode()) for name, value in pairs if value]
