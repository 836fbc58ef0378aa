"""The HTTP client for engines: nothing an engine answers can lead it elsewhere, fill the memory or hold it for long."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import ssl
import time
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

from tokwatt_exporter import __version__
from tokwatt_exporter.config import EngineConfig
from tokwatt_exporter.engines.answers import clean
from tokwatt_exporter.engines.base import Answer
from tokwatt_exporter.engines.keys import Key, key_of
from tokwatt_exporter.errors import EngineError, UsageError

MAX_BODY_BYTES = 4 * 2**20
#: Headers as the engine sent them; httpcore itself gives up at 100 kB.
MAX_HEADER_BYTES = 32 * 2**10
CONNECT_SECONDS = READ_SECONDS = 2.0
#: Below the 5 s after which llama.cpp and uvicorn hang up, so that no request goes to a closing connection.
KEEP_ALIVE_SECONDS = 3.0

# httpx logs whole URLs at INFO, and a URL can hold what must not be logged.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class NoAnswer(EngineError):
    """Nothing came back: refused, unreachable or silent until the deadline."""


class Refused(NoAnswer):
    """Nobody listens there."""


def is_loopback(url: str) -> bool:
    """Whether the URL's host can only be this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def api_key(engine: EngineConfig) -> Key | None:
    """The key of a configured engine, or None; `UsageError` where it cannot be had or would be sent in the clear."""
    if engine.api_key_file or engine.api_key_env or engine.api_key_command:
        _refuse_clear_text(engine.url, engine.allow_insecure)
    return key_of(engine)


def connect(engine: EngineConfig, deadline: float = 2.0, patience: float = READ_SECONDS) -> Client:
    """A client for a configured engine; `UsageError` as from `api_key`."""
    key = api_key(engine)
    return Client(engine.url, key=key, allow_insecure=engine.allow_insecure, deadline=deadline, patience=patience)


def _refuse_clear_text(url: str, allow_insecure: bool) -> None:
    if url.startswith("http:") and not is_loopback(url) and not allow_insecure:
        raise UsageError(f"engine {url}: would get its API key unencrypted; use https or set allow-insecure = true")


class Client:
    """Asks one engine; every failure is an `EngineError` of one line.

    `deadline` is for a whole request, `patience` for a silence within one, both in seconds.
    """

    def __init__(
        self, url: str, *, key: Key | None = None, allow_insecure: bool = False, deadline: float = 2.0,
        patience: float = READ_SECONDS,
    ) -> None:  # fmt: skip
        if key:
            _refuse_clear_text(url, allow_insecure)
        self._key = key
        self.url = url
        self.deadline = deadline
        headers = {"User-Agent": f"tokwatt/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
        self._kept: dict[str, tuple[float, Answer]] = {}
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            trust_env=False,
            follow_redirects=False,
            verify=_trust(url),
            timeout=httpx.Timeout(patience, connect=CONNECT_SECONDS),
            limits=httpx.Limits(
                max_connections=4, max_keepalive_connections=2, keepalive_expiry=KEEP_ALIVE_SECONDS
            ),
        )  # fmt: skip

    async def get(self, path: str, max_age: float = 0.0) -> Answer:
        """GET a path; any status but a redirect is an answer."""
        kept = self._kept.get(path) if max_age else None
        if kept and time.monotonic() - kept[0] < max_age:
            return kept[1]
        answer = await self._ask("GET", path)
        if max_age:
            self._kept[path] = (time.monotonic(), answer)
        return answer

    async def post(self, path: str, body: Any) -> Answer:
        """POST JSON to a path; any status but a redirect is an answer."""
        return await self._ask("POST", path, body)

    async def delete(self, path: str) -> Answer:
        """DELETE a path; any status but a redirect is an answer."""
        return await self._ask("DELETE", path)

    def forget(self) -> None:
        """Drop answers kept for `max_age`: another process or model answers now."""
        self._kept.clear()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _ask(self, method: str, path: str, body: Any = None) -> Answer:
        authorization = {"Authorization": f"Bearer {self._key.value}"} if self._key else None
        ask = functools.partial(self._http.stream, method, path, json=body, headers=authorization)
        try:
            # httpx's own timeouts start anew with every chunk: a slow trickle would last forever.
            async with asyncio.timeout(self.deadline), ask() as response:
                if self._key and response.status_code in (401, 403):
                    self._key.refused()
                _refuse(response)
                return Answer(response.status_code, _headers(response), await _read(response))
        except (TimeoutError, httpx.TimeoutException):
            raise NoAnswer(f"did not answer {path.partition('?')[0]} within {self.deadline:g} s") from None
        except httpx.ConnectError as error:
            raise _unreachable(error) from None
        except httpx.RemoteProtocolError as error:
            raise EngineError(f"does not speak HTTP properly: {clean(str(error))}") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise EngineError(f"could not be asked: {type(error).__name__}: {clean(str(error))}") from None


def _trust(url: str) -> ssl.SSLContext | bool:
    return True if url.startswith("https:") else _nobody()


@functools.cache
def _nobody() -> ssl.SSLContext:
    # Loading the certificates of every authority takes 30 ms and 2 MB; plain http needs none, and this trusts nobody.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _refuse(response: httpx.Response) -> None:
    if sum(len(name) + len(value) for name, value in response.headers.raw) > MAX_HEADER_BYTES:
        raise EngineError(f"sent more than {MAX_HEADER_BYTES // 1024} kB of headers")
    if 300 <= response.status_code < 400:
        target = urlsplit(response.headers.get("location", "")[:1000])
        # Without query and user: they can hold secrets, and this text is logged.
        where = f"{target.scheme}://{target.netloc.rpartition('@')[2]}" if target.netloc else ""
        raise EngineError(f"redirects to {clean(where + target.path) or 'nowhere'}; configure that URL if it is right")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise EngineError("sent a compressed answer although none was asked for")


def _headers(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise EngineError(f"answered more than {MAX_BODY_BYTES // 2**20} MB")
    return bytes(body)


def _unreachable(error: httpx.ConnectError) -> NoAnswer:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return Refused("refuses connections")
        # httpx → httpcore → anyio → the system's error, or a group of them when a name has several addresses.
        if isinstance(cause, BaseExceptionGroup) and cause.exceptions:
            cause = cause.exceptions[0]
        else:
            cause = cause.__cause__ or cause.__context__
    return NoAnswer(f"cannot be reached: {clean(str(error))}")
