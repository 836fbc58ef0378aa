"""Counters that macOS stopped: from version 27 it counts the energy of most rails only while powermetrics looks."""

from __future__ import annotations

from tokwatt_exporter.apple import mach

#: A counter that stands for this long is frozen, if the CPU was awake for part of it. Where macOS counts at all, it
#: does so every 2.2 seconds at the latest, so one read without growth says nothing.
STILL_SECONDS, _BUSY_SECONDS = 3.0, 1.0
_BUSY_SHARE = 0.01
#: A rail published this long before it is first looked at had been frozen already.
_OLD_SECONDS = 10.0

_WRAP = 2**32


class Activity:
    """What the CPU did meanwhile, as the kernel counts it, which nobody freezes."""

    def __init__(self) -> None:
        self._last: list[mach.CpuTicks] = []

    def busy(self) -> bool:
        """Whether more than 1 % of all cores was busy since the last call; False where that is not known."""
        last, self._last = self._last, mach.processor_ticks()
        if len(last) != len(self._last):
            return False
        busy = total = 0
        for before, now in zip(last, self._last, strict=True):
            user, system, idle, nice = (
                # A small step back is the kernel's inaccuracy, not a counter that has come round.
                grown if (grown := (new - old) % _WRAP) < _WRAP // 2 else 0
                for old, new in zip(before, now, strict=True)
            )
            busy += user + system + nice
            total += user + system + idle + nice
        return busy > _BUSY_SHARE * total


class Watch:
    """Whether one counter is frozen. It moves again before it is trusted again."""

    def __init__(self, age: float | None) -> None:
        """`age` is how long ago, in seconds, the counter was published when it is first looked at."""
        self.frozen = age is not None and age > _OLD_SECONDS
        #: Seconds for which it has stood.
        self.still = 0.0
        self._busy = 0.0
        self._last: object = None

    def look(self, raw: object, seconds: float, busy: bool) -> None:
        """Judge a counter that moves whenever the CPU works; `seconds` and `busy` are of the time since last time."""
        if self._moved(raw, seconds, busy):
            self.frozen = False
        elif self.still >= STILL_SECONDS and self._busy >= _BUSY_SECONDS:
            self.frozen = True

    def follow(self, raw: object, seconds: float, leader: Watch | None) -> None:
        """Judge a counter that may rest in truth (an idle Neural Engine): frozen if it stands and its leader is."""
        if self._moved(raw, seconds, False) or leader is None or not leader.frozen:
            self.frozen = False
        elif self.still >= STILL_SECONDS:
            self.frozen = True

    def rebase(self) -> None:
        """The machine slept: what the counter says next is compared with nothing."""
        self._last = None
        self.still = self._busy = 0.0

    def _moved(self, raw: object, seconds: float, busy: bool) -> bool:
        last, self._last = self._last, raw
        if last is None:
            return False
        if raw != last:
            self.still = self._busy = 0.0
            return True
        self.still += seconds
        self._busy += seconds if busy else 0.0
        return False
