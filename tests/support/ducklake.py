"""A Python whose DuckDB has the extension ducklake, and what a lake holds as that DuckDB says it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .components import component

_ASK = """
import importlib.util, json, pathlib, sys, duckdb
db = duckdb.connect()
for name in ("postgres_scanner", "ducklake"):
    folder = pathlib.Path(importlib.util.find_spec(f"duckdb_extension_{name}").origin).parent
    db.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/{name}.duckdb_extension'")
db.execute(f"ATTACH '{sys.argv[1]}' AS lake")
db.execute("USE lake")
print(json.dumps([db.execute(sql).fetchall() for sql in sys.argv[2:]], default=str))
"""


def python() -> Path:
    """The interpreter, in an environment of its own."""
    return component("ducklake")


def ask(attach: str, *queries: str) -> Sequence[list[list[Any]]]:
    """The rows of each query, without any code of ours."""
    done = subprocess.run(
        [python(), "-I", "-c", _ASK, attach, *queries], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[list[Any]]] = json.loads(done.stdout)
    return answers
