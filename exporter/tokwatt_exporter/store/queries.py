"""The named questions that can be asked of the history: what each takes and gives, and the SQL behind it.

Values are typed here and bound by DuckDB; no text of a caller becomes SQL. Nothing here needs DuckDB to be loaded.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tokwatt_exporter.catalogue import Family
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.store import rates
from tokwatt_exporter.store.expression import EXPRESSION, Expression
from tokwatt_exporter.store.params import LABELS, METRIC, STEP, TEXT, TIME, Type, count, near, time_ms
from tokwatt_exporter.store.samples import MATCHING, SAMPLES, by_step

#: Rows that one answer may have; `samples` refuses to give a part, the others give the newest.
MAX_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter: its type, and what it is when not given."""

    type: Type
    help: str
    default: Any = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Over:
    """How an expression is told over time: by which rows, and a value how often."""

    expression: Expression
    resolution: str
    step_ms: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query with its parameters, ready to run."""

    sql: str
    values: Mapping[str, Any]
    name: str = ""
    #: More rows than this are refused; None where the SQL itself sees to it.
    limit: int | None = None
    #: SQL and values that find the series asked for: series_id, which `sql` names as `:ids`, labels and host.
    series: tuple[str, Mapping[str, Any]] | None = None
    over: Over | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A named query. `bind` turns the converted parameters into the SQL and what it binds."""

    sql: str
    help: str
    #: Names of the columns of an answer, and what is in them: a word of `params.CELLS`.
    columns: Mapping[str, str]
    params: Mapping[str, Param] = field(default_factory=dict)
    bind: Callable[[str, dict[str, Any]], Prepared] = Prepared
    #: Whether more rows than the limit are an error, where a part would look like the whole.
    whole: bool = False
    #: Columns that a row may lack.
    optional: frozenset[str] = frozenset()


def prepare(name: str, params: Mapping[str, Any] | None = None) -> Prepared:
    """Check a query's name and parameters; `UsageError` with one line that says what is wrong."""
    query = QUERIES.get(name)
    if query is None:
        raise UsageError(f"there is no query {name}{near(name, QUERIES)}; there are: {', '.join(QUERIES)}")
    params = {key: value for key, value in (params or {}).items() if value is not None}
    if unknown := sorted(params.keys() - query.params.keys()):
        raise UsageError(f"{name} takes no {unknown[0]}; it takes: {', '.join(query.params) or 'nothing'}")
    values = {key: _convert(key, param, params) for key, param in query.params.items()}
    return replace(query.bind(query.sql, values), name=name, limit=values["limit"] if query.whole else None)


def _convert(key: str, param: Param, params: Mapping[str, Any]) -> Any:
    if key not in params:
        if param.required:
            raise UsageError(f"{key} is missing: {param.help}")
        return param.default() if callable(param.default) else param.default
    try:
        return param.type.convert(params[key])
    except ValueError as error:
        raise UsageError(f"{key}: {error}") from None


def _bind_samples(sql: str, given: dict[str, Any]) -> Prepared:
    family: Family = given["metric"]
    labels: dict[str, str] = given["labels"]
    if unknown := sorted(labels.keys() - set(family.labels)):
        has = f"it has {', '.join(family.labels)}" if family.labels else "it has none"
        raise UsageError(f"labels: {family.name} has no label {unknown[0][:80]}; {has}")
    wanted = {"metric": family.name, "names": list(labels), "wanted": list(labels.values())}
    bound = {"since": given["since"], "until": given["until"], "limit": given["limit"] + 1}
    if given["step"] is None:
        return Prepared(sql, bound, series=(MATCHING, wanted))
    return Prepared(by_step(given["step"]), bound | {"step": given["step"]}, series=(MATCHING, wanted))


