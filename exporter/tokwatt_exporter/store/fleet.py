"""The history of many machines in one DuckLake: each appends what the lake lacks of it, exactly once."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tokwatt_exporter.errors import StoreError, UsageError
from tokwatt_exporter.store import file, parquet
from tokwatt_exporter.store.export import Exported
from tokwatt_exporter.store.extract import LOCK_WAIT, Extract, Part, extract, scratch
from tokwatt_exporter.store.read import take_in

PREFIX = "ducklake:"
#: How often a part is tried while others write for the same host, or make the lake's tables.
TRIES = 20
_SCRIPT = Path(__file__).with_name("lake.py")


class Attachment(NamedTuple):
    """A DuckLake: how it is attached, where its data is if its catalogue does not know, and the Python that can."""

    attach: str
    data_path: str | None = None
    python: Path | None = None


class State(NamedTuple):
    """What the lake has of a part."""

    rows: int
    until_ms: int | None
    mark: str


def append(data_dir: Path, to: Attachment, *, wait: float = LOCK_WAIT) -> Exported:
    """Bring the lake up to what the history has; nothing there is ever made less. May die at any moment.

    `UsageError` where this machine cannot attach a DuckLake, `StoreError` where the lake takes nothing.
    """
    import duckdb

    take_in(data_dir, wait)
    file.existing(data_dir)
    done = Exported()
    try:
        with scratch(data_dir) as folder, extract(data_dir, folder, wait=wait) as source, _lake(to) as lake:
            parts = source.parts()
            known = {host: lake.states(host) for host in {part.host for part in parts}}
            for part in parts:
                _append(source, part, lake, known[part.host], folder / "new.parquet", done)
    except duckdb.Error as error:
        raise StoreError(" ".join(str(error).split())[:300]) from error
    except OSError as error:
        raise StoreError(f"{data_dir}: {error.strerror or error}") from error
    return done


def _append(
    source: Extract, part: Part, lake: _Child, known: dict[tuple[str, str | None], State], path: Path, done: Exported
) -> None:  # fmt: skip
    for attempt in range(TRIES):
        there = known.get((part.table, part.date))
        if there is not None and there.mark == part.mark:
            done.kept += 1
            return
        part, rows = source.take(part)
        if not rows:
            return
        state, merge, new = _step(source, part, rows, there)
        parquet.write(source.db, part, new, path)
        if lake.append(part, there, state, path, merge=merge):
            done.written += 1
            done.rows += new
            done.bytes += path.stat().st_size
            return
        # Others are at it: not all of them again at the same moment.
        time.sleep(random.random() * min(0.05 * 2**attempt, 2.0))
        known.clear()
        known.update(lake.states(part.host))
    raise StoreError(f"others wrote for {part.host} at the same time, {TRIES} times")


def _step(source: Extract, part: Part, rows: int, there: State | None) -> tuple[State, bool, int]:
    """The state after it, whether the lake has to look for what it lacks, and how many rows are sent."""
    if part.table != "sample":
        return State(rows, None, part.mark), False, rows
    run = source.db.execute
    until = parquet.newest_ms(source.db)
    if there is None or there.until_ms is None:
        return State(rows, until, part.mark), False, rows
    later = "time > make_timestamp_ms($1)"
    [(new,)] = run(f"SELECT count(*) FROM staged WHERE {later}", [there.until_ms]).fetchall()
    if there.rows + new != rows:
        # Some came in late, behind what is in the lake already, or the lake has some that are here no longer.
        return State(rows, max(until or 0, there.until_ms), part.mark), True, rows
    run(f"DELETE FROM staged WHERE NOT {later}", [there.until_ms])
    return State(rows, until, part.mark), False, new


class _Child:
    """Another Python that has the lake attached."""

    def __init__(self, process: subprocess.Popen[str], to: Attachment) -> None:
        self._process = process
        self._to = to
        self._ask({"attach": to.attach, "data_path": to.data_path})

    def states(self, host: str) -> dict[tuple[str, str | None], State]:
        """What the lake has of a host, by table and date."""
        return {(table, date): State(*rest) for table, date, *rest in self._ask({"states": host})}

    def append(self, part: Part, before: State | None, after: State, path: Path, *, merge: bool) -> bool:
        """Add a file and the part's new state at once; False where the lake is not as it was before."""
        of_it = [part.table, part.date]
        order = {
            "host": part.host, "before": [*of_it, *before] if before else None, "after": [*of_it, *after],
            "file": str(path.resolve()), "merge": merge,
        }  # fmt: skip
        return bool(self._ask({"append": order}))

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline() or "{}")
        except OSError:
            answer = {}
        if "result" in answer:
            return answer["result"]
        python = self._to.python or sys.executable
        if "missing" in answer:
            raise UsageError(
                f"history.attach: DuckDB {answer['duckdb']} of {python} has no extension {answer['missing']};"
                " history.attach-python names a Python that has it (docs/history-export.md)"
            )
        if "error" in answer:
            raise StoreError(f"the lake takes nothing: {_without_password(answer['error'])}")
        raise StoreError(f"{python} ended, which had the lake attached: {self._last_words()}")

    def _last_words(self) -> str:
        assert self._process.stderr
        self._process.kill()
        lines = self._process.stderr.read().strip().splitlines()
        return _without_password(lines[-1]) if lines else f"exit status {self._process.wait()}"


@contextmanager
def _lake(to: Attachment) -> Iterator[_Child]:
    python = to.python or Path(sys.executable)
    try:
        process = subprocess.Popen(
            [python, "-I", _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    except OSError as error:
        raise UsageError(f"history.attach-python: {python}: {error.strerror or error}") from None
    with process:
        try:
            yield _Child(process, to)
        finally:
            # Between two orders it has nothing under way.
            process.kill()


def _without_password(text: str) -> str:
    return re.sub(r"(password\s*=\s*)('[^']*'|[^\s\"']+)", r"\1…", text, flags=re.IGNORECASE)
