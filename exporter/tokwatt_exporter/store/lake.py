"""Appends to a DuckLake, in a Python whose DuckDB has that extension: a JSON line in, a JSON line out.

It imports nothing of tokwatt, so that a Python with `duckdb`, `duckdb-extension-ducklake` and the extension of the
catalogue's database is enough: python -I lake.py
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

#: A commit that finds another host's commit before it is tried again by DuckLake itself, so often.
RETRIES = 100
_TABLES = {
    "sample": "CREATE TABLE IF NOT EXISTS lake.sample (time TIMESTAMP_MS, host VARCHAR, metric VARCHAR,"
    " labels MAP(VARCHAR, VARCHAR), value DOUBLE)",
    "bench_run": "CREATE TABLE IF NOT EXISTS lake.bench_run AS SELECT * FROM given LIMIT 0",
    "bench_request": "CREATE TABLE IF NOT EXISTS lake.bench_request AS SELECT * FROM given LIMIT 0",
}
_BY_DAY = "ALTER TABLE lake.sample SET PARTITIONED BY (year(time), month(time), day(time))"


class Lake:
    """An attached DuckLake. Errors come out as those of duckdb."""

    def __init__(self, attach: str, data_path: str | None) -> None:
        self._db = duckdb.connect(config={"threads": 1, "memory_limit": "512MB"})
        self._db.execute("SET autoinstall_known_extensions = false")
        remote = data_path is not None and "://" in data_path
        for name in ("ducklake", *(["httpfs"] if remote else []), *_catalogue(attach)):
            self._load(name)
        self._db.execute(f"SET ducklake_max_retry_count = {RETRIES}")
        where = f" (DATA_PATH {_quoted(data_path)})" if data_path else ""
        self._attach(f"ATTACH {_quoted(attach)} AS lake{where}")
        if not self._has("sample"):
            self._begin()

    def _attach(self, sql: str) -> None:
        for left in reversed(range(10)):
            try:
                self._db.execute(sql)
                return
            except duckdb.Error as error:
                # The first host makes the tables of the catalogue, and so does another one at the same moment.
                if not left or not re.search("already exists|duplicate key", str(error)):
                    raise
            time.sleep(0.2)

    def _begin(self) -> None:
        try:
            self._db.execute(f"BEGIN; {_TABLES['sample']}; {_BY_DAY}; COMMIT")
        except duckdb.TransactionException:
            # Another host was the first.
            with suppress(duckdb.Error):
                self._db.execute("ROLLBACK")

    def states(self, host: str) -> list[list[Any]]:
        """What the lake has of a host: table, date, rows, time of the newest in milliseconds, mark."""
        if not self._has(_writer(host)):
            return []
        return self._states(host)

    def _states(self, host: str) -> list[list[Any]]:
        found = self._db.execute(
            f"SELECT part, date::VARCHAR, rows, epoch_ms(until), mark FROM lake.{_writer(host)} WHERE part IS NOT NULL"
        )
        return [list(row) for row in found.fetchall()]

    def append(self, order: dict[str, Any]) -> bool:
        """Add the rows of a file and what they make of the part's state, at once; False where the state is another one
        by now.
        """
        self._db.execute("BEGIN")
        try:
            good = self._append(**order)
            self._db.execute("COMMIT" if good else "ROLLBACK")
        except duckdb.Error as error:
            # A commit that fails has ended the transaction.
            with suppress(duckdb.Error):
                self._db.execute("ROLLBACK")
            # Someone else wrote for this host meanwhile, or made the tables.
            if isinstance(error, duckdb.TransactionException):
                return False
            raise
        return good

    def _append(self, *, host: str, before: list[Any] | None, after: list[Any], file: str, merge: bool) -> bool:
        run = self._db.execute
        part, date, *_ = after
        writer = _writer(host)
        run(f"CREATE TABLE IF NOT EXISTS lake.{writer} (host VARCHAR, part VARCHAR, date DATE, rows BIGINT,"
            " until TIMESTAMP_MS, mark VARCHAR)")  # fmt: skip
        if next((state for state in self._states(host) if state[:2] == [part, date]), None) != before:
            return False
        run(f"CREATE OR REPLACE TEMP VIEW given AS FROM read_parquet({_quoted(file)}, hive_partitioning = false)")
        run(_TABLES[part])
        if part != "sample":
            self._add_columns(part)
            run(f"INSERT INTO lake.{part} BY NAME FROM given WHERE run_id NOT IN (SELECT run_id FROM lake.{part})")
        else:
            day = _date(date)
            of_day = (
                "SELECT time, metric, labels FROM lake.sample WHERE host = $1"
                f" AND time >= DATE '{day}' AND time < DATE '{day}' + 1"
            )
            known = f" ANTI JOIN ({of_day}) USING (time, metric, labels)" if merge else ""
            run(f"INSERT INTO lake.sample SELECT time, $1, metric, labels, value FROM given{known}", [host])
            if merge:
                [(after[2],)] = run(f"SELECT count(*) FROM ({of_day})", [host]).fetchall()
        self._write_state(host, after)
        return True

    def _write_state(self, host: str, after: list[Any]) -> None:
        run, writer = self._db.execute, _writer(host)
        # The row without a part is deleted each time: of two who write for one host, the second one then fails, also
        # where the first was killed and its commit still went through.
        run(f"DELETE FROM lake.{writer} WHERE part IS NULL OR (part = $1 AND date IS NOT DISTINCT FROM $2::DATE)",
            after[:2])  # fmt: skip
        run(f"INSERT INTO lake.{writer} VALUES ($1, NULL, NULL, NULL, NULL, NULL),"
            " ($1, $2, $3::DATE, $4, make_timestamp_ms($5), $6)", [host, *after])  # fmt: skip

    def _add_columns(self, table: str) -> None:
        has = self._columns(f"lake.{table}")
        for name, kind in self._columns("given").items():
            if name not in has:
                self._db.execute(f'ALTER TABLE lake.{table} ADD COLUMN "{name}" {kind}')

    def _columns(self, table: str) -> dict[str, str]:
        columns = self._db.execute(f"SELECT * FROM {table} LIMIT 0").description or []
        return {name: str(kind) for name, kind, *_ in columns}

    def _has(self, table: str) -> bool:
        # Not out of the list of tables, which takes DuckLake longer the more hosts there are; not in a transaction,
        # which an error would end.
        try:
            self._db.execute(f"SELECT 1 FROM lake.{table} LIMIT 0")
        except duckdb.CatalogException:
            return False
        return True

    def _load(self, name: str) -> None:
        wheel = importlib.util.find_spec(f"duckdb_extension_{name}")
        inside = f"extensions/v{duckdb.__version__}/{name}.duckdb_extension"
        path = Path(wheel.origin).parent / inside if wheel and wheel.origin else None
        try:
            self._db.execute(f"LOAD {_quoted(str(path))}" if path and path.exists() else f"LOAD {name}")
        except duckdb.Error:
            raise Missing(name) from None


class Missing(Exception):
    """The extension that is not there."""


def _catalogue(attach: str) -> list[str]:
    kind = attach.split(":")[1] if attach.count(":") > 1 else ""
    return {"postgres": ["postgres_scanner"], "sqlite": ["sqlite_scanner"], "mysql": ["mysql_scanner"]}.get(kind, [])


def _writer(host: str) -> str:
    # A table a host: hosts that write at once do not meet.
    return f"writer_{hashlib.sha256(host.encode()).hexdigest()[:12]}"


def _date(text: str) -> str:
    if not re.fullmatch(r"\d{4,5}-\d\d-\d\d", text):
        raise ValueError(text)
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _answers(lines: Any) -> Any:
    lake: Lake | None = None
    for line in lines:
        order = json.loads(line)
        try:
            if lake is None:
                lake = Lake(order["attach"], order["data_path"])
                yield {"result": duckdb.__version__}
            elif "states" in order:
                yield {"result": lake.states(order["states"])}
            else:
                yield {"result": lake.append(order["append"])}
        except Missing as error:
            yield {"missing": str(error), "duckdb": duckdb.__version__}
            return
        except duckdb.Error as error:
            yield {"error": " ".join(str(error).split())[:300]}
            if lake is None:
                return


if __name__ == "__main__":
    for answer in _answers(iter(sys.stdin.readline, "")):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
