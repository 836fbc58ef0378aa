"""Documents with results for the tests of reports: real ones, and what is made of them where no machine here has it."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fakes.truth_server import truth_server
from tokwatt_bench.measured import Measured, find

#: Speeds of a model that gets slower with every request beside it.
LANES = (1, 2, 4)


@cache
def real() -> dict[str, Measured]:
    """A good result and one whose requests all failed, as the command kept them."""
    found = {}
    with truth_server() as server, TemporaryDirectory() as folder:
        for name, model, *more in (("good", "itl=2,ttft=10"), ("bad", "err500", "--no-calibrate")):
            command = [
                sys.executable, "-m", "tokwatt_bench", "run", "--url", server.url, "--model", model, "--runs", "8",
                "--max-tokens", "24", "--idle-seconds", "0", "--data-dir", folder, "--json", *more,
            ]  # fmt: skip
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=120,
                env={**os.environ, "TOKWATT_DISCOVERY_ENABLED": "false"},
            )  # fmt: skip
            assert done.returncode == (1 if name == "bad" else 0), done.stderr
            [found[name]] = find(Path(folder), json.loads(done.stdout)["results"][0]["run_id"])
    return found


def changed(one: Measured, run_id: str, **fields: Any) -> Measured:
    """The same under another run id, with other fields of its result."""
    result = {**copy.deepcopy(dict(one.result)), "run_id": run_id, **fields}
    return Measured(result, [{**request, "run_id": run_id} for request in copy.deepcopy(list(one.requests))])


def sweep() -> list[Measured]:
    """Two engines at one, two and four streams, with energy, hardware and the machine's conditions."""
    return [_lane(engine, slower, lanes) for engine, slower in (("llama_cpp", 1.0), ("mlx_lm", 1.3)) for lanes in LANES]


def _lane(engine: str, slower: float, lanes: int) -> Measured:
    one = real()["good"]
    speed = 100 / slower / (1 + 0.1 * lanes)
    states = ["nominal"] * 5 + ["fair"] * 3
    samples = [
        {"time": 1_794_234_000_000 + 60_000 * lanes + 1000 * at, "thermal_state": state, "power_source_state": "ac",
         "temperature_celsius": 50.0 + at, "gpu_frequency_hertz": 1.4e9, "swap_in_bytes_total": 0}
        for at, state in enumerate(states)
    ]  # fmt: skip
    found = changed(
        one, f"{engine}{lanes}", engine=engine, kind=engine, version="1.0", model="Qwen3-8B", concurrency=lanes,
        generation_tokens_per_second={"p50": speed, "p95": None, "p99": None, "ci95": [speed * 0.97, speed * 1.03],
                                      "count": 8},
        throughput={"generation_tokens_per_second": lanes * speed if lanes > 1 else None,
                    "requests_per_second": lanes / 2, "seconds": 20.0},
        energy_per_token_joules=0.4 * slower, hardware={"chip": "Apple M4 Max", "machine_model": "Mac16,5"},
        conditions={"before": samples[0], "after": samples[-1], "samples": samples,
                    "problems": ["thermal pressure was fair"]},
    )  # fmt: skip
    for request in found.requests:
        if request["phase"] == "measured":
            request["chunk_offsets_ns"] = [int(offset * slower * lanes) for offset in request["chunk_offsets_ns"]]
    return found
