"""Time in states, as IOReport counts it for CPU cores and the GPU: who was active how long, and at what clock."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from tokwatt_exporter.apple.ioreport import Channel, States

log = logging.getLogger(__name__)

#: Known by name only: from M3 a core has DOWN before IDLE, so that no position says which one is at rest.
_AT_REST = frozenset({"IDLE", "DOWN", "OFF"})


class Span(NamedTuple):
    """What a channel did between two samples: ticks in each active state, slowest first, and ticks in all states."""

    active: tuple[int, ...]
    total: int


def active_ticks(states: States) -> tuple[int, ...]:
    """Ticks so far in each active state, in the order of the clocks."""
    return tuple(ticks for name, ticks in states.residencies if name not in _AT_REST)


class Spans:
    """From ticks since boot to ticks since the last sample, by channel."""

    def __init__(self) -> None:
        self._last: dict[Channel, tuple[tuple[str, int], ...]] = {}

    def since(self, states: States) -> Span | None:
        """None at the first sample, where ticks fell, and where a state has no name that would say what it is."""
        last = self._last.get(states.channel)
        self._last[states.channel] = states.residencies
        if last is None or len(last) != len(states.residencies) or any(not name for name, _ in last):
            return None
        grown = tuple((name, now - before) for (name, now), (_, before) in zip(states.residencies, last, strict=True))
        if any(ticks < 0 for _, ticks in grown):
            return None
        return Span(active_ticks(States(states.channel, grown)), sum(ticks for _, ticks in grown))

    def forget(self) -> None:
        """The next sample of every channel starts a new span."""
        self._last.clear()


class Clocks:
    """The clock of each active state of one kind of core, in hertz; a table of the GPU need not rise."""

    def __init__(self, name: str, hertz: Sequence[float]) -> None:
        self._name = name
        self._hertz = tuple(hertz)
        self._told = False

    @property
    def highest(self) -> float:
        """Hertz."""
        return max(self._hertz)

    def cycles(self, active: Sequence[int]) -> float:
        """Hertz times ticks over all active states; those past the end of the table run at its last clock."""
        if len(active) > len(self._hertz) and not self._told:
            self._told = True
            log.warning("%s has %d active states but only %d clocks", self._name, len(active), len(self._hertz))
        last = len(self._hertz) - 1
        return sum(ticks * self._hertz[min(state, last)] for state, ticks in enumerate(active))
