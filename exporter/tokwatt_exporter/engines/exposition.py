"""What an engine's own `/metrics` says, under our names, by one table for each engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tokwatt_exporter.catalogue import MODELS_PER_ENGINE, Family, Gauge, Histogram
from tokwatt_exporter.engines.answers import clean, number
from tokwatt_exporter.engines.base import Asker
from tokwatt_exporter.engines.distributions import distribution
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.families import PARTS, Distribution
from tokwatt_exporter.snapshot import Reading

#: Lines of interest beyond this many are not an engine's metrics any more.
MAX_LINES = 10_000
#: The monitor chooses among this many models; what is said of further ones is not even parsed.
MAX_MODELS = 2 * MODELS_PER_ENGINE

_NAME = re.compile(r"\s*([A-Za-z_:][A-Za-z0-9_:]*)")
_DECLARED = re.compile(r"#\s*(?:TYPE|HELP)\s+([A-Za-z_:][A-Za-z0-9_:]*)")


@dataclass(frozen=True, slots=True)
class Row:
    """One of their sample names under our name; of several rows for one of ours the first that is there counts."""

    theirs: str
    ours: Gauge | Histogram
    #: What theirs has to be multiplied with.
    factor: float = 1.0
    #: The versions in which it means this: from `since` on, below `before`.
    since: str = ""
    before: str = ""
    #: Only samples whose label has one of the values, or none of them; a label that is not there is "".
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: In every one of these versions: an engine without it has changed its names.
    always: bool = False

    def names(self) -> tuple[str, ...]:
        """The names of the samples it needs."""
        return tuple(self.theirs + end for end in PARTS) if isinstance(self.ours, Histogram) else (self.theirs,)

    def takes(self, labels: Mapping[str, str]) -> bool:
        """Whether a sample with these labels is meant."""
        return all(labels.get(name, "") in values for name, values in self.only.items()) and not any(
            labels.get(name, "") in values for name, values in self.without.items()
        )

    def applies(self, version: tuple[int, ...] | None) -> bool:
        """Whether it means the same in this version; an unknown one is given the benefit of the doubt."""
        since, before = numbers(self.since), numbers(self.before)
        return version is None or ((not since or version >= since) and (not before or version < before))


@dataclass(frozen=True, slots=True)
class Table:
    """How an engine's metrics are read."""

    rows: tuple[Row, ...]
    #: The label with the model's name; where a sample has none, the caller says which model it is about.
    model: str = ""
    #: Labels that tell copies of one number apart, not parts of a sum.
    copies: frozenset[str] = frozenset()
    #: Further names that the adapter looks at.
    also: tuple[str, ...] = ()
    #: A name without which nothing is missed: the engine shows its families only once it has worked.
    working: str = ""

    def families(self) -> frozenset[str]:
        """Every family of theirs that is looked at."""
        return frozenset({row.theirs for row in self.rows} | {*self.also, self.working} - {""})

    def names(self) -> frozenset[str]:
        """The names of the samples that are looked at."""
        return self.families() | {name for row in self.rows for name in row.names()}


class Sample(NamedTuple):
    """One line; the value is None where it is no finite number of at least 0."""

    labels: Mapping[str, str]
    value: float | None


