"""`tokwatt proxy`: what it adds to each chunk of a stream, and what it costs.

In turns with the same streams without it, and through its relay alone, which passes bytes on and counts nothing: what
cannot be less.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import re
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from tests.support.net import free_port, wait_for

from tokwatt_exporter.proxy.relay import Relay, Upstream

from .report import Row, milliseconds, quantile

ROOT = Path(__file__).parents[2]
STREAMS, TOKENS_PER_SECOND, SECONDS = (1, 8, 64), 500, 3
#: Of each round there is one figure, and their median counts: what else the machine did spoils one.
ROUNDS = 3
DIRECT, ALONE, PROXY = "direct", "through the relay alone", "through the proxy"
#: The targets.
ADDED_SECONDS = 0.001

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#: With the time at which it was sent, on the clock that all processes of the machine share.
_CHUNK = b'data: {"id":"x","object":"chat.completion.chunk","model":"m","choices":[{"delta":{"content":"%020d"}}]}\n\n'
_STAMP = re.compile(rb'"content":"(\d{20})"')
_END = b'data: {"model":"m","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":%d}}\n\ndata: [DONE]\n\n'
_BODY = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "x"}]}'
_REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
_SUM = re.compile(rb": ([0-9a-f]{64})\n\n$")


@dataclass
class Run:
    """What came through in one round, and what it cost the one in between."""

    seconds: list[float] = field(default_factory=list)
    whole: bool = True
    took: float = 0.0
    cpu: float = 0.0


def rows() -> Iterator[Row]:
    """One, some and many streams at once."""
    with serving() as served:
        for streams in STREAMS:
            runs: dict[str, list[Run]] = {name: [] for name in served}
            for _ in range(ROUNDS):
                for name, (port, process) in served.items():
                    runs[name].append(round_of(port, streams, process))
            yield from compare(streams, runs)


def compare(streams: int, runs: Mapping[str, list[Run]]) -> Iterator[Row]:
    """The rows of one number of streams."""
    what = f"{streams} x {TOKENS_PER_SECOND} tokens/s"
    for name, rounds in runs.items():
        p50, p99 = (median(rounds, share) for share in (0.5, 0.99))
        tokens = sum(len(run.seconds) for run in rounds)
        speed = tokens / sum(run.took for run in rounds)
        yield Row(f"{what}, {name}: p50 / p99 of a chunk", f"{milliseconds(p50)} / {milliseconds(p99)}",
                  note=f"{tokens:,} tokens, {speed:,.0f} a second in all")  # fmt: skip
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        bare = median(runs[DIRECT], share)
        added, least = (median(runs[name], share) - bare for name in (PROXY, ALONE))
        yield Row(f"{what}: added to the {label}", milliseconds(added), f"< {ADDED_SECONDS * 1e3:g} ms",
                  added < ADDED_SECONDS, f"{milliseconds(least)} by the relay alone")  # fmt: skip
    least, cost = (cpu_per_1000(runs[name]) for name in (ALONE, PROXY))
    yield Row(f"{what}: CPU of the proxy for 1,000 tokens", milliseconds(cost),
              note=f"{milliseconds(least)} of the relay alone")  # fmt: skip
    whole = all(run.whole for rounds in runs.values() for run in rounds)
    yield Row(f"{what}: every byte as it was sent", "yes" if whole else "no", "yes", whole)


def median(rounds: list[Run], share: float) -> float:
    return statistics.median(quantile(run.seconds, share) for run in rounds)


def cpu_per_1000(rounds: list[Run]) -> float:
    return sum(run.cpu for run in rounds) / sum(len(run.seconds) for run in rounds) * 1000


@contextmanager
def serving() -> Iterator[dict[str, tuple[int, psutil.Process | None]]]:
    """The ports of a source of streams, of the relay and of the proxy before it, and the processes of the last two."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        source, alone, port = free_port(), free_port(), free_port()
        started: list[psutil.Process] = []
        for command in (
            ["-m", "tests.performance.proxy", str(source)],
            ["-m", "tests.performance.proxy", str(alone), str(source)],
            ["-m", "tokwatt_exporter", "proxy", "--engine", f"http://127.0.0.1:{source}", "--name", "bench",
             "--listen", f"127.0.0.1:{port}", "--data-dir", folder, "--log.level", "error"],
        ):  # fmt: skip
            process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdin=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append(psutil.Process(process.pid))
        for wanted in (source, alone, port):
            wait_for(partial(listens, wanted), 20, "the source, the relay and the proxy")
        yield {DIRECT: (source, None), ALONE: (alone, started[1]), PROXY: (port, started[2])}


