"""A report as rows, for spreadsheets and notebooks: a row a figure, or a row a request."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokwatt_bench.report.rows import rows
from tokwatt_exporter.errors import UsageError

if TYPE_CHECKING:
    from tokwatt_bench.measured import Measured

#: What says which result a row is of, before its own columns.
OF = {"run_id": "VARCHAR", "engine": "VARCHAR", "version": "VARCHAR", "model": "VARCHAR", "scenario": "VARCHAR",
      "concurrency": "INTEGER"}  # fmt: skip
FIGURE = {
    "figure": "VARCHAR", "unit": "VARCHAR", "p50": "DOUBLE", "ci95_low": "DOUBLE", "ci95_high": "DOUBLE",
    "p95": "DOUBLE", "p99": "DOUBLE", "max": "DOUBLE", "count": "INTEGER", "reason": "VARCHAR",
}  # fmt: skip
REQUEST = {
    "request_index": "INTEGER", "phase": "VARCHAR", "started": "TIMESTAMP_MS", "ok": "BOOLEAN", "failure": "VARCHAR",
    "prompt_tokens": "INTEGER", "cached_tokens": "INTEGER", "generated_tokens": "INTEGER", "token_source": "VARCHAR",
    "time_to_first_token_seconds": "DOUBLE", "duration_seconds": "DOUBLE", "energy_joules": "DOUBLE",
    "chunk_offsets_ns": "BIGINT[]",
}  # fmt: skip


def figure_rows(measured: Sequence[Measured]) -> Iterator[dict[str, Any]]:
    """A row a figure and result, in the figure's own unit."""
    for one in measured:
        for row in rows(one.result):
            own = (row.metric.name, row.metric.unit, *row[1:8], row.why or None)
            yield _of(one.result) | dict(zip(FIGURE, own, strict=True))


def request_rows(measured: Sequence[Measured]) -> Iterator[dict[str, Any]]:
    """A row a request, the warm-up included; `UsageError` where none of the results has any."""
    if not any(one.requests for one in measured):
        raise UsageError("--requests: this document has results only, without their requests")
    for one in measured:
        for request in one.requests:
            yield _of(one.result) | {name: request.get(name) for name in REQUEST}


def as_csv(columns: Mapping[str, str], found: Iterator[dict[str, Any]]) -> str:
    """Rows as CSV; the times of chunks are left out, a cell holds one thing."""
    names = [name for name, kind in columns.items() if not kind.endswith("[]")]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()


def as_parquet(columns: Mapping[str, str], found: Iterator[dict[str, Any]], path: Path) -> None:
    """Rows as Parquet, compressed with Zstandard; `OSError` where it cannot be written."""
    import duckdb

    spelled = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder, "rows.json")
        with lines.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in found)
        made = Path(folder, "rows.parquet")
        with duckdb.connect(":memory:") as db:
            db.execute(
                f"COPY (FROM read_json('{lines}', format = 'newline_delimited', columns = {{{spelled}}},"
                f" maximum_object_size = 268435456)) TO '{made}' (FORMAT parquet, COMPRESSION zstd)"
            )
        # Not to the place itself: its name may hold what SQL takes for its own.
        path.write_bytes(made.read_bytes())


def _of(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: result.get(name) for name in OF}
