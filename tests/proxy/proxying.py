"""A proxy as a process of its own, engines that do as a test says, and what was counted."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from support.net import NeverWill, free_port, wait_for
from tokwatt_exporter.catalogue import PROXY_REQUESTS
from tokwatt_exporter.collectors.proxy import Proxy
from tokwatt_exporter.snapshot import Snapshot


class RunningProxy:
    def __init__(self, process: subprocess.Popen, port: int, data_dir: Path, log: Path):
        self.process, self.port, self.data_dir, self.log = process, port, data_dir, log
        self.url = f"http://127.0.0.1:{port}"

    def listens(self) -> bool:
        if self.process.poll() is not None:
            raise NeverWill(f"the proxy ended with {self.process.returncode}: {self.log.read_text()}")
        with socket.create_connection(("127.0.0.1", self.port), timeout=2):
            return True

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def counted(self) -> Snapshot:
        """What the daemon would publish."""
        return Snapshot.of(0, Proxy(self.data_dir).read())

    def value(self, reading) -> float | None:
        return self.counted().get(reading)

    def statuses(self) -> dict[str, float]:
        """Requests by how they ended, those that there were none of left out."""
        found: dict[str, float] = {}
        for labels, value in self.counted().values.get(PROXY_REQUESTS, {}).items():
            if value:
                status = dict(labels)["status"]
                found[status] = found.get(status, 0) + value
        return found

    def ended(self, **expected: int) -> dict[str, float]:
        """The same, once it is as expected: `ok` stands for 2xx, `client_error` for 4xx, `server_error` for 5xx."""
        names = {"ok": "2xx", "client_error": "4xx", "server_error": "5xx"}
        wanted = {names.get(name, name): count for name, count in expected.items()}
        return wait_for(lambda: self.statuses() == wanted and wanted, 20, f"{wanted} to be counted")

    def sockets(self) -> int:
        """Its connections, and not where it listens."""
        mine = psutil.Process(self.process.pid).net_connections("tcp")
        return sum(one.status != psutil.CONN_LISTEN for one in mine)


@contextlib.contextmanager
def proxy(tmp_path: Path, engine: str, *flags: str, descriptors: int = 1024, name: str = "engine", environ=None):
    """`tokwatt proxy` before an engine; stopped at the end where it still runs."""
    port, log = free_port(), tmp_path / f"proxy-{name}.log"
    command = ["/bin/sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh",
               sys.executable, "-m", "tokwatt_exporter", "proxy", "--engine", engine, "--name", name,
               "--listen", f"127.0.0.1:{port}", "--data-dir", str(tmp_path / "data"), *flags]  # fmt: skip

    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, **(environ or {})},
        )  # fmt: skip
    running = RunningProxy(process, port, tmp_path / "data", log)
    try:
        wait_for(running.listens, 30, "the proxy to listen")
        yield running
    finally:
        process.kill()
        process.wait()


class Engine:
    """Listens on loopback and does with each connection what `serve` says, in a thread."""

    def __init__(self, serve: Callable[[socket.socket], None]):
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._one, args=(sock,), daemon=True).start()

    def _one(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.settimeout(30)
            self._serve(sock)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def engine(serve: Callable[[socket.socket], None]) -> Iterator[Engine]:
    running = Engine(serve)
    try:
        yield running
    finally:
        running.close()


def read_request(sock: socket.socket) -> bytes:
    """A request with a length, or none: head and body; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := sock.recv(1)):
            return b""
        data += more
    length = next((int(line[15:]) for line in data.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while length > 0:
        if not (more := sock.recv(length)):
            return b""
        data, length = data + more, length - len(more)
    return data


def read_all(sock: socket.socket) -> bytes:
    """Everything until the other side ends."""
    found = bytearray()
    while more := sock.recv(65536):
        found += more
    return bytes(found)


def post(path: str, body: bytes, more: bytes = b"") -> bytes:
    """A request as a client writes it."""
    return (
        b"POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n" % (path.encode(), more, len(body)) + body
    )
