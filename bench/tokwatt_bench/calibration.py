"""How far off this client is, on this machine, right now: held against a server that knows the truth."""

from __future__ import annotations

import itertools
import json
import resource
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tokwatt_bench import figures, rounds
from tokwatt_bench.request import Request, examine
from tokwatt_bench.statistics import quantile, steady_interval
from tokwatt_bench.stream import encode
from tokwatt_bench.truth import truth_server
from tokwatt_bench.wire import Outgoing

SECONDS = 2.0
_TOKENS = 32
#: Of an answer of the truth server; milliseconds.
_TTFT, _ITL = 20.0, 5.0
#: The client's part of a time, or of a processor, from which on the result is more the client's than the engine's.
MOST_SHARE = 0.1
MOST_PROCESSOR = 0.7


class Calibration(NamedTuple):
    """What the client gets wrong; errors are ours minus the truth. That of the first token is the time from when the
    server's write of it had returned to the stamp it got here.
    """

    concurrency: int
    requests: int
    first_token_error: tuple[float, float]
    first_token_interval: tuple[float, float] | None
    token_gap_error: float
    token_gap_interval: tuple[float, float] | None
    gap_p99_error: float
    cpu_seconds_per_1000_tokens: float

    def as_json(self) -> dict[str, Any]:
        """Seconds; `inter_token_latency_error_ratio` is of the mean gap."""
        p50, p95 = self.first_token_error
        interval = list(self.first_token_interval) if self.first_token_interval else None
        return {
            "concurrency": self.concurrency, "requests": self.requests,
            "time_to_first_token_error_seconds": {"p50": p50, "p95": p95, "ci95": interval, "count": self.requests},
            "inter_token_latency_error_ratio": self.token_gap_error,
            "inter_token_latency_p99_error_seconds": self.gap_p99_error,
            "cpu_seconds_per_1000_tokens": self.cpu_seconds_per_1000_tokens,
        }  # fmt: skip


def calibrate(concurrency: int, seconds: float = SECONDS, itl_ms: float = _ITL) -> Calibration:
    """Measure the truth server for that long; `OSError` where it cannot be started."""
    took = rounds.Took()
    with truth_server() as url:
        # What is done for the first time takes longer.
        rounds.closed(itertools.islice(_outgoing(url, itl_ms), concurrency), concurrency, rounds.Took())
        _truths(url)
        before = processor()
        rounds.closed(_outgoing(url, itl_ms), concurrency, took, time.perf_counter() + seconds)
        used = processor() - before
        truths = _truths(url)
    found = [
        (examine(one.recording, "openai", one.number, "measured"), truths.get(str(one.number))) for one in took.sent
    ]
    return _held_against(concurrency, [(request, truth) for request, truth in found if request.ok and truth], used)


def bound(found: Mapping[str, Any], calibration: Calibration) -> list[str]:
    """Why a result says more about the client than about the engine; empty where it does not."""
    why = []
    first = found["time_to_first_token_seconds"]["p50"]
    late = calibration.first_token_error[0]
    if first and late > MOST_SHARE * first:
        why.append(f"the client is {late * 1e3:.2g} ms late of {first * 1e3:.3g} ms to the first token")
    speed = found["throughput"]["generation_tokens_per_second"] or found["generation_tokens_per_second"]["p50"]
    if speed and (share := speed * calibration.cpu_seconds_per_1000_tokens / 1000) > MOST_PROCESSOR:
        why.append(f"the client needs {share:.0%} of a processor to read {speed:.3g} tokens/s")
    return why


def _held_against(concurrency: int, pairs: list[tuple[Request, Any]], used: float) -> Calibration:
    if not pairs:
        raise OSError("the server that knows the truth was not understood")
    first, means, ours, true = [], [], [], []
    for request, truth in pairs:
        writes = truth["writes"]
        gaps = [(after - before) / 1e9 for before, after in itertools.pairwise(writes)]
        first.append((request.chunks[0].at_ns - writes[0]) / 1e9)
        means.append((figures.mean_token_gap(request).value or 0) / (sum(gaps) / len(gaps)) - 1)
        ours += figures.chunk_gaps(request)
        true += gaps
    tokens = sum(request.generated_tokens or 0 for request, _ in pairs)
    return Calibration(
        concurrency, len(pairs), (quantile(first, 0.5), quantile(first, 0.95)), steady_interval(first),
        quantile(means, 0.5), steady_interval(means), quantile(ours, 0.99) - quantile(true, 0.99),
        used / tokens * 1000,
    )  # fmt: skip


def _outgoing(url: str, itl_ms: float) -> Iterator[Outgoing]:
    path = f"{url}/v1/chat/completions"
    for number in itertools.count():
        body = {
            "model": f"ttft={_TTFT},itl={itl_ms},tokens={_TOKENS}", "stream": True, "seed": number,
            "messages": [{"role": "user", "content": "How long is a token?"}],
        }  # fmt: skip
        yield Outgoing(path, encode(path, json.dumps(body).encode(), {}), 30.0)


def _truths(url: str) -> Any:
    import urllib.request

    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/truth", timeout=10) as answer:
        return json.load(answer)


def processor() -> float:
    """Seconds of it that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
