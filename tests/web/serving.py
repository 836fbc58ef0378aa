"""A web server for tests: in this process, or in one of its own where descriptors are counted."""

import contextlib
import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tokwatt_exporter import catalogue as c
from tokwatt_exporter import config
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.web.server import Server

if TYPE_CHECKING:
    import httpx


def snapshot(series: int = 300) -> Snapshot:
    """A snapshot of some twelve families."""
    gauges = [f for f in c.CATALOGUE.values() if isinstance(f, c.Gauge) and len(f.labels) == 1][: series // 25]
    return Snapshot.of(
        1_800_000_000_000, [f(i + 0.5, **{f.labels[0]: f"gpu{i}"}) for f in gauges for i in range(25)][:series]
    )


@dataclass
class FakeDaemon:
    """What a server asks its daemon."""

    latest: Snapshot | None = field(default_factory=snapshot)
    has_stalled: bool = False

    def stalled(self) -> bool:
        return self.has_stalled


class Running:
    """A server that answers, and what it counted."""

    def __init__(self, server: Server, daemon: FakeDaemon, metrics: SelfMetrics):
        self.server, self.daemon, self.metrics = server, daemon, metrics
        self.port = server.addresses[0].port
        self.url = f"http://127.0.0.1:{self.port}"

    def get(self, path: str = "/metrics", **options) -> "httpx.Response":
        # Not at the top: the server in a process of its own is not where `support` is found.
        from support.net import get

        return get(self.url + path, **options)

    def rejected(self, reason: str) -> float:
        return Snapshot.of(0, self.metrics.readings()).get(c.HTTP_REJECTED(0, reason=reason))


def settings(**flags) -> config.Config:
    """The configuration of these flags, `web_config_file=…` for `--web.config.file`."""
    keys = {f.name: f.metadata["key"] for f in config.options()}
    given = {"web_listen_address": ["127.0.0.1:0"], **flags}
    return config.load({keys[name]: value for name, value in given.items()}, environ={})


@contextlib.contextmanager
def running(query=None, **flags) -> Iterator[Running]:
    """A server in this process, on a port of the system's choice."""
    metrics, daemon = SelfMetrics(), FakeDaemon()
    server = Server(settings(**flags), daemon, metrics, query)
    try:
        server.start()
        yield Running(server, daemon, metrics)
    finally:
        server.stop()


@contextlib.contextmanager
def running_elsewhere(descriptors: int = 1024, **flags) -> Iterator[tuple[subprocess.Popen, int]]:
    """A server in a process of its own with so many file descriptors: the process and the port."""
    command = [sys.executable, __file__, json.dumps({"descriptors": descriptors, "flags": flags})]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def main(order: dict) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (order["descriptors"], order["descriptors"]))
    with running(**order["flags"]) as web:
        print(web.port, flush=True)
        sys.stdin.read()


def connect(port: int, timeout: float = 10.0) -> socket.socket:
    """A TCP connection to the server."""
    return socket.create_connection(("127.0.0.1", port), timeout=timeout)


def ask(port: int, request: bytes = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") -> bytes:
    """What comes back on a connection of its own for these bytes, until the server closes."""
    with connect(port) as sock:
        sock.sendall(request)
        return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    """Everything until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(65536):
            received += data
    return received


def status(answer: bytes) -> int:
    """The status of a raw answer; 0 where there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def seconds_of(call) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def cpu_seconds(process: subprocess.Popen) -> float:
    """CPU time of a process so far."""
    import psutil

    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    """A file with this text and mode."""
    path.write_text(text)
    path.chmod(mode)
    return path


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
