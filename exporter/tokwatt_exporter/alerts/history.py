"""Series out of the local history, for as long as the rules look back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokwatt_exporter.alerts.evaluate import LOOK_BACK_MS, Series
from tokwatt_exporter.alerts.promql import Selector
from tokwatt_exporter.alerts.rules import Rule
from tokwatt_exporter.catalogue import SERIES
from tokwatt_exporter.store import read
from tokwatt_exporter.store.queries import MAX_ROWS, prepare

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: What the labels `job` and `instance` are in Prometheus is known of a machine's own history, too.
JOB = "tokwatt"
#: Longer windows than this are read by the minute, and longer ones than a day by the hour: the last value of each.
RAW_MS, MINUTES_MS = 2 * 3_600_000, 24 * 3_600_000
_STEPS_MS = {"1m": 60_000, "1h": 3_600_000}

#: Metric and step; None for every sample.
_Wanted = tuple[str, str | None]


def not_kept(rule: Rule) -> list[str]:
    """The metrics that a rule asks for and no history has, as `up`, which is Prometheus's own."""
    return sorted({selector.metric for selector in rule.selectors() if selector.metric not in SERIES})


class History:
    """The series that the rules need to be judged from one time to another, both in Unix milliseconds."""

    def __init__(self, rules: Sequence[Rule], since_ms: int, until_ms: int) -> None:
        self._since, self._until = since_ms, until_ms
        self._begins: dict[_Wanted, int] = {}
        for selector in (selector for rule in rules for selector in rule.selectors() if selector.metric in SERIES):
            for wanted, reach in _needs(selector):
                begin = since_ms - reach
                self._begins[wanted] = min(self._begins.get(wanted, begin), begin)
        self._found: dict[_Wanted, list[Series]] = {}

    def load(self, data_dir: Path, *, take_in: bool) -> History:
        """Read them; `StoreError` where the history cannot be. Unless `take_in`, what waits in the journal is left."""
        if take_in:
            read.take_in(data_dir, read.LOCK_WAIT)
        with read.opened(data_dir, read.LOCK_WAIT, read.TIMEOUT) as db:
            if db:
                self._found = {wanted: self._rows(db, *wanted, begin) for wanted, begin in self._begins.items()}
        return self

    def series(self, selector: Selector) -> Iterable[Series]:
        """Those of the metric, of a long window by minutes or hours up to where all samples begin."""
        raw = self._found.get((selector.metric, None), [])
        step = _step(selector)
        return raw if step is None else _joined(self._found.get((selector.metric, step), []), raw)

    def _rows(self, db: DuckDBPyConnection, metric: str, step: str | None, begin_ms: int) -> list[Series]:
        params: dict[str, Any] = {"metric": metric, "since": _iso(begin_ms), "until": _iso(self._until), "step": step}
        rows = read.rows_of(db, prepare("samples", params | {"limit": MAX_ROWS}))
        found: dict[tuple[tuple[str, str], ...], tuple[list[int], list[float]]] = {}
        for row in rows:
            labels = {**row["labels"], "job": JOB, "instance": row["host"]}
            times, values = found.setdefault(tuple(sorted(labels.items())), ([], []))
            times.append(_ms(row["time"]))
            values.append(row["value"])
        return [Series(dict(labels), times, values) for labels, (times, values) in found.items()]


def _needs(selector: Selector) -> Iterable[tuple[_Wanted, int]]:
    offset = round(selector.offset * 1000)
    reach = round((selector.window or 0) * 1000)
    step = _step(selector)
    if step is None:
        yield (selector.metric, None), offset + max(reach, LOOK_BACK_MS)
    else:
        yield (selector.metric, step), offset + reach + _STEPS_MS[step]
        yield (selector.metric, None), offset + RAW_MS


def _step(selector: Selector) -> str | None:
    reach = (selector.window or 0) * 1000
    return None if reach <= RAW_MS else "1m" if reach <= MINUTES_MS else "1h"


def _joined(coarse: Sequence[Series], raw: Sequence[Series]) -> list[Series]:
    by_labels: dict[tuple[tuple[str, str], ...], list[Series]] = {}
    for series in (*coarse, *raw):
        by_labels.setdefault(tuple(sorted(series.labels.items())), []).append(series)
    joined = []
    for parts in by_labels.values():
        first, last = parts[0], parts[-1]
        kept = [] if first is last else [n for n, time in enumerate(first.times) if time < last.times[0]]
        joined.append(
            Series(
                last.labels, [*(first.times[n] for n in kept), *last.times],
                [*(first.values[n] for n in kept), *last.values],
            )
        )  # fmt: skip
    return joined


def _iso(time_ms: int) -> str:
    from tokwatt_exporter.show import iso

    return iso(max(time_ms, 0))


def _ms(text: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(text).timestamp() * 1000)
