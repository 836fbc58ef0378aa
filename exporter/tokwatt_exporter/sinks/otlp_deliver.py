"""Batches to a receiver that may refuse some: nothing accepted is sent again, nothing refused blocks what follows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tokwatt_exporter.snapshot import Snapshot

#: Halving finds one bad snapshot in far fewer; after so many in a row the receiver refuses everything.
_REFUSALS_IN_A_ROW = 12
_LONGEST_WAIT = 300.0
#: A receiver may ask for longer than our own longest wait, but not for so long that the backfill runs out.
_LONGEST_ASKED = 3600.0


class Verdict(StrEnum):
    """What to do after a request."""

    ACCEPTED = "accepted"
    TOO_LARGE = "too_large"  # the same in smaller parts
    REFUSED = "refused"  # this batch never; the specification forbids to send it again
    LATER = "later"  # the same again, after a while


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of one request. `why` is one line without secrets; `rejected` points were dropped by who accepted."""

    verdict: Verdict
    why: str = ""
    rejected: int = 0
    retry_after: float | None = None


@dataclass(slots=True)
class Delivery:
    """What became of a batch. `later` is the answer that ended it early; the rest is to be sent again then."""

    exports: int = 0
    failures: int = 0
    skipped: int = 0
    rejected: int = 0
    why: str = ""
    accepted_ms: int | None = None
    later: Answer | None = None


class Courier:
    """Sends batches in order, in smaller parts where the receiver wants that."""

    def __init__(self, send: Callable[[Sequence[Snapshot]], Answer]) -> None:
        self._send = send
        self._most: int | None = None
        self._refusals = 0

    def deliver(self, batch: Sequence[Snapshot], done: Callable[[Sequence[Snapshot]], None]) -> Delivery:
        """Send all; `done` is told of each part that is accepted, or that is refused for good and skipped."""
        delivery = Delivery()
        waiting = [list(batch)]
        while waiting and delivery.later is None:
            part = waiting.pop()
            if self._most and len(part) > self._most:
                waiting += [part[self._most :], part[: self._most]]
                continue
            answer = self._send(part)
            delivery.exports += 1
            if answer.verdict is not Verdict.LATER:
                self._refusals = 0 if answer.verdict is Verdict.ACCEPTED else self._refusals + 1
            if self._settle(part, answer, delivery, give_up=self._refusals >= _REFUSALS_IN_A_ROW):
                done(part)
            elif delivery.later is None:
                half = len(part) // 2
                waiting += [part[half:], part[:half]]
                if answer.verdict is Verdict.TOO_LARGE:
                    self._most = half
        return delivery

    @staticmethod
    def _settle(part: Sequence[Snapshot], answer: Answer, delivery: Delivery, *, give_up: bool) -> bool:
        """Whether the part needs no further request."""
        if answer.verdict is Verdict.ACCEPTED:
            delivery.accepted_ms = part[-1].time_ms
            delivery.rejected += answer.rejected
            delivery.failures += answer.rejected > 0
            delivery.why = answer.why or delivery.why
            return True
        delivery.failures += 1
        delivery.why = answer.why
        if answer.verdict is Verdict.LATER:
            delivery.later = answer
            return False
        if len(part) > 1 and not give_up:
            return False
        delivery.skipped += len(part)
        return True


class Backoff:
    """How long to wait after failures in a row: 1 s, doubled up to five minutes, with a fifth of chance."""

    def __init__(self, chance: Callable[[float, float], float] = random.uniform) -> None:
        self._chance = chance
        self._failures = 0

    def failed(self, asked: float | None) -> float:
        """Seconds until the next try; the receiver's own wish when that is longer."""
        wait: float = min(2.0**self._failures, _LONGEST_WAIT)
        self._failures = min(self._failures + 1, 20)
        return max(wait * self._chance(0.8, 1.2), min(asked or 0.0, _LONGEST_ASKED))

    def succeeded(self) -> None:
        """The next failure is the first again."""
        self._failures = 0
