"""The named questions that can be asked of the history: what each takes, and the SQL behind it.

Values are typed here and bound by DuckDB; no text of a caller becomes SQL. Nothing here needs DuckDB to be loaded.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tokwatt_exporter import parse
from tokwatt_exporter.catalogue import SERIES, Family
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.store.samples import MATCHING, SAMPLES, by_step

#: Rows that one answer may have; `samples` refuses to give a part, the others give the newest.
MAX_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter: how its text or value is read, and what it is when not given."""

    convert: Callable[[Any], Any]
    help: str
    default: Any = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A named query. `bind` turns the converted parameters into the SQL and what it binds."""

    sql: str
    help: str
    params: Mapping[str, Param] = field(default_factory=dict)
    bind: Callable[[str, dict[str, Any]], tuple[str, dict[str, Any]]] = lambda sql, given: (sql, given)
    #: Whether more rows than the limit are an error, where a part would look like the whole.
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query with its parameters, ready to run."""

    name: str
    sql: str
    values: Mapping[str, Any]
    limit: int | None
    #: SQL and values that find the series_id of the series asked for, which `sql` names as `:ids`.
    series: tuple[str, Mapping[str, Any]] | None = None


def prepare(name: str, params: Mapping[str, Any] | None = None) -> Prepared:
    """Check a query's name and parameters; `UsageError` with one line that says what is wrong."""
    query = QUERIES.get(name)
    if query is None:
        raise UsageError(f"there is no query {name}{_near(name, QUERIES)}; there are: {', '.join(QUERIES)}")
    params = {key: value for key, value in (params or {}).items() if value is not None}
    if unknown := sorted(params.keys() - query.params.keys()):
        raise UsageError(f"{name} takes no {unknown[0]}; it takes: {', '.join(query.params) or 'nothing'}")
    values = {key: _convert(key, param, params) for key, param in query.params.items()}
    sql, bound = query.bind(query.sql, values)
    found = {key: bound.pop(key) for key in ("metric", "names", "wanted")} if ":ids" in sql else {}
    return Prepared(name, sql, bound, values["limit"] if query.whole else None, (MATCHING, found) if found else None)


def _convert(key: str, param: Param, params: Mapping[str, Any]) -> Any:
    if key not in params:
        if param.required:
            raise UsageError(f"{key} is missing: {param.help}")
        return param.default() if callable(param.default) else param.default
    try:
        return param.convert(params[key])
    except ValueError as error:
        raise UsageError(f"{key}: {error}") from None


