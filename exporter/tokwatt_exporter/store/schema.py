"""The tables of the history, made and changed by numbered migrations that only go forward.

A shipped migration never changes, nor does a column it made: people ask these tables with tools of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.store.views import VIEWS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: `values` or, where the source has no more, `floats`: one for all ticks, or one a tick, NULL where there was none.
SAMPLE_DAY = """(series_id INTEGER NOT NULL, day DATE NOT NULL, tick_id INTEGER NOT NULL, first_tick INTEGER NOT NULL,
    ticks INTEGER NOT NULL, "values" DOUBLE[], floats FLOAT[])"""
_ROLLUP = """(series_id INTEGER NOT NULL, time TIMESTAMP_MS NOT NULL, min DOUBLE, max DOUBLE, mean DOUBLE,
    last DOUBLE NOT NULL, count INTEGER NOT NULL, increase DOUBLE)"""

_FIRST = """
CREATE TABLE series (series_id INTEGER PRIMARY KEY, metric VARCHAR NOT NULL, labels MAP(VARCHAR, VARCHAR) NOT NULL,
    host VARCHAR NOT NULL);
CREATE TABLE sample (series_id INTEGER NOT NULL, time TIMESTAMP_MS NOT NULL, value DOUBLE NOT NULL);
CREATE TABLE bench_run (run_id VARCHAR PRIMARY KEY, started TIMESTAMP_MS, finished TIMESTAMP_MS, host VARCHAR,
    tool_version VARCHAR, engine VARCHAR, engine_kind VARCHAR, engine_version VARCHAR, engine_url VARCHAR,
    model VARCHAR, scenario VARCHAR, concurrency INTEGER, runs INTEGER, failed INTEGER, max_tokens INTEGER,
    settings JSON, result JSON, generation_tokens_per_second DOUBLE, prompt_tokens_per_second DOUBLE,
    time_to_first_token_median_seconds DOUBLE, time_to_first_token_p95_seconds DOUBLE,
    inter_token_latency_median_seconds DOUBLE, energy_per_token_joules DOUBLE, peak_memory_bytes DOUBLE);
CREATE TABLE bench_request (run_id VARCHAR NOT NULL, request_index INTEGER, phase VARCHAR, started TIMESTAMP_MS,
    ok BOOLEAN, failure VARCHAR, prompt_tokens INTEGER, cached_tokens INTEGER, generated_tokens INTEGER,
    token_source VARCHAR, time_to_first_token_seconds DOUBLE, duration_seconds DOUBLE, chunk_offsets_ns BIGINT[],
    energy_joules DOUBLE);
CREATE TABLE journal_segment (name VARCHAR PRIMARY KEY, "offset" BIGINT NOT NULL);
CREATE VIEW metrics AS
    SELECT time, metric, labels, value, host FROM sample JOIN series USING (series_id);
CREATE VIEW bench_results AS
    SELECT finished AS time, host, engine, engine_kind, engine_version, model, scenario, concurrency, runs, failed,
        generation_tokens_per_second, prompt_tokens_per_second, time_to_first_token_median_seconds,
        time_to_first_token_p95_seconds, inter_token_latency_median_seconds, energy_per_token_joules,
        peak_memory_bytes, run_id
    FROM bench_run;
"""

# Rows as they arrive; closed days, a row a series and day, whose values belong to the times of their ticks; and what
# outlives both. An index, because a scan would unpack the lists of every series for the one that is wanted.
_SECOND = f"""
ALTER TABLE sample RENAME TO sample_row;
CREATE TABLE sample_tick (tick_id INTEGER NOT NULL, times TIMESTAMP_MS[] NOT NULL);
CREATE TABLE sample_day {SAMPLE_DAY};
CREATE INDEX sample_day_series ON sample_day (series_id);
CREATE TABLE rollup_1m {_ROLLUP};
CREATE TABLE rollup_1h {_ROLLUP};
{VIEWS}
"""

# Streams side by side, requests that were due at a time, and pairs.
_THIRD = """
ALTER TABLE bench_request ADD COLUMN lane INTEGER;
ALTER TABLE bench_request ADD COLUMN delay_seconds DOUBLE;
ALTER TABLE bench_request ADD COLUMN first_answer_token_seconds DOUBLE;
ALTER TABLE bench_request ADD COLUMN load_seconds DOUBLE;
ALTER TABLE bench_request ADD COLUMN finish VARCHAR;
ALTER TABLE bench_request ADD COLUMN block INTEGER;
ALTER TABLE bench_request ADD COLUMN problem VARCHAR;
"""

MIGRATIONS: tuple[str, ...] = (_FIRST, _SECOND, _THIRD)


def version(db: DuckDBPyConnection) -> int:
    """The schema version of an open history; 0 for one without tables."""
    import duckdb

    try:
        # All of it: a result that is not at its end stands in the way of whoever asks next.
        [(found,)] = db.execute("SELECT max(version) FROM schema_version").fetchall()
    except duckdb.CatalogException:
        # Only now: the list of tables takes DuckDB 17 ms, and every flush and query comes by here.
        if db.execute("SELECT 1 FROM duckdb_tables() LIMIT 1").fetchall():
            raise StoreError(
                "the file holds tables of something else; give tokwatt a data directory of its own"
            ) from None
        return 0
    return int(found or 0)


def check(db: DuckDBPyConnection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> int:
    """The schema version; `StoreError` for a file of a newer tokwatt, which is never written to."""
    found = version(db)
    if found > len(migrations):
        raise StoreError(
            f"{path} was written by a newer tokwatt (schema {found}, this one knows {len(migrations)}): upgrade tokwatt"
        )
    return found


def migrate(db: DuckDBPyConnection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the file to the newest schema, each step whole or not at all."""
    for number in range(check(db, path, migrations) + 1, len(migrations) + 1):
        db.execute("BEGIN")
        db.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER, applied TIMESTAMP_MS)")
        db.execute(migrations[number - 1])
        db.execute("INSERT INTO schema_version VALUES (?, make_timestamp_ms(epoch_ms(now())))", [number])
        db.execute("COMMIT")
