"""How far the benchmark's client is from the truth, beside a bare socket, httpx and, where they are installed, others.

All ask the same server in turns, which knows when the write of each token had returned.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tokwatt_bench import rounds
from tokwatt_bench.calibration import processor
from tokwatt_bench.request import examine
from tokwatt_bench.stream import Recording, encode
from tokwatt_bench.truth import truth_server
from tokwatt_bench.wire import Outgoing

from . import client_peers
from .report import Row, below, quantile

#: Streams, and milliseconds between tokens.
CELLS = ((1, 10.0), (1, 1.0), (1, 0.2), (8, 10.0), (8, 2.0), (8, 0.2), (32, 2.0), (64, 10.0), (64, 2.0))
TTFT, TOKENS, SECONDS = 20.0, 128, 3.0
_PATH = "/v1/chat/completions"


@dataclass
class Seen:
    """What a client stamped: by request, when it sent and when each token came; and what that took."""

    sent: dict[int, int] = field(default_factory=dict)
    stamps: dict[int, list[int]] = field(default_factory=dict)
    cpu: float = 0.0


Client = Callable[[str, int, float, int], Seen]


def rows() -> Iterator[Row]:
    """A few rows a cell; the targets are those of two quiet cores."""
    for lanes, itl in CELLS:
        cell: dict[str, Seen] = {}
        truth: dict[str, dict[int, list[int]]] = {}
        with truth_server() as url:
            for name, client in (("ours", ours), ("bare", bare), ("httpx", with_httpx)):
                client(url, lanes, itl, lanes)
                _truth(url)
                requests = max(round(SECONDS * lanes / ((TTFT + itl * TOKENS) / 1e3)), lanes)
                cell[name] = client(url, lanes, itl, requests)
                truth[name] = _truth(url)
        yield from _cell(f"{lanes} x {itl:g} ms", lanes, cell, truth)
    yield from _start()
    yield from client_peers.rows(_said)


def _said(url: str, lanes: int, itl: float, requests: int) -> client_peers.Said:
    """What others report, of ours: medians."""
    seen = ours(url, lanes, itl, requests)
    first = [(stamps[0] - seen.sent[number]) / 1e9 for number, stamps in seen.stamps.items()]
    gaps = [(stamps[-1] - stamps[0]) / (len(stamps) - 1) / 1e9 for stamps in seen.stamps.values()]
    return client_peers.Said(quantile(first, 0.5), sum(gaps) / len(gaps), seen.cpu)


def _cell(what: str, lanes: int, cell: dict[str, Seen], truth: dict[str, dict[int, list[int]]]) -> Iterator[Row]:
    found = {name: _errors(seen, truth[name]) for name, seen in cell.items()}
    ours, bare, other = found["ours"], found["bare"], found["httpx"]
    beside = f"bare socket {bare['late'] * 1e3:.2f} ms, httpx {other['late'] * 1e3:.2f} ms"
    late = below(f"{what}: first token late by, median", ours["late"] * 1e3, 0.5 if lanes <= 8 else 1.0, "{:.2f} ms")
    yield late._replace(note=beside)
    yield Row(f"{what}: mean gap off by", f"{ours['mean']:+.2%}", "< 1 %", abs(ours["mean"]) <= 0.01,
              note=f"bare socket {bare['mean']:+.2%}, httpx {other['mean']:+.2%}")  # fmt: skip
    off = ours["p99"] - ours["true_p99"]
    both = f"{ours['p99'] * 1e3:.2f} / {ours['true_p99'] * 1e3:.2f} ms"
    yield Row(f"{what}: p99 of gaps, ours / true", both, "1 ms or 10 %", abs(off) <= max(0.001, 0.1 * ours["true_p99"]))
    yield Row(f"{what}: tokens/s, ours / true", f"{ours['speed']:.0f} / {ours['true_speed']:.0f}", "0.5 %",
              abs(ours["speed"] / ours["true_speed"] - 1) <= 0.005)  # fmt: skip
    share = ours["true_speed"] / bare["true_speed"]
    yield Row(f"{what}: of the load that a bare socket gets", f"{share:.1%}", "> 95 %", share >= 0.95,
              note=f"httpx {other['true_speed'] / bare['true_speed']:.1%}")  # fmt: skip
    yield below(f"{what}: CPU for 1,000 tokens", ours["cpu"] * 1e3, 40, "{:.1f} ms")._replace(
        note=f"bare socket {bare['cpu'] * 1e3:.1f} ms, httpx {other['cpu'] * 1e3:.1f} ms")  # fmt: skip


def _errors(seen: Seen, truth: dict[int, list[int]]) -> dict[str, float]:
    late, means, gaps, true = [], [], [], []
    for number, stamps in seen.stamps.items():
        writes = truth[number]
        late.append((stamps[0] - writes[0]) / 1e9)
        means.append((stamps[-1] - stamps[0]) / (writes[-1] - writes[0]) - 1)
        gaps += _gaps(stamps)
        true += _gaps(writes)
    tokens = sum(map(len, seen.stamps.values()))
    begun = min(seen.sent.values())
    return {
        "late": quantile(late, 0.5), "mean": quantile(means, 0.5), "p99": quantile(gaps, 0.99),
        "true_p99": quantile(true, 0.99), "cpu": seen.cpu / tokens * 1000,
        "speed": tokens / ((max(stamps[-1] for stamps in seen.stamps.values()) - begun) / 1e9),
        "true_speed": tokens / ((max(writes[-1] for writes in truth.values()) - begun) / 1e9),
    }  # fmt: skip


def _gaps(times: Sequence[int]) -> list[float]:
    return [(after - before) / 1e9 for before, after in itertools.pairwise(times)]


def ours(url: str, lanes: int, itl: float, requests: int) -> Seen:
    """What `tokwatt-bench run` does."""
    outgoing = [Outgoing(url + _PATH, encode(url + _PATH, _body(number, itl), {}), 60.0) for number in range(requests)]
    took = rounds.Took()
    before = processor()
    rounds.closed(outgoing, lanes, took)
    seen = Seen(cpu=processor() - before)
    for one in took.sent:
        seen.sent[one.number] = one.recording.sent_ns
        request = examine(one.recording, "openai", one.number, "measured")
        if not request.ok:
            raise RuntimeError(request.detail)
        seen.stamps[one.number] = [chunk.at_ns for chunk in request.chunks]
    return seen


def bare(url: str, lanes: int, itl: float, requests: int) -> Seen:
    """As little as can be: an asyncio protocol that stamps what comes."""
    seen, numbers = Seen(), iter(range(requests))
    port = int(url.rpartition(":")[2])

    class Stamps(asyncio.Protocol):
        def __init__(self, data: bytes, number: int) -> None:
            self.data, self.number, self.over = data, number, asyncio.get_running_loop().create_future()
            self.reads: list[tuple[int, bytes]] = []

        def connection_made(self, transport: Any) -> None:
            seen.sent[self.number] = time.perf_counter_ns()
            transport.write(self.data)

        def data_received(self, data: bytes) -> None:
            self.reads.append((time.perf_counter_ns(), data))

        def connection_lost(self, error: Exception | None) -> None:
            self.over.set_result(None)

    kept: list[Stamps] = []

    async def lane() -> None:
        for number in numbers:
            data = encode(url + _PATH, _body(number, itl), {})
            _, protocol = await asyncio.get_running_loop().create_connection(
                lambda data=data, number=number: Stamps(data, number), "127.0.0.1", port  # type: ignore[misc]
            )  # fmt: skip
            await protocol.over
            kept.append(protocol)

    async def all_lanes() -> None:
        await asyncio.gather(*(lane() for _ in range(lanes)))

    before = processor()
    asyncio.run(all_lanes())
    seen.cpu = processor() - before
    for one in kept:
        recording = Recording(0, sent_ns=seen.sent[one.number], reads=one.reads)
        seen.stamps[one.number] = [chunk.at_ns for chunk in examine(recording, "openai", 0, "measured").chunks]
    return seen


def with_httpx(url: str, lanes: int, itl: float, requests: int) -> Seen:
    """httpx with asyncio, which most clients are built on; it only stamps and keeps, too."""
    seen, numbers = Seen(), iter(range(requests))
    kept: dict[int, list[tuple[int, bytes]]] = {}

    async def lane(client: httpx.AsyncClient) -> None:
        for number in numbers:
            seen.sent[number] = time.perf_counter_ns()
            async with client.stream("POST", url + _PATH, content=_body(number, itl)) as answer:
                kept[number] = [(time.perf_counter_ns(), piece) async for piece in answer.aiter_raw()]

    async def all_lanes() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=60, limits=httpx.Limits(max_connections=lanes)) as client:
            await asyncio.gather(*(lane(client) for _ in range(lanes)))

    before = processor()
    asyncio.run(all_lanes())
    seen.cpu = processor() - before
    for number, pieces in kept.items():
        recording = Recording(0, sent_ns=seen.sent[number], status=200, pieces=pieces)
        seen.stamps[number] = [chunk.at_ns for chunk in examine(recording, "openai", 0, "measured").chunks]
    return seen


#: Says on stderr how much processor time the command has used when it connects for its first request.
_FIRST = """
import resource, sys
from tokwatt_bench import wire
start = wire.Wires.start
def first(self, key, request):
    used = resource.getrusage(resource.RUSAGE_SELF)
    sys.stderr.write(f"first request after {used.ru_utime + used.ru_stime} s\\n")
    wire.Wires.start = start
    start(self, key, request)
