"""How far our stamps are from the truth, beside httpx on the same server.

`PYTHONPATH=tests python tests/bench/client_error.py` prints it for this machine.

Both clients only keep stamps and bytes while the answer comes in and parse afterwards, and take a new connection for
each request, so what differs is the library that reads.
"""

from __future__ import annotations

import json
import statistics
import time

import httpx

from fakes.truth_server import truth_server
from tokwatt_bench import figures
from tokwatt_bench.request import examine
from tokwatt_bench.statistics import quantile
from tokwatt_bench.stream import Recording, record

REQUESTS = 20


def with_httpx(url: str, body: bytes, timeout: float) -> Recording:
    found = Recording(0)
    with httpx.Client(trust_env=False, timeout=timeout) as client:
        found.sent_ns = time.perf_counter_ns()
        with client.stream("POST", url, content=body, headers={"Content-Type": "application/json"}) as answer:
            found.status = answer.status_code
            for piece in answer.iter_raw():
                found.pieces.append((time.perf_counter_ns(), piece))
    return found


def ours(url: str, body: bytes, timeout: float) -> Recording:
    return record(url, body, {}, timeout)


def main() -> None:
    print("client      ITL ms   TTFT error p50 / p95 / max ms   mean ITL error p50 %   gap p99 ours / truth ms")
    with truth_server() as server:
        for itl in (10.0, 2.0, 1.0, 0.2):
            for name, client in (("ours", ours), ("httpx", with_httpx)):
                cell(name, client, server, itl)


def cell(name, client, server, itl) -> None:
    first, mean, gaps, true_gaps = [], [], [], []
    for _ in range(REQUESTS):
        body = json.dumps({
            "model": f"itl={itl},ttft=20", "messages": [{"role": "user", "content": "x"}], "max_tokens": 128,
            "stream": True, "stream_options": {"include_usage": True},
        }).encode()  # fmt: skip
        request = examine(client(server.url + "/v1/chat/completions", body, 30.0), "openai", 0, "measured")
        assert request.ok, request.detail
        truth = server.truths()[-1]
        first.append((request.first_token_seconds - truth.first_token_seconds) * 1e3)
        mean.append((figures.mean_token_gap(request).value / statistics.mean(truth.gaps_seconds) - 1) * 100)
        gaps += figures.chunk_gaps(request)
        true_gaps += truth.gaps_seconds
    print(
        f"{name:8s} {itl:9g}   {quantile(first, 0.5):+8.3f} / {quantile(first, 0.95):+.3f} / {max(first):+.3f}"
        f"{quantile(mean, 0.5):+18.2f} {quantile(gaps, 0.99) * 1e3:21.2f} / {quantile(true_gaps, 0.99) * 1e3:.2f}"
    )


if __name__ == "__main__":
    main()
