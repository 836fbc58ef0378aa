"""The data that flows: a `Reading` is one value of one series, a `Snapshot` all of them at one time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tokwatt_exporter.catalogue import Family

#: Label pairs in the order of the family's label names; a label whose value is not known is left out.
Labels = tuple[tuple[str, str], ...]


class Reading(NamedTuple):
    """One value of one series, made by calling a catalogue constant: `MEMORY_USED(2**30, kind="anon")`."""

    family: Family
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every series of one moment, immutable. `time_ms` is Unix time in milliseconds, what every sink can carry."""

    time_ms: int
    values: Mapping[Family, Mapping[Labels, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, time_ms: int, readings: Iterable[Reading]) -> Snapshot:
        """Group readings by family; the last one of a series wins."""
        grouped: dict[Family, dict[Labels, float]] = {}
        for family, labels, value in readings:
            grouped.setdefault(family, {})[labels] = value
        return cls(time_ms, MappingProxyType({f: MappingProxyType(rows) for f, rows in grouped.items()}))

    def __iter__(self) -> Iterator[Reading]:
        for family, rows in self.values.items():
            for labels, value in rows.items():
                yield Reading(family, labels, value)

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.values.values())

    def get(self, reading: Reading) -> float | None:
        """The value of the series that `reading` names, or None where it is absent."""
        return self.values.get(reading.family, {}).get(reading.labels)
