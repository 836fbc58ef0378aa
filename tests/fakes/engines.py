"""Servers on real sockets that replay recorded engines, and servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

#: What a route answers with: the bytes of a whole HTTP response, or something worse.
Behaviour = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


class Request(NamedTuple):
    """A request as it came in; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class FakeEngine:
    """A server on a port of its own while the `with` block lasts; routes are by path, or path and query."""

    def __init__(self, routes: Mapping[str, Behaviour], default: Behaviour | None = None, port: int = 0) -> None:
        self.routes: dict[str, Behaviour] = dict(routes)
        self.default = default if default is not None else response(404, b"not here", "text/plain")
        self.requests: list[Request] = []
        self.connections = 0
        self.port = port
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [request.path for request in self.requests]

    def __enter__(self) -> FakeEngine:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and cut every connection; as if the process had died."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        assert self._server
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while request := await _request(reader):
                self.requests.append(request)
                behaviour = self.routes.get(request.target) or self.routes.get(request.path) or self.default
                if not isinstance(behaviour, bytes):
                    await behaviour(writer)
                    return
                writer.write(behaviour)
                await writer.drain()
                if ends(behaviour):
                    # What is on its way arrives first, as an end would cut it off.
                    writer.close()
                    await writer.wait_closed()
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()


async def _request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *lines = head.strip().split("\r\n")
    method, target, _ = line.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
    return Request(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))


