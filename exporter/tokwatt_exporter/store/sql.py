"""SQL of one's own over the history: one statement, for reading only, with an end to its time and its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokwatt_exporter.errors import StoreSlow, UsageError
from tokwatt_exporter.store import file, read

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

#: Kinds of statements that only read. What else reads in DuckDB (DESCRIBE, SHOW, SUMMARIZE) is a SELECT to it.
_READING = "SELECT", "EXPLAIN"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of an answer."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def ask(
    data_dir: Path, statement: str, limit: int, *, wait: float = read.LOCK_WAIT, timeout: float = read.TIMEOUT
) -> Table:
    """What a statement gives, the newest samples included; cells are what JSON can say.

    `UsageError` for what is not SQL, does not only read, takes longer than `timeout` seconds or gives more than `limit`
    rows; else errors as of `read.query`.
    """
    import duckdb

    read.take_in(data_dir, wait)
    file.existing(data_dir)
    try:
        with read.opened(data_dir, wait, timeout) as db:
            assert db is not None
            try:
                return _ask(db, statement, limit)
            except duckdb.InterruptException:
                # The time is up, which whoever opened the history knows.
                raise
            except duckdb.Error as error:
                raise UsageError(_explained(error)) from error
    except StoreSlow as error:
        raise UsageError(f"the statement took longer than {timeout:g} s; ask for less, or allow more time") from error


def _ask(db: DuckDBPyConnection, statement: str, limit: int) -> Table:
    statements = db.extract_statements(statement)
    if len(statements) != 1:
        raise UsageError(f"one SQL statement is taken, and there are {len(statements) or 'none'}")
    kind = str(statements[0].type.name)
    if kind not in _READING:
        raise UsageError(f"{kind} is not for reading, and the history is only read here; start with SELECT or FROM")
    found = db.sql(statements[0])
    # Numbered where a name is there twice, since the rows of JSON have names.
    columns = _distinct(found.columns)
    rows = _without_zones(found, columns).limit(limit + 1).fetchall()
    if len(rows) > limit:
        # A part would look like the whole.
        raise UsageError(f"there are more than {limit} rows; LIMIT in the SQL takes a part, --limit allows more")
    return Table(columns, [[_plain(cell) for cell in row] for row in rows])


def _without_zones(found: DuckDBPyRelation, columns: Sequence[str]) -> DuckDBPyRelation:
    """The same with times that have a zone in UTC: to read those DuckDB would need another package."""
    kinds = [str(kind) for kind in found.types]
    if not any(kind.endswith("WITH TIME ZONE") for kind in kinds):
        return found
    names = [f'"{name}"'.replace('"', '""')[1:-1] for name in columns]
    cells = (
        f"timezone('UTC', {name}) AS {name}" if kind == "TIMESTAMP WITH TIME ZONE" else name
        for name, kind in zip(names, kinds, strict=True)
    )
    return found.project(", ".join(cells))


def _distinct(names: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        unique, number = name, 1
        while unique in found:
            unique, number = f"{name}_{number}", number + 1
        found[unique] = None
    return list(found)


def _explained(error: Exception) -> str:
    said = read.first_line(error)
    if type(error).__name__ == "OutOfMemoryException":
        return "the statement needs more memory than a reader may use; ask for less"
    if "disabled by configuration" in said or "has been locked" in said or "disabled through configuration" in said:
        return f"only the history is read here: {said}"
    if "pytz" in said:
        return "a time with a zone cannot be printed from inside a list; cast it to TIMESTAMP"
    return f"the SQL is wrong: {said}"


def _plain(cell: Any) -> Any:
    """A cell as JSON has it: times as in every other answer, and null for what is no number."""
    if cell is None or isinstance(cell, str | bool | int):
        return cell
    if isinstance(cell, float | Decimal):
        return float(cell) if math.isfinite(cell) else None
    if isinstance(cell, datetime):
        return read.plain(cell)
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, Mapping):
        return {str(name): _plain(value) for name, value in cell.items()}
    if isinstance(cell, list | tuple):
        return [_plain(value) for value in cell]
    return cell.hex() if isinstance(cell, bytes | bytearray) else str(cell)
