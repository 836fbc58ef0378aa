"""The short-lived child that opens DuckDB for the daemon: JSON on stdin, JSON on stdout, then it is gone.

One that was asked a query stays a minute for the next one, a line each. Between two it has no file open.

python -m tokwatt_exporter.store.worker flush|upkeep|export|query --data-dir DIR
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokwatt_exporter.errors import StoreError, TokwattError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


IDLE_SECONDS = 60.0


def main(argv: list[str]) -> int:
    """Do one thing and answer it, or the error it ended with."""
    command, _, data_dir = argv
    if command != "query":
        _answer(command, Path(data_dir), sys.stdin.read())
        return 0
    while line := sys.stdin.readline():
        _answer(command, Path(data_dir), line)
        # A line is all that is ever on its way, so nothing of the next one is in a buffer here.
        if not select.select([sys.stdin], [], [], IDLE_SECONDS)[0]:
            break
    return 0


def _answer(command: str, data_dir: Path, order: str) -> None:
    answer: dict[str, Any]
    try:
        answer = {"result": _COMMANDS[command](data_dir, json.loads(order or "{}"))}
    except TokwattError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


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


def export(data_dir: Path, order: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Bring each target up to what the history has; one that fails does not hold up the others."""
    from tokwatt_exporter.store.leave import leave

    os.nice(10)
    done: list[dict[str, Any]] = []
    problems: list[str] = []
    for to in order["targets"]:
        try:
            done.append(dataclasses.asdict(leave(data_dir, to, order["data_path"], order["python"])))
        except TokwattError as error:
            problems.append(str(error))
    if problems:
        raise StoreError("; ".join(problems))
    return done


def query(data_dir: Path, order: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a named query."""
    from tokwatt_exporter.store import read

    return read.query(data_dir, order["name"], order["params"], wait=order["wait"], timeout=order["timeout"])


_COMMANDS = {"flush": flush, "upkeep": tend, "export": export, "query": query}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
