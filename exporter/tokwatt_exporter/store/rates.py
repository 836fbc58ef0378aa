"""The SQL of expressions over time: a value a step and series from raw samples or roll-ups, then aggregated.

As in Prometheus, a window holds what is after its beginning and up to its end. A minute or an hour that is rolled up is
at its end; the sample that is on the boundary itself then belongs to the next one.
"""

from __future__ import annotations

import re

from tokwatt_exporter.store.expression import LEVELS, OF_COUNTERS, RAW, Expression
from tokwatt_exporter.store.samples import SAMPLES_OF

#: Milliseconds before a window in which the sample is looked for that a counter has grown from.
LOOK_BACK_MS = 3_600_000

_LENGTHS = dict(LEVELS)
_BETWEEN = "time >= make_timestamp_ms($since) AND time <= make_timestamp_ms($until)"
_OVER_TIME = {
    "avg_over_time": "sum(mean * count) / sum(count)", "min_over_time": "min(min)", "max_over_time": "max(max)",
}  # fmt: skip
#: A counter that falls was reset, and then counts from 0.
_GROWN = "CASE WHEN value < before THEN value ELSE value - before END AS grown"
_RAW_GROWTH = f"""
    SELECT series_id, epoch_ms(time) AS time, {_GROWN} FROM (
        SELECT *, lag(value) OVER earlier AS before, lag(time) OVER earlier AS seen FROM ({SAMPLES_OF})
        WINDOW earlier AS (PARTITION BY series_id ORDER BY time))
    WHERE epoch_ms(time) - epoch_ms(seen) <= {LOOK_BACK_MS}
"""
# What is not packed yet has grown from what was packed last.
_LIVE_GROWTH = f"""
    SELECT series_id, epoch_ms(time) AS time, {_GROWN} FROM (
        SELECT series_id, time, value,
            coalesce(lag(value) OVER (PARTITION BY series_id ORDER BY time), packed.last) AS before
        FROM sample_row LEFT JOIN (
            SELECT series_id, arg_max(last, time) AS last FROM rollup_1h
            WHERE series_id IN (:ids) AND time >= (SELECT min(time) - INTERVAL 2 DAYS FROM sample_row)
              AND time < (SELECT min(time) FROM sample_row)
            GROUP BY series_id) AS packed USING (series_id)
        WHERE series_id IN (:ids) AND time <= make_timestamp_ms($until))
    WHERE before IS NOT NULL AND time >= make_timestamp_ms($since)
"""


def sql(expression: Expression, resolution: str) -> str:
    """SQL of time, number of the group and value, where `:groups` stands for rows of series_id and number.

    It binds `$since` and `$until` of the rows, `$first`, `$last` and `$step` of the steps, `$reach` and `$grain`, and
    `$limit`.
    """
    if expression.function is None:
        values = _held(resolution)
    elif expression.function in OF_COUNTERS:
        values = _growth(expression.function, resolution)
    else:
        values = _over_time(expression.function, resolution)
    return f"""
        SELECT strftime(make_timestamp_ms(tick), '%Y-%m-%dT%H:%M:%S.%gZ') AS time, number,
            {expression.aggregation or "any_value"}(value) AS value
        FROM ({values}) JOIN (VALUES :groups) AS grouped(series_id, number) USING (series_id)
        WHERE tick BETWEEN $first AND $last GROUP BY tick, number ORDER BY tick, number LIMIT $limit
    """


def since_ms(expression: Expression, resolution: str, first_ms: int, step_ms: int) -> int:
    """The time of the oldest row that the first step needs."""
    before = LOOK_BACK_MS if expression.function in OF_COUNTERS and resolution == RAW else 0
    return max(0, first_ms - expression.reach_ms(step_ms) - before)


def _rows(resolution: str, rolled: str, raw: str) -> str:
    """Series, time in milliseconds and these columns, of roll-ups and of what is not rolled up yet."""
    if resolution == RAW:
        return f"SELECT series_id, epoch_ms(time) AS time, {raw} FROM ({SAMPLES_OF})"
    return f"""
        SELECT series_id, epoch_ms(time) + {_LENGTHS[resolution] - 1} AS time, {rolled} FROM rollup_{resolution}
        WHERE series_id IN (:ids) AND {_BETWEEN}
        UNION ALL SELECT series_id, epoch_ms(time), {raw} FROM sample_row WHERE series_id IN (:ids) AND {_BETWEEN}
    """


def _held(resolution: str) -> str:
    rows = _rows(resolution, "last AS value", "value")
    # Not by ASOF JOIN, which takes the square of the rows where DuckDB believes that they are few.
    return f"""
        SELECT series_id, value, unnest(range(tick, least(time + $reach,
            coalesce(lead(tick) OVER (PARTITION BY series_id ORDER BY tick), $last + 1)), $step)) AS tick
        FROM (SELECT series_id, (time + $step - 1) // $step * $step AS tick, max(time) AS time,
                  arg_max(value, time) AS value FROM ({rows}) GROUP BY ALL)
    """


def _over_time(function: str, resolution: str) -> str:
    rows = _rows(resolution, "min, max, mean, count", "value AS min, value AS max, value AS mean, 1 AS count")
    parts = "min(min) AS min, max(max) AS max, sum(mean * count) / sum(count) AS mean, sum(count) AS count"
    return _windows(rows, parts, _OVER_TIME[function], "count")


def _growth(function: str, resolution: str) -> str:
    rows = _RAW_GROWTH
    if resolution != RAW:
        rows = f"""SELECT series_id, epoch_ms(time) + {_LENGTHS[resolution] - 1} AS time, increase AS grown
            FROM rollup_{resolution} WHERE series_id IN (:ids) AND {_BETWEEN} UNION ALL {_LIVE_GROWTH}"""
    return _windows(
        rows, "sum(grown) AS grown", "sum(grown)" + (" / ($reach / 1000)" if function == "rate" else ""), "grown"
    )


def _windows(rows: str, parts: str, value: str, there: str) -> str:
    """The value of the window that ends at each step, where a row in it has a value in the column `there`.

    `parts` are made of the rows of each `$grain` first, at which all windows begin and end.
    """
    value = re.sub(r"\w+\([^()]*\)", r"\g<0> OVER reached", value)
    return f"""
        SELECT series_id, tick, value FROM (
            SELECT series_id, time AS tick, step, {value} AS value, count({there}) OVER reached AS found
            FROM (SELECT series_id, (time + $grain - 1) // $grain * $grain AS time, {parts}, false AS step
                  FROM ({rows}) GROUP BY ALL UNION ALL BY NAME
                  SELECT series_id, unnest(range($first, $last + 1, $step)) AS time, true AS step
                  FROM (SELECT unnest([:ids]) AS series_id))
            WINDOW reached AS (PARTITION BY series_id ORDER BY time RANGE BETWEEN $reach - 1 PRECEDING AND CURRENT ROW))
        WHERE step AND found > 0
    """
