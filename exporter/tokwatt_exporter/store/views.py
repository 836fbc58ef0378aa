"""The SQL that reads the tables of the history as people want them: samples whole again, roll-ups up to now, energy.

A shipped migration holds this text, so it is never changed: a new migration replaces a view.
"""

from __future__ import annotations

from tokwatt_exporter.catalogue import (
    ENERGY,
    ENGINE_INFO,
    ENGINE_UP,
    GENERATION_TOKENS,
    PACKAGE_ENERGY,
    PROMPT_TOKENS,
    SYSTEM_ENERGY,
)

#: Whether a metric is a counter, by its name, as Prometheus knows it; the parts of a histogram are.
IS_COUNTER = "regexp_matches(metric, '_(total|bucket|count|sum)$')"

#: The rows of days that are packed, out of their lists; `WHERE` and the like may follow. A single value stands for all.
UNPACKED = """
    SELECT series_id, unnest(times[first_tick:first_tick + ticks - 1]) AS time, unnest(
        CASE WHEN len(coalesce("values", floats)) = 1 THEN list_resize(coalesce("values", floats), ticks,
            coalesce("values", floats)[1]) ELSE coalesce("values", floats) END) AS value
    FROM sample_day JOIN sample_tick USING (tick_id)
"""


def rolled(rows: str, seconds: int, before: str = "NULL::DOUBLE") -> str:
    """SQL of the roll-up of `rows` (series_id, time, value, metric): one row a series and so many seconds.

    A counter that falls was reset, and then counts from 0. `before` is the value that a series had before its rows.
    """
    return f"""
        SELECT series_id, time_bucket(INTERVAL {seconds} SECONDS, time)::TIMESTAMP_MS AS time,
            min(value) FILTER (NOT counter) AS min, max(value) FILTER (NOT counter) AS max,
            avg(value) FILTER (NOT counter) AS mean, arg_max(value, time) AS last, count(*)::INTEGER AS count,
            sum(CASE WHEN value < before THEN value ELSE value - coalesce(before, value) END) FILTER (counter)
                AS increase
        FROM (SELECT *, {IS_COUNTER} AS counter, coalesce(lag(value) OVER (PARTITION BY series_id ORDER BY time),
                  {before}) AS before FROM ({rows}))
        GROUP BY ALL
    """


def _up_to_now(table: str, seconds: int) -> str:
    # What is not packed yet is not in the roll-ups either.
    live = rolled("SELECT sample_row.*, metric FROM sample_row JOIN series USING (series_id)", seconds)
    return f"""
        SELECT rows.time, metric, labels, min, max, mean, last, count, increase, host
        FROM (SELECT series_id, time, min, max, mean, last, count, increase FROM {table} UNION ALL
              SELECT series_id, time, min, max, mean, last, count, increase FROM ({live})) AS rows
        JOIN series USING (series_id)
    """


_HOST_ENERGY = f"""
    SELECT time, host, coalesce(sum(increase) FILTER (metric = '{SYSTEM_ENERGY}'), greatest(
        sum(increase) FILTER (metric = '{PACKAGE_ENERGY}'), sum(increase) FILTER (metric = '{ENERGY}'))) AS joules
    FROM metrics_1h WHERE metric IN ('{SYSTEM_ENERGY}', '{PACKAGE_ENERGY}', '{ENERGY}') GROUP BY ALL
"""
_TOKENS = f"""
    SELECT time, host, labels['engine'] AS engine, labels['model'] AS model,
        sum(increase) FILTER (metric = '{PROMPT_TOKENS}') AS prompt_tokens,
        sum(increase) FILTER (metric = '{GENERATION_TOKENS}') AS generated_tokens
    FROM metrics_1h WHERE metric IN ('{PROMPT_TOKENS}', '{GENERATION_TOKENS}') GROUP BY ALL
"""
_ENGINES = f"""
    SELECT time, host, labels['engine'] AS engine, labels['kind'] AS kind, labels['version'] AS version
    FROM metrics_1h WHERE metric = '{ENGINE_INFO}'
    QUALIFY row_number() OVER (PARTITION BY time, host, engine ORDER BY count DESC, version) = 1
"""

VIEWS = f"""
CREATE VIEW sample AS
    SELECT series_id, time, value FROM sample_row UNION ALL
    SELECT series_id, time, value FROM ({UNPACKED}) WHERE value IS NOT NULL;
CREATE VIEW metrics_1m AS {_up_to_now("rollup_1m", 60)};
CREATE VIEW metrics_1h AS {_up_to_now("rollup_1h", 3600)};
CREATE VIEW power AS
    SELECT time, host, CASE metric WHEN '{ENERGY}' THEN labels['device'] WHEN '{PACKAGE_ENERGY}' THEN 'package'
        ELSE 'system' END AS device, increase AS joules, increase / 60 AS watts
    FROM metrics_1m WHERE metric IN ('{SYSTEM_ENERGY}', '{PACKAGE_ENERGY}', '{ENERGY}');
CREATE VIEW models AS
    SELECT time, host, engine, model, prompt_tokens, generated_tokens,
        joules * generated_tokens / nullif(sum(generated_tokens) OVER (PARTITION BY time, host), 0) AS joules
    FROM ({_TOKENS}) LEFT JOIN ({_HOST_ENERGY}) USING (time, host);
CREATE VIEW engines AS
    SELECT time, host, engine, kind, version, up_ratio, generated_tokens, joules
    FROM ({_ENGINES})
    LEFT JOIN (SELECT time, host, labels['engine'] AS engine, mean AS up_ratio FROM metrics_1h
               WHERE metric = '{ENGINE_UP}') USING (time, host, engine)
    LEFT JOIN (SELECT time, host, engine, sum(generated_tokens) AS generated_tokens, sum(joules) AS joules
               FROM models GROUP BY ALL) USING (time, host, engine);
"""