class Page:
    """What of an engine's /metrics is in its table. `EngineError` where it is too much to be true."""

    def __init__(self, body: bytes, table: Table) -> None:
        self._table = table
        self._declared: set[str] = set()
        #: None for a family with a line that cannot be read: a sum of it would be wrong.
        self._samples: dict[str, dict[tuple[tuple[str, str], ...], Sample] | None] = {}
        #: How many samples were about models beyond the first `MAX_MODELS`.
        self.dropped = 0
        for line in self._lines(_text(body)):
            self._take(line)

    def has(self, name: str) -> bool:
        """Whether there is such a family, be it without samples so far."""
        names = {name, name.removesuffix("_total"), name.removesuffix("_sum")}
        return bool({name, name + PARTS[0]} & self._samples.keys() or names & self._declared)

    def samples(self, name: str) -> list[Sample]:
        """The samples of a name; none where one of its lines cannot be read."""
        return list((self._samples.get(name) or {}).values())

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one sample, or None."""
        found = (self._samples.get(name) or {}).get(tuple(sorted(labels.items())))
        return found.value if found else None

    def readings(
        self, engine: str, model: str | None = None, version: str | None = None
    ) -> tuple[tuple[Reading, ...], str | None]:
        """Their numbers under our names, and one line on a family that this version should have but has not.

        `model` is whom samples without a model's name are about; None where that is not known.
        """
        numeric = numbers(version or "")
        rows: dict[Family, list[Row]] = {}
        for row in self._table.rows:
            if row.applies(numeric):
                rows.setdefault(row.ours, []).append(row)
        readings = [reading for same in rows.values() for reading in self._readings(same, engine, model)]
        missing = [next((row.theirs for row in same if row.always), "") for same in rows.values() if self._lacks(same)]
        if not missing or (self._table.working and not self.has(self._table.working)):
            return tuple(readings), None
        return tuple(readings), f"has no {missing[0]} on /metrics" + (f" of version {version[:40]}" if version else "")

    def _lacks(self, rows: list[Row]) -> bool:
        return any(row.always for row in rows) and not any(self.has(row.theirs) for row in rows)

    def _readings(self, rows: list[Row], engine: str, model: str | None) -> Iterator[Reading]:
        for row in rows:
            if isinstance(row.ours, Histogram):
                spread = [[one for one in self.samples(name) if row.takes(one.labels)] for name in row.names()]
                if spread[0]:
                    for name, found in self._distributions(row, spread, model):
                        yield from row.ours(found, engine=engine, model=name)
                    return
            elif samples := [sample for sample in self.samples(row.theirs) if row.takes(sample.labels)]:
                for name, value in self._models(row, samples, model).items():
                    labels = (("engine", engine), ("model", name)) if name else (("engine", engine),)
                    if value is not None:
                        yield Reading(row.ours, labels, value * row.factor)
                return

    def _distributions(
        self, row: Row, spread: list[list[Sample]], model: str | None
    ) -> Iterator[tuple[str | None, Distribution]]:
        """One histogram for each model, over its shards; none where these have other bounds."""
        of_bound: dict[str, list[Sample]] = {}
        for sample in spread[0]:
            of_bound.setdefault(sample.labels.get("le", ""), []).append(sample)
        if any(len(samples) != len(part) for samples in of_bound.values() for part in spread[1:]):
            return
        buckets = {bound: self._models(row, samples, model) for bound, samples in of_bound.items()}
        counts, sums = (self._models(row, samples, model) for samples in spread[1:])
        for name, total in sums.items():
            found = {bound: values.get(name) for bound, values in buckets.items()}
            if whole := distribution(found, counts.get(name), total, row.factor):
                yield name, whole

    def _models(self, row: Row, samples: list[Sample], model: str | None) -> dict[str | None, float | None]:
        """One value for each model, over its shards: the sum, or for a ratio the mean; None where a part is unknown."""
        models: dict[str | None, dict[object, float | None]] = {}
        for labels, value in samples:
            name = clean(labels.get(self._table.model, "")) or model
            shard = tuple((key, text) for key, text in sorted(labels.items()) if key not in self._table.copies)
            parts = models.setdefault(name, {})
            before = parts.get(shard, value)
            parts[shard] = None if value is None or before is None else max(value, before)
        return {name: _whole(list(parts.values()), row.ours.unit == "1") for name, parts in models.items()}

    def _lines(self, text: str) -> Iterator[str]:
        wanted, kept = self._table.names(), 0
        models: set[str] = set()
        label = re.compile(rf'[{{,]\s*{self._table.model}\s*=\s*"((?:[^"\\]|\\.)*)"') if self._table.model else None
        # Not splitlines(): it also ends a line at characters that a label may hold.
        for line in text.split("\n"):
            if declared := _DECLARED.match(line):
                self._declared.add(declared[1])
            name = _NAME.match(line)
            if not name or name[1] not in wanted:
                continue
            model = label.search(line) if label else None
            if model and model[1] not in models:
                if len(models) >= MAX_MODELS:
                    self.dropped += 1
                    continue
                models.add(model[1])
            kept += 1
            if kept > MAX_LINES:
                raise EngineError(f"has more than {MAX_LINES} lines of the metrics that are read")
            yield line

    def _take(self, line: str) -> None:
        name = _NAME.match(line)
        assert name
        # Line by line, so that one that cannot be read costs only its own family.
        try:
            samples = [sample for family in text_string_to_metric_families(line) for sample in family.samples]
        except (ValueError, TypeError, IndexError, KeyError):
            self._samples[name[1]] = None
            return
        for sample in samples:
            known = self._samples.setdefault(sample.name, {})
            if known is not None:
                labels = {key: str(value) for key, value in sample.labels.items()}
                # Of a sample that comes twice the first counts.
                known.setdefault(tuple(sorted(labels.items())), Sample(labels, number(float(sample.value))))


async def fetch(
    ask: Asker, table: Table, path: str = "/metrics", off: Mapping[int, str] | None = None
) -> tuple[Page | None, str | None]:
    """The page, or one line on why there is none; `off` says what a status means to the user."""
    try:
        answer = await ask.get(path)
        if answer.status == 200:
            return Page(answer.body, table), None
    except EngineError as error:
        # A server deep in a long prompt answers /metrics only after it: the rest of the state is still true.
        return None, f"/metrics: {error}"
    return None, (off or {}).get(answer.status, f"answered /metrics with HTTP {answer.status}")


def numbers(version: str) -> tuple[int, ...] | None:
    """A version to compare; None where there is none, or it is a build between versions."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part[:9]) for part in found[1].split(".")) if found and "dev" not in version else None


def _whole(parts: list[float | None], ratio: bool) -> float | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return number(sum(known) / len(known) if ratio else sum(known))


def _text(body: bytes) -> str:
    text = body.decode("utf-8", errors="replace")
    if not text.startswith('"'):
        return text
    # llama.cpp b7010 to b7100 sent the text as one JSON string.
    try:
        unquoted = json.loads(text)
    except ValueError:
        return text
    return unquoted if isinstance(unquoted, str) else text
