"""Scrapes: latency and rate of our server beside the one of prometheus_client and node_exporter."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from tests.support.components import install
from tests.support.net import NeverWill, free_port, wait_for

from .report import Row, milliseconds, quantile

ROOT = Path(__file__).parents[2]
SERIES = 300
ROUNDS, REQUESTS, WARM_UP = 12, 100, 50
CLIENTS, RATE_SECONDS = 8, 2.0
OURS, THEIRS, NODE = "tokwatt", "prometheus_client", "node_exporter"

#: Without compression, which Prometheus would ask for and which would make prometheus_client's server slower still.
REQUEST = (
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: bench\r\nConnection: close\r\n"
    b"Accept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n\r\n"
)


def rows() -> Iterator[Row]:
    """Latency in interleaved rounds with a new connection each request, then the rate with several clients."""
    with ExitStack() as stack:
        ports: dict[str, int] = {}
        for name in (OURS, THEIRS, NODE):
            try:
                ports[name] = stack.enter_context(serving(name))
            except Exception as error:
                yield Row(name, "not measured", note=str(error))
        series = {name: count_series(port) for name, port in ports.items()}
        latency = latencies(ports)
        rate = {name: requests_per_second(port) for name, port in ports.items()}
    p50 = {name: quantile(values, 0.50) for name, values in latency.items()}
    p99 = {name: quantile(values, 0.99) for name, values in latency.items()}
    for name in ports:
        alone = len(latency[name]) / sum(latency[name])
        what = f"{name}, {series[name]} series: p50 / p99 of {len(latency[name])}"
        yield Row(what, f"{milliseconds(p50[name])} / {milliseconds(p99[name])}")
        yield Row(f"{name}: requests/s with 1 / {CLIENTS} clients", f"{alone:,.0f} / {rate[name]:,.0f}")
    if {OURS, THEIRS} <= ports.keys():
        half, full = p50[OURS] / p50[THEIRS], p99[OURS] / p99[THEIRS]
        yield Row("p50 against prometheus_client's own server", f"{half:.2f} x", "<= 0.50 x", half <= 0.5)
        yield Row("p99 against prometheus_client's own server", f"{full:.2f} x", "<= 1.00 x", full <= 1)
    if len(ports) < 3:
        raise RuntimeError("not every server answered")


@contextmanager
def serving(name: str) -> Iterator[int]:
    """The port of the server while the block runs; RuntimeError with its last words where it does not answer."""
    port = free_port()
    if name == NODE:
        command = [str(install(NODE)), f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    else:
        command = [sys.executable, "-m", "tests.performance.servers", name, str(port), str(SERIES)]
    with TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            try:
                wait_for(lambda: answers(process, port), 20, name)
            except AssertionError as error:
                log.seek(0)
                raise RuntimeError((log.read().strip().splitlines() or [str(error)])[-1]) from None
            yield port
        finally:
            process.kill()
            process.wait()


def answers(process: subprocess.Popen[bytes], port: int) -> bool:
    if process.poll() is not None:
        raise NeverWill("it ended")
    return ok(scrape(port)[1])


def scrape(port: int) -> tuple[float, bytes]:
    """Seconds from connecting to the last byte, and the whole answer."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(REQUEST % port)
        parts = []
        while part := connection.recv(1 << 18):
            parts.append(part)
    return time.perf_counter() - began, b"".join(parts)


def ok(answer: bytes) -> bool:
    return answer[:13] in (b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")


def count_series(port: int) -> int:
    body = scrape(port)[1].partition(b"\r\n\r\n")[2]
    return sum(1 for line in body.splitlines() if line and not line.startswith(b"#") and b" " in line)


def latencies(ports: dict[str, int]) -> dict[str, list[float]]:
    """Seconds of each request, by server; the servers take turns, so that a busy moment hits all of them."""
    found: dict[str, list[float]] = {name: [] for name in ports}
    for port in ports.values():
        for _ in range(WARM_UP):
            scrape(port)
    gc.disable()
    try:
        for _ in range(ROUNDS):
            for name, port in ports.items():
                found[name] += [scrape(port)[0] for _ in range(REQUESTS)]
    finally:
        gc.enable()
    return found


def requests_per_second(port: int) -> float:
    """Answers a second to clients that ask again as soon as they are answered."""
    end = time.monotonic() + RATE_SECONDS
    done: list[int] = []

    def client() -> None:
        count = 0
        while time.monotonic() < end:
            if ok(scrape(port)[1]):
                count += 1
        done.append(count)

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return sum(done) / RATE_SECONDS