def round_of(port: int, streams: int, process: psutil.Process | None) -> Run:
    """One round, and what it cost the process until it had done with it."""
    run = Run()
    before = cpu(process)
    measure(port, streams, run)
    used = -1.0
    while used < (now := cpu(process)):
        used = now
        time.sleep(0.2)
    run.cpu = used - before
    return run


def listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port)):
        return True


def cpu(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    times = process.cpu_times()
    return times.user + times.system


def measure(port: int, streams: int, run: Run) -> None:
    """Take that many streams at once and add what came."""
    selector = selectors.DefaultSelector()
    began = time.perf_counter()
    for _ in range(streams):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(_REQUEST)
        selector.register(sock, selectors.EVENT_READ, [])
    arrived: list[tuple[int, bytes]] = []
    bodies: list[list[bytes]] = [key.data for key in selector.get_map().values()]
    while selector.get_map():
        for key, _ in selector.select():
            data = key.fileobj.recv(65536)  # type: ignore[union-attr]
            now = time.perf_counter_ns()
            key.data.append(data)
            arrived.append((now, data))
            if not data:
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
    run.took += time.perf_counter() - began
    run.seconds += [(now - int(stamp)) / 1e9 for now, data in arrived for stamp in _STAMP.findall(data)]
    run.whole &= all(intact(b"".join(body)) for body in bodies)


def intact(body: bytes) -> bool:
    """Whether what came is what the source says that it sent."""
    said = _SUM.search(body)
    return said is not None and hashlib.sha256(body[: said.start()]).hexdigest().encode() == said[1]


def source(port: int) -> None:
    """Stream to whoever asks: a process of its own, which does nothing but send on time."""
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", port), backlog=256)
    selector.register(listener, selectors.EVENT_READ)
    interval, tokens = 1e9 / TOKENS_PER_SECOND, TOKENS_PER_SECOND * SECONDS
    due: list[tuple[float, int, socket.socket, int]] = []
    sums: dict[socket.socket, hashlib._Hash] = {}
    while True:
        wait = (due[0][0] - time.perf_counter_ns()) / 1e9 if due else None
        for key, _ in selector.select(wait if wait is None or wait > 0 else 0):
            if key.fileobj is listener:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(sock, selectors.EVENT_READ)
                continue
            sock = key.fileobj  # type: ignore[assignment]
            selector.unregister(sock)
            if not sock.recv(65536):
                sock.close()
                continue
            sums[sock] = hashlib.sha256(_HEAD)
            sock.sendall(_HEAD)
            # Not all at the same moment.
            heapq.heappush(due, (time.perf_counter_ns() + interval * (1 + len(sums) * 0.618 % 1), id(sock), sock, 0))
        while due and due[0][0] <= time.perf_counter_ns():
            at, number, sock, done = heapq.heappop(due)
            with suppress(OSError):
                send(sock, done, tokens, sums)
                if done < tokens:
                    heapq.heappush(due, (at + interval, number, sock, done + 1))


def send(sock: socket.socket, done: int, tokens: int, sums: dict[socket.socket, hashlib._Hash]) -> None:
    """The next token, or the end with the sum of all before it."""
    if done < tokens:
        data = _CHUNK % time.perf_counter_ns()
        sums[sock].update(data)
        sock.sendall(data)
        return
    end = _END % tokens
    found = sums.pop(sock)
    found.update(end)
    sock.sendall(end + b": %s\n\n" % found.hexdigest().encode())
    sock.close()


class Alone:
    """Has relays, and is told nothing but what it must be: the floor."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def client(self) -> asyncio.BaseProtocol:
        """For a new connection."""
        return Relay(self._upstream, self, self).client

    def sent(self, at_ns: int, data: bytes) -> None: ...

    def answered(self, at_ns: int, data: bytes) -> None: ...

    def ended(self, at_ns: int, how: str) -> None: ...

    def reached(self) -> None: ...

    def refused(self, error: OSError) -> bytes:
        raise error

    def closed(self, relay: Relay) -> None: ...


async def alone(port: int, engine: int) -> None:
    """Relay to the source: a process of its own."""
    owner = Alone(Upstream("127.0.0.1", engine))
    server = await asyncio.get_running_loop().create_server(owner.client, "127.0.0.1", port, backlog=256)
    await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        asyncio.run(alone(int(sys.argv[1]), int(sys.argv[2])))
    else:
        source(int(sys.argv[1]))
