"""The short-lived child that opens DuckDB for the daemon: JSON on stdin, JSON on stdout, then it is gone.

python -m tokwatt_exporter.store.worker flush|upkeep|query --data-dir DIR
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokwatt_exporter.errors import TokwattError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def main(argv: list[str]) -> int:
    """Do one thing and answer it, or the error it ended with."""
    command, _, data_dir = argv
    order = json.loads(sys.stdin.read() or "{}")
    answer: dict[str, Any]
    try:
        answer = {"result": _COMMANDS[command](Path(data_dir), order)}
    except TokwattError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    json.dump(answer, sys.stdout)
    return 0


def flush(data_dir: Path, order: Mapping[str, Any]) -> dict[str, Any]:
    """Take in the journal, and say what the daemon wants to know of the history after it."""
    from tokwatt_exporter.store import file, upkeep
    from tokwatt_exporter.store.ingest import ingest
    from tokwatt_exporter.store.queries import prepare
    from tokwatt_exporter.store.read import newest_ms, rows_of

    # Whoever generates tokens on this machine goes first.
    os.nice(5)
    known: dict[str, Any] = {}

    def then(db: DuckDBPyConnection) -> None:
        known.update(newest_ms=newest_ms(db), bench_latest=rows_of(db, prepare("bench_latest")))
        known.update(due=upkeep.due(db, time.time()))

    done = ingest(data_dir, wait=float(order["wait"]), then=then)
    sizes = {"size_bytes": file.size_of(file.path_of(data_dir)), "damaged_at": file.lost_at(data_dir)}
    return dataclasses.asdict(done) | known | sizes


def tend(data_dir: Path, order: Mapping[str, Any]) -> dict[str, Any]:
    """One portion of the upkeep of the history."""
    from tokwatt_exporter.store import upkeep

    os.nice(10)
    done = upkeep.upkeep(data_dir, upkeep.Retention(**order["retention"]), wait=float(order["wait"]))
    return dataclasses.asdict(done)


def query(data_dir: Path, order: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a named query."""
    from tokwatt_exporter.store import read

    return read.query(data_dir, order["name"], order["params"], wait=order["wait"], timeout=order["timeout"])


_COMMANDS = {"flush": flush, "upkeep": tend, "query": query}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
