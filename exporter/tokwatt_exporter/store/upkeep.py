"""Upkeep of the history, a bounded portion at a time: closed days are packed and rolled up, what is too old goes.

Each portion is one transaction, and what is packed again becomes the same: it may die at any moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.store import file, schema
from tokwatt_exporter.store.views import UNPACKED, rolled

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Rows of a portion: a second or two of work, in which nobody else can open the file.
ROWS = 1_000_000
#: A day is closed so long after its end: what waited in a journal has come in, and a clock set back is ahead again.
GRACE = timedelta(hours=1)
#: A counter grows over a gap of up to so many days.
GAP_DAYS = 2
#: Of what is in the file, the share that may be of no use any more before it is written anew.
WASTE = 0.2
_WASTE_BYTES = 64 * 2**20
_MEMORY = "768MB"

Step = Callable[[str], None]


class Retention(NamedTuple):
    """Seconds that samples and roll-ups are kept; None is for ever."""

    raw: float | None = 14 * 86400.0
    minutes: float | None = 90 * 86400.0
    hours: float | None = None


@dataclass(slots=True)
class Kept:
    """What a portion did; `more` says that there is another one to do now."""

    packed: int = 0
    expired_days: int = 0
    more: bool = False


def upkeep(
    data_dir: Path,
    retention: Retention,
    *,
    now: float | None = None,
    wait: float = 5.0,
    rows: int = ROWS,
    step: Step = lambda name: None,
) -> Kept:
    """Do one portion of what is due at `now`, Unix time. `StoreLocked` when another process holds the file.

    `step` is called before each thing that changes the file.
    """
    path = file.path_of(data_dir)
    if not path.exists():
        return Kept()
    moment = datetime.fromtimestamp(time.time() if now is None else now, UTC).replace(tzinfo=None)
    done = Kept()
    try:
        with file.store_lock(data_dir, wait):
            with file.connection(path, wait) as db:
                if schema.check(db, path) < len(schema.MIGRATIONS):
                    raise StoreError(f"{path} is of an older tokwatt; the next flush brings it up to date")
                # A checkpoint writes the lists of all days anew that are in one group of rows.
                db.execute(f"SET memory_limit = '{_MEMORY}'")
                portion = _Portion(db, retention, moment, step)
                done.packed, done.more = portion.pack(rows)
                if not done.more:
                    done.expired_days = portion.expire()
                step("checkpoint")
                db.execute("CHECKPOINT")
                wasted = _wasted(db)
            if wasted and not done.more:
                with suppress(file.NoRoom):
                    file.rewrite(path, wait, step)
    except OSError as error:
        raise StoreError(f"{data_dir}: {error.strerror or error}") from error
    return done


def due(db: DuckDBPyConnection, now: float) -> bool:
    """Whether there are rows of a closed day."""
    [(oldest,)] = db.execute("SELECT min(time) FROM sample_row").fetchall()
    return oldest is not None and oldest < _closed(datetime.fromtimestamp(now, UTC).replace(tzinfo=None))


def _closed(moment: datetime) -> datetime:
    """The end of the last day that is closed."""
    return datetime.combine((moment - GRACE).date(), datetime.min.time())


class _Portion:
    """One transaction's worth, on an open history."""

    def __init__(self, db: DuckDBPyConnection, retention: Retention, moment: datetime, step: Step) -> None:
        self._db = db
        self._retention = retention
        self._moment = moment
        self._step = step

    def pack(self, rows: int) -> tuple[int, bool]:
        """Rows packed, and whether there are further ones to pack."""
        found = self._db.execute(
            "SELECT time::DATE AS day, host, series_id, count(*) FROM sample_row JOIN series USING (series_id)"
            " WHERE time < $1 GROUP BY ALL ORDER BY ALL",
            [_closed(self._moment)],
        ).fetchall()
        if not found:
            return 0, False
        day, host = found[0][:2]
        chosen: list[int] = []
        total = 0
        for of_day, of_host, series_id, count in found:
            # Hosts have times of their own: lists over the times of two would be half empty.
            if (of_day, of_host) != (day, host) or (chosen and total + count > rows):
                break
            chosen.append(series_id)
            total += count
        self._step("pack")
        self._db.execute("BEGIN")
        self._db.execute("CREATE TEMP TABLE chosen AS SELECT unnest($1::INTEGER[]) AS series_id", [chosen])
        self._pack(day)
        self._step("commit")
        self._db.execute("COMMIT")
        self._db.execute("DROP TABLE chosen; DROP TABLE taken; DROP TABLE tick")
        return total, len(chosen) < len(found)

    def _pack(self, day: date) -> None:
        bounds = {"day": day, "next": day + timedelta(days=1)}
        of_day = "time >= $day AND time < $next AND series_id IN (SELECT series_id FROM chosen)"
        # One value a time: of two that a clock set back gave the same time, the newer one.
        self._db.execute(
            f"""CREATE TEMP TABLE taken AS SELECT series_id, time, arg_max(value, place) AS value FROM (
                SELECT series_id, time, value, rowid AS place FROM sample_row WHERE {of_day} UNION ALL
                SELECT series_id, time, value, -1 FROM ({UNPACKED}
                    WHERE day + 0 = $day AND series_id IN (SELECT series_id FROM chosen)) WHERE value IS NOT NULL)
            GROUP BY ALL""",
            bounds,
        )
        self._step("lists")
        self._replace_lists(day)
        self._step("roll-ups")
        for table, seconds in (("rollup_1m", 60), ("rollup_1h", 3600)):
            self._roll_up(table, seconds, bounds)
        self._step("rows")
        self._db.execute(f"DELETE FROM sample_row WHERE {of_day}", bounds)

    def _replace_lists(self, day: date) -> None:
        run = self._db.execute
        run("CREATE TEMP TABLE tick AS SELECT time, row_number() OVER (ORDER BY time)::INTEGER AS tick"
            " FROM (SELECT DISTINCT time FROM taken)")  # fmt: skip
        run("DELETE FROM sample_day WHERE day = $1 AND series_id IN (SELECT series_id FROM chosen)", [day])
        [(tick_id,)] = run("SELECT coalesce(max(tick_id), 0) + 1 FROM sample_tick").fetchall()
        run("INSERT INTO sample_tick SELECT $1, list(time ORDER BY tick) FROM tick", [tick_id])
        run(_LISTS, {"day": day, "tick_id": tick_id})

    def _roll_up(self, table: str, seconds: int, bounds: dict[str, date]) -> None:
        run = self._db.execute
        # A day that is older than its samples are kept has its roll-ups from when they were all there.
        run(
            f"""CREATE TEMP TABLE anew AS SELECT series_id FROM chosen WHERE $day >= $oldest OR series_id NOT IN (
                SELECT series_id FROM {table} WHERE time >= $day AND time < $next)""",
            bounds | {"oldest": self._oldest(self._retention.raw)},
        )
        run(f"DELETE FROM {table} WHERE time >= $day AND time < $next AND series_id IN (SELECT series_id FROM anew)",
            bounds)  # fmt: skip
        rows = """SELECT taken.*, metric, earlier.last FROM taken JOIN anew USING (series_id)
            JOIN series USING (series_id) LEFT JOIN (SELECT series_id, arg_max(last, time) AS last FROM rollup_1h
                WHERE time < $day AND time >= $earlier GROUP BY series_id) AS earlier USING (series_id)"""
        run(
            f"INSERT INTO {table} SELECT series_id, time, min, max, mean, last, count, increase"
            f" FROM ({rolled(rows, seconds, 'last')}) ORDER BY series_id, time",
            {"day": bounds["day"], "earlier": bounds["day"] - timedelta(days=GAP_DAYS)},
        )
        run("DROP TABLE anew")

    def expire(self) -> int:
        """Delete what is older than is kept; gives the days of samples."""
        oldest = self._oldest(self._retention.raw)
        [(days,)] = self._db.execute(
            "SELECT count(DISTINCT day) FROM sample_day WHERE day < $1", [oldest]
        ).fetchall()  # fmt: skip
        self._step("expire")
        self._db.execute("BEGIN")
        if days:
            self._db.execute("DELETE FROM sample_day WHERE day < $1", [oldest])
            self._db.execute("DELETE FROM sample_tick WHERE tick_id NOT IN (SELECT tick_id FROM sample_day)")
        for table, kept in (("rollup_1m", self._retention.minutes), ("rollup_1h", self._retention.hours)):
            self._step(table)
            self._db.execute(f"DELETE FROM {table} WHERE time < $1", [self._oldest(kept)])
        self._step("lists anew")
        self._close_gaps()
        self._step("commit")
        self._db.execute("COMMIT")
        return int(days)

    def _close_gaps(self) -> None:
        """Write the lists anew where many were deleted: DuckDB only marks them, as long as others are beside them."""
        [(places, live)] = self._db.execute("SELECT coalesce(max(rowid) + 1, 0), count(*) FROM sample_day").fetchall()
        if places - live <= WASTE * places:
            return
        self._db.execute(
            f"""CREATE TABLE sample_day_new {schema.SAMPLE_DAY};
            INSERT INTO sample_day_new SELECT * FROM sample_day;
            DROP TABLE sample_day;
            ALTER TABLE sample_day_new RENAME TO sample_day;
            CREATE INDEX sample_day_series ON sample_day (series_id);"""
        )

    def _oldest(self, kept: float | None) -> date:
        """The first day of what is kept. A clock that is far ahead for a while must not cost the past."""
        [(newest,)] = self._db.execute("SELECT max(day) FROM sample_day").fetchall()
        now = self._moment
        if newest is not None:
            now = min(now, datetime.combine(newest, datetime.min.time()) + timedelta(days=2))
        return date.min if kept is None or kept > 6e10 else (now - timedelta(seconds=kept)).date()