def _near(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _metric(raw: Any) -> Family:
    family = SERIES.get(str(raw))
    if family is None:
        raise ValueError(f"there is no metric {str(raw)[:80]}{_near(str(raw)[:80], SERIES)}")
    return family


def label_pairs(raw: Any) -> dict[str, str]:
    """`NAME=VALUE` texts, or a mapping."""
    if isinstance(raw, Mapping):
        return {str(name): str(value) for name, value in raw.items()}
    pairs: dict[str, str] = {}
    for text in [raw] if isinstance(raw, str) else raw:
        name, equals, value = str(text).partition("=")
        if not equals or not name:
            raise ValueError(f"{text!r} is not NAME=VALUE")
        if pairs.setdefault(name, value) != value:
            raise ValueError(f"{name} is given twice")
    return pairs


def time_ms(raw: Any) -> int:
    """Milliseconds of a duration before now, an ISO 8601 time (UTC unless it says so), or a Unix time."""
    if isinstance(raw, datetime):
        when = raw
    elif isinstance(raw, int | float) or re.fullmatch(r"\d+(\.\d+)?", str(raw).strip()):
        number = float(raw)
        # Grafana speaks in milliseconds, people in seconds; the first hundred billion ms ended in March 1973.
        return _in_range(number * (1 if abs(number) >= 1e11 else 1000), raw)
    else:
        text = str(raw).strip()
        try:
            return round(time.time() * 1000 - parse.duration(text) * 1000)
        except ValueError:
            pass
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is neither a duration like 10m nor a time like 2026-01-31T12:00") from None
    return _in_range((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000, raw)


def _in_range(time_ms: float, raw: Any) -> int:
    if not 0 <= time_ms < 253_402_300_800_000:
        raise ValueError(f"{str(raw)[:40]!r} is not a time between 1970 and 9999")
    return round(time_ms)


def _step_ms(raw: Any) -> int:
    seconds = float(raw) if isinstance(raw, int | float) else parse.duration(raw)
    if not 0.001 <= seconds < 1e9:
        raise ValueError(f"{raw!r} is not a step between 1ms and thirty years")
    return round(seconds * 1000)


def _count(most: int) -> Callable[[Any], int]:
    def convert(raw: Any) -> int:
        text = str(raw).strip()
        if not text.isdecimal() or not 1 <= int(text[:12]) <= most:
            raise ValueError(f"{text[:20]!r} is not a number from 1 to {most}")
        return int(text)

    return convert


def _text(raw: Any) -> str:
    if not isinstance(raw, str) or len(raw) > 1000:
        raise ValueError("is not a text of at most 1000 characters")
    return raw


def _bind_samples(sql: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    family: Family = given["metric"]
    labels: dict[str, str] = given["labels"]
    if unknown := sorted(labels.keys() - set(family.labels)):
        has = f"it has {', '.join(family.labels)}" if family.labels else "it has none"
        raise UsageError(f"labels: {family.name} has no label {unknown[0][:80]}; {has}")
    bound = {
        "metric": family.name, "names": list(labels), "wanted": list(labels.values()), "since": given["since"],
        "until": given["until"], "limit": given["limit"] + 1,
    }  # fmt: skip
    if given["step"] is None:
        return sql, bound
    return by_step(given["step"]), bound | {"step": given["step"]}


def _bind_series(sql: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return sql, {"metric": given["metric"].name if given["metric"] else None}


_BENCH_LATEST = """
SELECT newest.*, counted.runs_total, counted.runs_failed_total
FROM (SELECT * FROM bench_run QUALIFY row_number() OVER (
          PARTITION BY engine, model, scenario ORDER BY finished DESC NULLS LAST, run_id DESC) = 1) AS newest
JOIN (SELECT engine, model, scenario, count(*) AS runs_total,
          count(*) FILTER (WHERE failed >= runs) AS runs_failed_total
      FROM bench_run GROUP BY ALL) AS counted
  ON newest.engine IS NOT DISTINCT FROM counted.engine AND newest.model IS NOT DISTINCT FROM counted.model
 AND newest.scenario IS NOT DISTINCT FROM counted.scenario
ORDER BY finished DESC NULLS LAST
"""

_BENCH_RESULTS = """
SELECT * FROM bench_run
WHERE ($engine::VARCHAR IS NULL OR engine = $engine) AND ($model::VARCHAR IS NULL OR model = $model)
  AND ($scenario::VARCHAR IS NULL OR scenario = $scenario)
  AND ($since::BIGINT IS NULL OR finished >= make_timestamp_ms($since))
  AND ($until::BIGINT IS NULL OR finished <= make_timestamp_ms($until))
ORDER BY finished DESC NULLS LAST, run_id DESC LIMIT $limit
"""

_MODEL_ENERGY = """
SELECT engine, model, sum(generated_tokens) AS generated_tokens, sum(joules) AS joules,
    sum(joules) / nullif(sum(generated_tokens) FILTER (joules IS NOT NULL), 0) AS joules_per_token
FROM models
WHERE time >= make_timestamp_ms($since) AND ($until::BIGINT IS NULL OR time <= make_timestamp_ms($until))
GROUP BY engine, model ORDER BY joules DESC NULLS LAST
"""

_SINCE = "A duration before now, an ISO 8601 time, or a Unix time."

QUERIES: dict[str, Query] = {
    "samples": Query(
        SAMPLES,
        "The samples of a metric, oldest first.",
        {
            "metric": Param(_metric, "name of the metric, as on /metrics", required=True),
            "labels": Param(label_pairs, "only series with these labels, NAME=VALUE", dict),
            "since": Param(time_ms, _SINCE, lambda: time_ms("1h")),
            "until": Param(time_ms, _SINCE),
            "step": Param(_step_ms, "one sample a step and series: the last"),
            "limit": Param(_count(MAX_ROWS), "more rows than this are refused", 100_000),
        },
        _bind_samples,
        whole=True,
    ),
    "series": Query(
        "SELECT metric, labels, host FROM series WHERE $metric::VARCHAR IS NULL OR metric = $metric"
        f" ORDER BY metric, series_id LIMIT {MAX_ROWS}",
        "The series there are.",
        {"metric": Param(_metric, "only of this metric")},
        _bind_series,
    ),
    "model_energy": Query(
        _MODEL_ENERGY,
        "Tokens and energy of each model, by the hour's share of the tokens of its machine.",
        {"since": Param(time_ms, _SINCE, lambda: time_ms("30d")), "until": Param(time_ms, _SINCE)},
    ),
    "bench_results": Query(
        _BENCH_RESULTS,
        "Benchmark runs, newest first.",
        {
            "engine": Param(_text, "only of this engine"),
            "model": Param(_text, "only of this model"),
            "scenario": Param(_text, "only of this scenario"),
            "since": Param(time_ms, _SINCE),
            "until": Param(time_ms, _SINCE),
            "limit": Param(_count(10_000), "the newest so many", 100),
        },
    ),
    "bench_latest": Query(_BENCH_LATEST, "The newest run of each engine, model and scenario, with counts of all runs."),
    "bench_requests": Query(
        "SELECT * FROM bench_request WHERE run_id = $run_id ORDER BY phase DESC, request_index",
        "The requests of one run.",
        {"run_id": Param(_text, "run_id of the run", required=True)},
    ),
}
