"""A Python whose DuckDB has the extension ducklake, and what a lake holds as that DuckDB says it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .components import component

Rows = list[list[Any]]

_ASK = """
import importlib.util, json, pathlib, sys, duckdb
db = duckdb.connect()
for name in ("postgres_scanner", "ducklake"):
    folder = pathlib.Path(importlib.util.find_spec(f"duckdb_extension_{name}").origin).parent
    db.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/{name}.duckdb_extension'")
db.execute(f"ATTACH '{sys.argv[1]}' AS lake")
db.execute("USE lake")
for line in iter(sys.stdin.readline, ""):
    print(json.dumps(db.execute(json.loads(line)).fetchall(), default=str), flush=True)
"""


def python() -> Path:
    """The interpreter, in an environment of its own."""
    return component("ducklake")


@contextmanager
def reader(attach: str) -> Iterator[Callable[[str], Rows]]:
    """Gives the rows of a query, without any code of ours; one process, as it takes a second to load the extension."""
    with subprocess.Popen(
        [python(), "-I", "-c", _ASK, attach], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout

        def ask(query: str) -> Rows:
            assert process.stdin and process.stdout
            process.stdin.write(json.dumps(query) + "\n")
            process.stdin.flush()
            rows: Rows = json.loads(process.stdout.readline())
            return rows

        try:
            yield ask
        finally:
            process.kill()