def response(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> bytes:
    """A whole HTTP response; header names with `_` for `-`."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def as_json(value: Any, status: int = 200, **headers: str) -> bytes:
    """A JSON response."""
    return response(status, json.dumps(value).encode(), **headers)


def recorded(file: Path) -> bytes:
    """A recorded response as it went over the wire: by length, in chunks, or until the connection ends.

    Recordings have their chunks joined, so where one began and ended is not known; ours cut lines in two.
    """
    head, _, body = file.read_bytes().partition(b"\r\n\r\n")
    if not body and b"\n\n" in head:
        head, _, body = head.partition(b"\n\n")
    if (unframed := file.with_name(file.name.replace(".response.http", ".body.txt"))) != file and unframed.exists():
        body = unframed.read_bytes()
    lines = [line.strip() for line in head.split(b"\n")]
    said = {line.partition(b":")[0].lower(): line.partition(b":")[2].strip().lower() for line in lines[1:]}
    if said.get(b"transfer-encoding") == b"chunked":
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in _parts(body)) + b"0\r\n\r\n"
    else:
        assert said.get(b"content-length", b"%d" % len(body)) == b"%d" % len(body), f"{file}: not a whole body"
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _parts(body: bytes, size: int = 333) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def unframed(answer: bytes) -> tuple[list[str], bytes]:
    """The lines of a response's head, and its body without the chunks it is made of."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        parts = []
        while (size := int(body.partition(b"\r\n")[0], 16)) > 0:
            begin = body.index(b"\r\n") + 2
            parts.append(body[begin : begin + size])
            body = body[begin + size + 2 :]
        body = b"".join(parts)
    return head.decode("latin-1").split("\r\n"), body


def ends(answer: bytes) -> bool:
    """Whether the connection ends with this response."""
    head = answer.partition(b"\r\n\r\n")[0].lower()
    return b"connection: close" in head or (head.startswith(b"http/1.0") and b"connection: keep-alive" not in head)


# What a server may do besides answering


async def silence(writer: asyncio.StreamWriter) -> None:
    """Accept, read, and never answer."""
    await asyncio.sleep(60)


async def garbage(writer: asyncio.StreamWriter) -> None:
    """Bytes that are no HTTP."""
    writer.write(b"\x00\xff\x13\x37 not http\r\n\r\n" * 50)
    await writer.drain()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close without a word."""


async def endless(writer: asyncio.StreamWriter) -> None:
    """A body that never ends, as fast as it is read."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    block = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while True:
        writer.write(block)
        await writer.drain()


async def trickle(writer: asyncio.StreamWriter) -> None:
    """A byte every 50 ms: no read ever times out."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless_headers(writer: asyncio.StreamWriter) -> None:
    """Headers that never end."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


async def too_short(writer: asyncio.StreamWriter) -> None:
    """Promises 1000 bytes, gives 5 and hangs up."""
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"a":')
    await writer.drain()


async def no_head(writer: asyncio.StreamWriter) -> None:
    """A body and nothing before it, as HTTP had it in 1991."""
    writer.write(b'{"models": []}')
    await writer.drain()
    writer.close()
    await writer.wait_closed()


#: Chunks whose lengths are no numbers, or less than nothing.
BAD_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nten\r\n{}\r\n-1\r\n"
#: Two lengths, of which each is wrong.
BAD_LENGTHS = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 900\r\n\r\n{}"


def bomb() -> bytes:
    """A response of 300 kB that is 300 MB once it is unpacked."""
    # A megabyte is packed once and said 300 times, so that nobody ever holds the 300 MB.
    block, packer, checksum = bytes(2**20), zlib.compressobj(9, wbits=-zlib.MAX_WBITS), 0
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    for _ in range(300):
        checksum = zlib.crc32(block, checksum)
    header = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    trailer = struct.pack("<II", checksum, 300 * len(block))
    return response(200, header + 300 * packed + packer.flush() + trailer, Content_Encoding="gzip")


def redirect(target: str, status: int = 307) -> bytes:
    """A redirect."""
    return response(status, b"", Location=target)


# Recorded engines


class Recorded(NamedTuple):
    """A recorded engine: where its answers lie, which kind it must be taken for, and its routes."""

    name: str
    kind: str | None
    routes: dict[str, Behaviour]
    default: bytes


def _routes(folder: Path, **files: str) -> dict[str, Behaviour]:
    """Routes from `path=file`, where the path is written with `__` for `/` and `_` for `-`."""
    return {
        "/" + path.replace("__", "/").replace("_", "-").strip("/"): recorded(folder / file)
        for path, file in files.items()
    }


def llama_cpp(folder: Path, **changed: str) -> FakeEngine:
    """llama-server with one model; further files replace answers."""
    files = {
        "health": "health.200.http", "props": "props.http", "v1__models": "v1-models.http", "models": "models.http",
        "metrics": "metrics.scrape-1.http", "slots": "slots.after.http",
    } | changed  # fmt: skip
    return FakeEngine(_routes(folder, **files), recorded(folder / "unknown-path.http"))


def llama_cpp_router(folder: Path) -> FakeEngine:
    """llama-server as a router with one model loaded and one not."""
    routes = _routes(
        folder, health="router.health.http", props="router.props.http", v1__models="router.v1-models.loaded.http",
        models="router.models.loaded.http", metrics="router.metrics.nomodel.http", slots="router.slots.nomodel.http",
    )  # fmt: skip
    routes["/metrics?model=tiny-a&autoload=false"] = recorded(folder / "router.metrics.model.http")
    return FakeEngine(routes, recorded(folder / "unknown-path.http"))


def ollama(folder: Path, ps: str = "03-api-ps-loaded") -> FakeEngine:
    """A real Ollama, recorded; `ps` is the file with the loaded models."""
    files = {
        "/": "00-root", "/api/version": "01-api-version", "/api/tags": "02-api-tags", "/v1/models": "08-v1-models",
        "/api/ps": ps, "/api/show": "04-api-show", "/api/generate": "17-unload",
    }  # fmt: skip
    routes = {path: recorded(folder / f"{file}.response.http") for path, file in files.items()}
    return FakeEngine(routes, recorded(folder / "13-metrics.response.http"))


def main(kind: str, folder: str, port: str, child_port: str = "") -> None:
    """Serve a recorded engine as a process of its own, with a llama-server as its child where a port is given."""
    child = child_port and subprocess.Popen([sys.executable, __file__, "llama_cpp", folder, child_port])
    source = Path(folder) / {"llama_cpp": "llama.cpp", "ollama": "ollama-real"}[kind]
    engine = {"llama_cpp": llama_cpp, "ollama": ollama}[kind](source)
    engine.port = int(port)
    with engine:
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    if child:
        child.terminate()
        child.wait()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(*sys.argv[1:])
