"""What the read-only tools look at. Nothing here writes: not into the history, not into an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokwatt_exporter import __version__, show
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.attached import NotAttached, attach
from tokwatt_exporter.catalogue import Family
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.mcp_server import answers
from tokwatt_exporter.snapshot import Snapshot

#: Rows of one page.
MOST_ROWS = 1000
_MODEL = {
    "memory_bytes": c.MODEL_MEMORY, "context_tokens": c.MODEL_CONTEXT, "requests_running": c.REQUESTS_RUNNING,
}  # fmt: skip


def health(config: Config) -> answers.Health:
    """Whether a daemon answers, and what it reads."""
    try:
        found = attach(config)
    except NotAttached as error:
        return answers.Health(daemon=False, problem=str(error), version=__version__)
    values = found.snapshot.values
    problems = {dict(labels)["collector"]: dict(labels).get("reason", "") for labels in
                values.get(c.COLLECTOR_PROBLEM, {})}  # fmt: skip
    reading = {dict(labels)["collector"] for labels, ok in values.get(c.COLLECTOR_SUCCESS, {}).items() if ok}
    return answers.Health(
        daemon=True, url=found.url, version=__version__, collectors_reading=sorted(reading),
        collector_problems=problems,
    )  # fmt: skip


def newest(config: Config) -> tuple[str, Snapshot]:
    """Where it is from, and the daemon's newest snapshot, or one taken now where none runs."""
    try:
        return "daemon", attach(config).snapshot
    except NotAttached:
        from tokwatt_exporter.daemon import sample_once

        return "own sample", sample_once(config)[1]


def snapshot(config: Config, metrics: list[str] | None) -> answers.Snapshot:
    """The newest snapshot, whole or of these metrics; `UsageError` for a name that there is not."""
    for name in metrics or ():
        if name not in c.SERIES:
            raise UsageError(f"there is no metric {name[:80]}; the resource tokwatt://metrics lists them")
    source, now = newest(config)
    readings = [
        answers.Value(metric=family.name, labels=dict(labels), value=value, unit=family.unit)
        for family, labels, value in now
        if not metrics or family.name in metrics
    ]
    return answers.Snapshot(time=show.iso(now.time_ms), source=source, readings=readings)


def models(config: Config) -> answers.Models:
    """The models in memory."""
    _, now = newest(config)
    found = []
    for labels in now.values.get(c.MODEL_INFO, {}):
        facts: dict[str, Any] = dict(labels)
        for name, family in _MODEL.items():
            facts[name] = _one(now, family, facts)
        found.append(answers.Model(**facts))
    return answers.Models(models=found)


def _one(now: Snapshot, family: Family, labels: Mapping[str, str]) -> float | None:
    key = tuple((name, labels[name]) for name in family.labels if name in labels)
    return now.values.get(family, {}).get(key)


def engines(config: Config) -> answers.Engines:
    """The engines found now."""
    from tokwatt_exporter.engines.discovery import find_now

    return answers.Engines(engines=[
        answers.Engine(name=one.name, kind=one.kind, version=one.version, url=one.url, up=one.up,
                       models=list(one.models), evidence=list(one.evidence), problem=one.problem)
        for one in find_now(config)
    ])  # fmt: skip


def page(config: Config, name: str, params: Mapping[str, Any], limit: int, cursor: str | None) -> answers.Page:
    """Rows of a named query as the file has them; what still waits in the journal comes with the next commit."""
    if not 1 <= limit <= MOST_ROWS:
        raise UsageError(f"limit: {limit} is not a number from 1 to {MOST_ROWS}")
    first = int(cursor) if cursor and cursor.isdecimal() and len(cursor) < 10 else 0
    if cursor and not first:
        raise UsageError("cursor: give the next_cursor of the page before")
    rows = _rows(config, name, params)
    some = rows[first : first + limit]
    more = first + limit < len(rows)
    return answers.Page(rows=some, next_cursor=str(first + limit) if more else None)


def _rows(config: Config, name: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    from tokwatt_exporter.store import read
    from tokwatt_exporter.store.queries import prepare

    prepared = prepare(name, params)
    # Not `read.query`, which takes the journal in and so writes.
    with read.opened(config.data_dir, read.LOCK_WAIT, read.TIMEOUT) as db:
        return read.rows_of(db, prepared) if db else []


def diagnosis(config: Config, prometheus: str | None) -> answers.Diagnosis:
    """What the doctor finds; also of a Prometheus that should scrape this machine."""
    from tokwatt_exporter.doctor.finding import as_json
    from tokwatt_exporter.doctor.run import diagnose

    return answers.Diagnosis(**as_json(diagnose(config, prometheus)))


def alerts(config: Config) -> answers.Alerts:
    """What `tokwatt watch` would say fires now; `UsageError` where there is no history to judge."""
    from tokwatt_exporter.alerts import history, rules, watch
    from tokwatt_exporter.store import file

    if not file.path_of(config.data_dir).exists():
        raise UsageError(f"there is no history in {config.data_dir}, so that nothing can be judged")
    loaded = rules.load().alerts
    state = watch.now(config.data_dir, loaded)
    return answers.Alerts(
        looked_ms=state.looked_ms, alerts=[answers.Alert(**alert.as_json()) for alert in state.alerts],
        rules=[rule.name for rule in loaded],
        judged_without={rule.name: missing for rule in loaded if (missing := history.not_kept(rule))},
    )  # fmt: skip


def recommendation(config: Config, use_case: str, context: int) -> answers.Recommendation:
    """Advice on what engines list. Files are not for a client to name."""
    from tokwatt_exporter.advisor.advise import recommend

    return answers.Recommendation(**recommend(config, (), use_case, context).as_json())


def versions(config: Config, online: bool) -> answers.AllVersions:
    """Versions of each engine; `online` asks those who publish them."""
    if online:
        from tokwatt_exporter.versions_online import versions as found
    else:
        from tokwatt_exporter.versions import versions as found

    return answers.AllVersions(engines=[answers.Versions(**one.as_json()) for one in found(config)])


def catalogue() -> list[dict[str, Any]]:
    """Every metric there can be."""
    return [
        {"metric": f.name, "kind": f.kind, "unit": f.unit, "labels": list(f.labels), "help": f.help}
        for f in c.CATALOGUE.values()
    ]