_AS_FLOAT = "coalesce(value = TRY_CAST(value AS FLOAT)::DOUBLE, false)"
# Ticks without a value between the first and the last of a series are NULL in its list.
_LISTS = f"""
INSERT INTO sample_day
WITH placed AS (SELECT series_id, tick, value FROM taken JOIN tick USING (time)),
span AS (SELECT series_id, min(tick) AS first_tick, max(tick) - min(tick) + 1 AS ticks,
        bool_and({_AS_FLOAT}) AS single, count(*) = max(tick) - min(tick) + 1 AS whole,
        count(*) = max(tick) - min(tick) + 1 AND min(value) = max(value) AS constant
    FROM placed GROUP BY series_id),
filled AS (SELECT series_id, tick, value FROM placed JOIN span USING (series_id) WHERE whole
        AND (NOT constant OR tick = first_tick)
    UNION ALL
    SELECT span.series_id, tick.tick, value
    FROM span JOIN tick ON tick.tick BETWEEN first_tick AND first_tick + ticks - 1
        LEFT JOIN placed ON placed.series_id = span.series_id AND placed.tick = tick.tick
    WHERE NOT whole)
SELECT series_id, $day, $tick_id, first_tick, ticks, CASE WHEN NOT single THEN list(value ORDER BY tick) END,
    CASE WHEN single THEN list(TRY_CAST(value AS FLOAT) ORDER BY tick) END
FROM filled JOIN span USING (series_id) GROUP BY series_id, first_tick, ticks, single ORDER BY series_id
"""


def _wasted(db: DuckDBPyConnection) -> bool:
    [(used, free, size)] = db.execute(
        "SELECT used_blocks, free_blocks, block_size FROM pragma_database_size()"
        " WHERE database_name = current_database()"
    ).fetchall()
    return bool(free * size > _WASTE_BYTES and free > used)