wire.Wires.start = first
from tokwatt_bench.__main__ import main
main()
"""


def _start() -> Iterator[Row]:
    """Processor time of a run of one request: before it is sent, and all of it with the watcher's."""
    with truth_server() as url:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-P", "-c", _FIRST, "run", "--url", url, "--engine", "openai_compatible",
             "--model", "ttft=1,itl=1,tokens=2", "--runs", "1", "--warmup", "0", "--idle-seconds", "0",
             "--no-calibrate", "--gate", "annotate", "--no-store", "--json", "--seed", "1"],
            check=True, capture_output=True, text=True, env={**os.environ, "TOKWATT_DISCOVERY_ENABLED": "false"},
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    first = float(done.stderr.partition("first request after ")[2].split()[0])
    yield below("CPU before the first request", first, 0.3, "{:.2f} s")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    yield below("a whole run of one request: CPU, its watcher included", used, 1.0, "{:.2f} s")


def _body(number: int, itl: float) -> bytes:
    return json.dumps({
        "model": f"ttft={TTFT:g},itl={itl:g},tokens={TOKENS}", "stream": True, "seed": number,
        "messages": [{"role": "user", "content": "How long is a token?"}],
    }).encode()  # fmt: skip


def _truth(url: str) -> dict[int, list[int]]:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/truth", timeout=10) as answer:
        return {int(number): told["writes"] for number, told in json.load(answer).items()}
