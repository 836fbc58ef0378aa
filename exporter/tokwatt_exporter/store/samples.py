"""The SQL of samples over time: raw ones, and one a step from the roll-up that tells it."""

from __future__ import annotations

from tokwatt_exporter.store.views import UNPACKED

#: The series that have a metric, where it is given, and these labels.
MATCHING = """
SELECT series_id, labels, host FROM series
WHERE ($metric::VARCHAR IS NULL OR metric = $metric)
  AND list_has_all(map_entries(labels), map_entries(map($names::VARCHAR[], $wanted::VARCHAR[])))
"""
#: Made by DuckDB: Python needs ten times as long for each row.
_TEXT = "strftime(found.time, '%Y-%m-%dT%H:%M:%S.%gZ')"
_TIME = "time >= make_timestamp_ms($since) AND ($until::BIGINT IS NULL OR time <= make_timestamp_ms($until))"
#: The samples of some series: rows that are not packed yet, and those of the days that may hold some. An expression
#: around `day` keeps DuckDB on the index of series, which is better than any other way.
SAMPLES_OF = f"""
    SELECT series_id, time, value FROM sample_row WHERE series_id IN (:ids) AND {_TIME}
    UNION ALL
    SELECT series_id, time, value FROM ({UNPACKED}
        WHERE series_id IN (:ids) AND day + 0 >= make_timestamp_ms($since)::DATE
          AND ($until::BIGINT IS NULL OR day + 0 <= make_timestamp_ms($until)::DATE))
    WHERE value IS NOT NULL AND {_TIME}
"""
#: Every sample of some series, which `:ids` stands for.
SAMPLES = f"""
SELECT {_TEXT} AS time, series_id, value FROM ({SAMPLES_OF}) AS found ORDER BY found.time, series_id LIMIT $limit
"""


def by_step(step_ms: int) -> str:
    """SQL of the last value of each step, from the coarsest rows that tell it."""
    rows = SAMPLES_OF
    if step_ms % 3_600_000 == 0:
        rows = _rolled("rollup_1h", 3600)
    elif step_ms % 60_000 == 0:
        # Minutes are not kept as long as hours are.
        rows = f"""{_rolled("rollup_1m", 60)} UNION ALL
            SELECT series_id, time, last FROM rollup_1h WHERE series_id IN (:ids) AND {_TIME}
              AND time < (SELECT coalesce(date_trunc('day', min(time)), 'infinity') FROM rollup_1m)"""
    return f"""
        SELECT {_TEXT} AS time, series_id, value FROM (
            SELECT series_id, max(time) AS time, arg_max(value, time) AS value FROM ({rows})
            GROUP BY series_id, epoch_ms(time) // $step)
        AS found ORDER BY found.time, series_id LIMIT $limit
    """


def _rolled(table: str, seconds: int) -> str:
    # A row stands at the beginning of its minute or hour, and so do samples that are not rolled up yet.
    begins = f"make_timestamp_ms($since // {1000 * seconds} * {1000 * seconds})"
    until = "($until::BIGINT IS NULL OR time <= make_timestamp_ms($until))"
    return f"""
        SELECT series_id, time, last AS value FROM {table} WHERE series_id IN (:ids) AND time >= {begins} AND {until}
        UNION ALL
        SELECT series_id, time_bucket(INTERVAL {seconds} SECONDS, max(time))::TIMESTAMP_MS, arg_max(value, time)
        FROM sample_row WHERE series_id IN (:ids) AND {_TIME} GROUP BY series_id, epoch_ms(time) // {1000 * seconds}
    """
