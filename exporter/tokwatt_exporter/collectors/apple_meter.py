"""Watts from a counter of joules that grows in batches: by when the batches were published, not by when we looked."""

from __future__ import annotations

from typing import NamedTuple

#: How long a reading stands for what follows, while nothing new is published.
_HOLD_SECONDS = 10.0
#: A batch can come in two, a few hundredths of a second apart; the second is no interval to take a mean over.
_TAIL_SECONDS = 0.05


class _Seen(NamedTuple):
    joules: float
    stamp: float | None
    at: float


class Meter:
    """The mean power between two publications of one counter."""

    def __init__(self) -> None:
        self._seen: _Seen | None = None
        #: Joules and time of the publication from which the next span counts.
        self._base: tuple[float, float] | None = None
        self._watts: float | None = None
        self._published_at = 0.0
        #: Whether the counter's own stamps move; None before anything did.
        self._stamped: bool | None = None

    def read(self, joules: float, stamp: float | None, now: float) -> float | None:
        """Watts over the last span, None before the first one and 10 s after the last one.

        `stamp` is when the counter says that it was published, `now` when it was read; both in seconds of a clock that
        stands still while the machine sleeps.
        """
        before, self._seen = self._seen, _Seen(joules, stamp, now)
        if before is None:
            self._base = (joules, now if stamp is None else stamp)
            self._published_at = now
        elif self._published(before, self._seen):
            self._publish(joules, stamp if self._stamped and stamp is not None else now, now)
        elif now - self._published_at >= _HOLD_SECONDS:
            # What comes after such a gap is no mean of anything: a full span is waited for.
            self._base = self._watts = None
        return self._watts

    def _published(self, before: _Seen, seen: _Seen) -> bool:
        if seen.stamp is not None and seen.stamp != before.stamp:
            self._stamped = True
            return True
        if self._stamped is None and seen.joules != before.joules:
            # A stamp that says nothing: the time of reading stands in for it.
            self._stamped = False
            self._base = (before.joules, before.at)
        return self._stamped is False and seen.joules != before.joules

    def _publish(self, joules: float, at: float, now: float) -> None:
        self._published_at = now
        if self._base is None or joules < self._base[0] or at < self._base[1]:
            self._base, self._watts = (joules, at), None
        elif at - self._base[1] >= _TAIL_SECONDS:
            self._watts = (joules - self._base[0]) / (at - self._base[1])
            self._base = (joules, at)