def _bind_expression(sql: str, given: dict[str, Any]) -> Prepared:
    expression: Expression = given["expr"]
    since, until = given["since"], given["until"] if given["until"] is not None else time_ms(time.time())
    most = given["limit"]
    step = given["step"] or expression.step_ms(max(until - since, 1))
    first, last = -(-since // step) * step, until // step * step
    if (last - first) // step >= most:
        raise UsageError(f"step: more than {most} steps in that time; ask for a shorter time or a longer step")
    resolution = expression.resolution(step)
    bound = {
        "since": rates.since_ms(expression, resolution, first, step), "until": last, "first": first, "last": last,
        "step": step, "reach": expression.reach_ms(step), "grain": math.gcd(step, expression.reach_ms(step)),
        "limit": most + 1,
    }  # fmt: skip
    sql = rates.sql(expression, resolution)
    # DuckDB takes no value for which there is no place.
    bound = {name: bound[name] for name in set(re.findall(r"\$(\w+)", sql))}
    return Prepared(sql, bound, series=expression.series(), over=Over(expression, resolution, step))


def _bind_series(sql: str, given: dict[str, Any]) -> Prepared:
    return Prepared(sql, {"metric": given["metric"].name if given["metric"] else None})


_SAMPLE = {"time": "time", "labels": "labels", "value": "number"}
_FIGURES = {
    "generation_tokens_per_second": "number", "prompt_tokens_per_second": "number",
    "time_to_first_token_median_seconds": "number", "time_to_first_token_p95_seconds": "number",
    "inter_token_latency_median_seconds": "number", "energy_per_token_joules": "number", "peak_memory_bytes": "number",
}  # fmt: skip
_BENCH_RUN = {
    "run_id": "text", "started": "time", "finished": "time", "host": "text", "tool_version": "text", "engine": "text",
    "engine_kind": "text", "engine_version": "text", "engine_url": "text", "model": "text", "scenario": "text",
    "concurrency": "integer", "runs": "integer", "failed": "integer", "max_tokens": "integer", "settings": "json",
    "result": "json", **_FIGURES,
}  # fmt: skip
_BENCH_REQUEST = {
    "run_id": "text", "request_index": "integer", "phase": "text", "started": "time", "ok": "boolean",
    "failure": "text", "prompt_tokens": "integer", "cached_tokens": "integer", "generated_tokens": "integer",
    "token_source": "text", "time_to_first_token_seconds": "number", "duration_seconds": "number",
    "chunk_offsets_ns": "integers", "energy_joules": "number",
}  # fmt: skip
_CHANGES = ("generation_tokens_per_second", "time_to_first_token_median_seconds", "energy_per_token_joules")

_BENCH_LATEST = f"""
SELECT {", ".join(f"newest.{name}" for name in _BENCH_RUN)}, counted.runs_total, counted.runs_failed_total
FROM (SELECT * FROM bench_run QUALIFY row_number() OVER (
          PARTITION BY engine, model, scenario ORDER BY finished DESC NULLS LAST, run_id DESC) = 1) AS newest
JOIN (SELECT engine, model, scenario, count(*) AS runs_total,
          count(*) FILTER (WHERE failed >= runs) AS runs_failed_total
      FROM bench_run GROUP BY ALL) AS counted
  ON newest.engine IS NOT DISTINCT FROM counted.engine AND newest.model IS NOT DISTINCT FROM counted.model
 AND newest.scenario IS NOT DISTINCT FROM counted.scenario
ORDER BY finished DESC NULLS LAST
"""

_BENCH_RESULTS = f"""
SELECT {", ".join(_BENCH_RUN)} FROM bench_run
WHERE ($engine::VARCHAR IS NULL OR engine = $engine) AND ($model::VARCHAR IS NULL OR model = $model)
  AND ($scenario::VARCHAR IS NULL OR scenario = $scenario)
  AND ($since::BIGINT IS NULL OR finished >= make_timestamp_ms($since))
  AND ($until::BIGINT IS NULL OR finished <= make_timestamp_ms($until))
ORDER BY finished DESC NULLS LAST, run_id DESC LIMIT $limit
"""

_BENCH_CHANGES = f"""
SELECT finished, host, engine, engine_version, model, scenario, concurrency, earlier_runs,
    {", ".join(f"{name}, {name} / nullif(before_{name}, 0) - 1 AS {name}_change" for name in _CHANGES)}
FROM (SELECT *, {", ".join(f"median({name}) OVER before AS before_{name}" for name in _CHANGES)},
          count(*) OVER before AS earlier_runs,
          row_number() OVER (PARTITION BY host, engine, model, scenario, concurrency ORDER BY finished DESC,
              run_id DESC) AS place
      FROM bench_run WHERE finished IS NOT NULL
      WINDOW before AS (PARTITION BY host, engine, model, scenario, concurrency ORDER BY finished, run_id
          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING))
WHERE place = 1 AND finished >= make_timestamp_ms($since) ORDER BY finished DESC, run_id DESC LIMIT {MAX_ROWS}
"""

_WITHIN = "time >= make_timestamp_ms($since) AND ($until::BIGINT IS NULL OR time <= make_timestamp_ms($until))"
_PER_TOKEN = "sum(joules) / nullif(sum(generated_tokens) FILTER (joules IS NOT NULL), 0) AS joules_per_token"
_MODEL_ENERGY = f"""
SELECT engine, model, sum(generated_tokens) AS generated_tokens, sum(joules) AS joules, {_PER_TOKEN}
FROM models WHERE {_WITHIN} GROUP BY engine, model ORDER BY joules DESC NULLS LAST
"""
_ENGINES = f"""
SELECT engine, kind, version, host, min(time) AS first_seen, max(time) AS last_seen, avg(up_ratio) AS up_ratio,
    sum(generated_tokens) AS generated_tokens, sum(joules) AS joules, {_PER_TOKEN}
FROM engines WHERE {_WITHIN} GROUP BY engine, kind, version, host ORDER BY engine, host, first_seen
"""
_JOULES = {"generated_tokens": "number", "joules": "number", "joules_per_token": "number"}
_SINCE = Param(TIME, "a duration before now, an ISO 8601 time, or a Unix time", lambda: time_ms("1h"))
_MONTH = replace(_SINCE, default=lambda: time_ms("30d"))
_UNTIL = Param(TIME, "the end, as since; now where it is not given")
_EVER = replace(_SINCE, default=None)
_RANGE = {"since": _SINCE, "until": _UNTIL}
_WHOLE = Param(count(MAX_ROWS), "more rows than this are refused", 100_000)

QUERIES: dict[str, Query] = {
    "samples": Query(
        SAMPLES,
        "The samples of a metric, oldest first.",
        _SAMPLE | {"host": "text"},
        {
            "metric": Param(METRIC, "name of the metric, as on /metrics", required=True),
            "labels": Param(LABELS, "only series with these labels, NAME=VALUE", dict),
            **_RANGE,
            "step": Param(STEP, "one sample a step and series: the last"),
            "limit": _WHOLE,
        },
        _bind_samples,
        whole=True,
    ),
    "expression": Query(
        SAMPLES,
        "What an expression gives over time, a value a step: a metric, its rate or average, the sum of its series.",
        _SAMPLE | {"host": "text"},
        {
            "expr": Param(EXPRESSION, "as PromQL writes it: sum by (label) (rate(NAME[5m]))", required=True),
            **_RANGE,
            "step": Param(STEP, "a value a step; chosen by the time where it is not given"),
            "limit": _WHOLE,
        },
        _bind_expression,
        whole=True,
        # What is aggregated has its host among the labels, if at all.
        optional=frozenset(["host"]),
    ),
    "series": Query(
        "SELECT metric, labels, host FROM series WHERE $metric::VARCHAR IS NULL OR metric = $metric"
        f" ORDER BY metric, series_id LIMIT {MAX_ROWS}",
        "The series there are.",
        {"metric": "text", "labels": "labels", "host": "text"},
        {"metric": Param(METRIC, "only of this metric")},
        _bind_series,
    ),
    "model_energy": Query(
        _MODEL_ENERGY,
        "Tokens and energy of each model, by the hour's share of the tokens of its machine.",
        {"engine": "text", "model": "text", **_JOULES},
        {"since": _MONTH, "until": _UNTIL},
    ),
    "engine_energy": Query(
        _ENGINES,
        "Each version of each engine: since when and how long it was there, its tokens and their energy.",
        {"engine": "text", "kind": "text", "version": "text", "host": "text", "first_seen": "time",
         "last_seen": "time", "up_ratio": "number", **_JOULES},
        {"since": _MONTH, "until": _UNTIL},
    ),
    "bench_results": Query(
        _BENCH_RESULTS,
        "Benchmark runs, newest first.",
        _BENCH_RUN,
        {
            "engine": Param(TEXT, "only of this engine"),
            "model": Param(TEXT, "only of this model"),
            "scenario": Param(TEXT, "only of this scenario"),
            "since": _EVER,
            "until": _UNTIL,
            "limit": Param(count(10_000), "the newest so many", 100),
        },
    ),
    "bench_latest": Query(
        _BENCH_LATEST,
        "The newest run of each engine, model and scenario, with counts of all runs.",
        _BENCH_RUN | {"runs_total": "integer", "runs_failed_total": "integer"},
    ),
    "bench_changes": Query(
        _BENCH_CHANGES,
        "The newest run of each kind beside the median of those before it, as a share: 0.1 is a tenth more.",
        {"finished": "time", "host": "text", "engine": "text", "engine_version": "text", "model": "text",
         "scenario": "text", "concurrency": "integer", "earlier_runs": "integer",
         **{column: "number" for name in _CHANGES for column in (name, f"{name}_change")}},
        {"since": replace(_SINCE, help="only kinds whose newest run is not older", default=lambda: 0)},
    ),
    "bench_requests": Query(
        f"SELECT {', '.join(_BENCH_REQUEST)} FROM bench_request WHERE run_id = $run_id"
        " ORDER BY phase DESC, request_index",
        "The requests of one run.",
        _BENCH_REQUEST,
        {"run_id": Param(TEXT, "run_id of the run", required=True)},
    ),
}  # fmt: skip
