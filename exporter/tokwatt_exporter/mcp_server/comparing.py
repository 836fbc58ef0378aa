"""Benchmark runs held against each other by `tokwatt-bench compare`, which gets them as files.

By itself it would take in what waits in the journal, and so write.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.mcp_server.benchmark import Runner
from tokwatt_exporter.store import read
from tokwatt_exporter.store.queries import prepare

#: Runs on one side: more say no more, and each is read whole.
MOST_RUNS = 50
#: What is shorter names too many.
_FEWEST_OF_ID = 4


def document(data_dir: Path, beginnings: Sequence[str]) -> dict[str, Any]:
    """The results and requests of the runs whose ids begin so; `UsageError` where one is not there."""
    if not 1 <= len(beginnings) <= MOST_RUNS:
        raise UsageError(f"give 1 to {MOST_RUNS} runs on a side, by the beginnings of their run_id")
    with read.opened(data_dir, read.LOCK_WAIT, read.TIMEOUT) as db:
        rows = read.rows_of(db, prepare("bench_results", {"limit": 10_000})) if db else []
        results = [_result(rows, beginning) for beginning in dict.fromkeys(beginnings)]
        found = [read.rows_of(db, prepare("bench_requests", {"run_id": one["run_id"]})) for one in results if db]
    return {"results": results, "requests": [request for requests in found for request in requests]}


def _result(rows: Sequence[Mapping[str, Any]], beginning: str) -> dict[str, Any]:
    if len(beginning) < _FEWEST_OF_ID or not beginning.isalnum():
        raise UsageError(f"{beginning[:60]!r} is not the beginning of a run_id: benchmark_history lists them")
    found = [row["result"] for row in rows if str(row["run_id"]).startswith(beginning.lower()) and row["result"]]
    if len(found) != 1:
        many = f"{len(found)} runs begin" if found else "no run begins"
        raise UsageError(f"{many} with {beginning[:60]!r}: benchmark_history lists them")
    return dict(found[0])


async def compare(runner: Runner, documents: Sequence[Mapping[str, Any]], margin: str) -> dict[str, Any]:
    """What `tokwatt-bench compare` says of two documents."""
    with TemporaryDirectory(prefix="tokwatt-compare-") as folder:
        paths = [Path(folder, name) for name in ("first.json", "second.json")]
        for path, one in zip(paths, documents, strict=True):
            await asyncio.to_thread(path.write_text, json.dumps(one))
        return await runner.compare([f"--margin={margin}", *map(str, paths)])
