"""What the commands print: tables for people, and the rows behind `--json` and `--csv`."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from tokwatt_exporter import config as configuration
from tokwatt_exporter.config import Config
from tokwatt_exporter.snapshot import Labels, Snapshot


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Print a table on stdout; None is an empty cell. As wide as it needs to be where stdout is not a terminal."""
    grid = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        grid.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*("" if cell is None else str(cell) for cell in row))
    terminal = sys.stdout.isatty()
    # Where nobody looks at it, no cell is folded: `grep` works.
    Console(markup=False, highlight=False, width=None if terminal else 1000).print(grid)


def iso(time_ms: int) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def label_text(labels: Labels | Mapping[str, str]) -> str:
    """Labels as PromQL writes them, without the braces."""
    pairs = labels.items() if isinstance(labels, Mapping) else labels
    return ", ".join(f'{name}="{value}"' for name, value in pairs)


def snapshot_json(snapshot: Snapshot) -> dict[str, Any]:
    """`{"time", "readings": [{"metric", "labels", "value", "unit"}]}`."""
    return {
        "time": iso(snapshot.time_ms),
        "readings": [
            {"metric": family.name, "labels": dict(labels), "value": value, "unit": family.unit}
            for family, labels, value in snapshot
        ],
    }


def snapshot_table(snapshot: Snapshot) -> None:
    """Every series of a snapshot with its value and unit (UCUM)."""
    rows = ((series(family.name, labels), number(value), family.unit) for family, labels, value in snapshot)
    table(("series", "value", "unit"), rows, right=("value",))


def series(name: str, labels: Labels) -> str:
    """A series as PromQL writes it."""
    return f"{name}{{{label_text(labels)}}}" if labels else name


def number(value: float) -> str:
    """A number for people: whole ones in full, others with six digits, times with milliseconds."""
    return f"{value:.0f}" if value == int(value) else f"{value:.{13 if abs(value) >= 1e6 else 6}g}"


def engines_table(found: Sequence[Any]) -> None:
    """The engines that were found; a line on stderr where there are none."""
    if not found:
        sys.stderr.write(
            "no engine was found on this machine; name one with --url or [[engine]] in the configuration\n"
        )
        return
    rows = ((f.name, f.kind, f.version, f.url, ", ".join(f.models), "; ".join(f.evidence)) for f in found)
    table(("engine", "kind", "version", "url", "models", "evidence"), rows)


def facts_table(facts: Mapping[str, Any]) -> None:
    """Name and value, a line each; what is not known is left out."""
    table(("fact", "value"), ((name, value) for name, value in facts.items() if value is not None))


def samples_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Samples as a table, oldest first."""
    table(("time", "labels", "value"), ((r["time"], label_text(r["labels"]), number(r["value"])) for r in rows),
          right=("value",))  # fmt: skip


def samples_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Samples as CSV: time, one column a label, value."""
    names = sorted({name for row in rows for name in row["labels"]})
    out = csv.writer(sys.stdout)
    out.writerow(["time", *names, "value"])
    out.writerows([row["time"], *(row["labels"].get(name, "") for name in names), row["value"]] for row in rows)


def rows_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows as CSV under the names of their columns; lists and maps are JSON, and None is an empty cell."""
    out = csv.writer(sys.stdout)
    out.writerow(columns)
    for row in rows:
        out.writerow([json.dumps(cell, ensure_ascii=False) if isinstance(cell, list | dict) else cell for cell in row])


def settings_rows(config: Config) -> list[dict[str, Any]]:
    """`{"key", "value", "source"}` of every setting; secrets are `<hidden>`."""
    rows = []
    for f in configuration.options():
        key, value = f.metadata["key"], getattr(config, f.name)
        if f.metadata["secret"] and value:
            value = "<hidden>"
        rows.append({"key": key, "value": _plain(value), "source": config.sources[key]})
    for name, wanted in config.collectors.items():
        rows.append({"key": f"collector.{name}", "value": wanted, "source": config.sources[f"collector.{name}"]})
    for number, engine in enumerate(config.engines, 1):
        for name, value in engine._asdict().items():
            if value is not None:
                rows.append({"key": f"engine[{number}].{name}", "value": _plain(value), "source": config.file_source})
    return rows


def settings_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Settings as a table."""
    table(("setting", "value", "source"), ((r["key"], _shown(r["value"]), r["source"]) for r in rows))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [_plain(part) for part in value]
    return str(value)


def _shown(value: Any) -> str | None:
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)
