"""Look at the history every so often, judge the rules, and tell the receivers what has changed."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tokwatt_exporter.alerts import state as memory
from tokwatt_exporter.alerts.history import History
from tokwatt_exporter.alerts.judge import Alert, Change, Judge
from tokwatt_exporter.alerts.rules import Rule
from tokwatt_exporter.alerts.send import NotSent, Receiver
from tokwatt_exporter.alerts.state import State
from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.show import iso

#: How far back it looks where nobody has looked before, so that what has begun is known at once.
REPLAYED_MS = 15 * 60_000
#: Looks that were left out: the machine slept, or nobody watched.
_GAP = 3
_FIRST_RETRY, _LAST_RETRY = 5.0, 600.0
_REMIND_MS = 60_000


class Watch:
    """One look after another. `say` prints a line for people."""

    def __init__(
        self, data_dir: Path, rules: Sequence[Rule], receivers: Sequence[Receiver], every_seconds: float,
        say: Callable[[str], None], clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._data_dir, self._rules, self._receivers = data_dir, rules, receivers
        self._say, self._clock = say, clock
        self.state = memory.read(data_dir)
        self.state.every_seconds = every_seconds
        self._judge = Judge(rules, self.state.alerts)
        # For a receiver that is no more nothing is kept.
        names = {receiver.name for receiver in receivers}
        self.state.unsent = {name: queue for name, queue in self.state.unsent.items() if name in names}
        self._retries: dict[str, tuple[float, float]] = {}
        self._reminded_ms = 0
        self._complained: set[str] = set()

    def look(self) -> list[Change]:
        """Judge the rules as of now; what has changed is kept on the disk before anybody is told."""
        now = round(self._clock() * 1000)
        try:
            changes = self._changes(now)
        except StoreError as error:
            self._complain("history", f"the history cannot be read: {error}")
            return []
        self._complained.discard("history")
        for name, why in self._judge.problems.items():
            self._complain(name, f"{name} cannot be judged: {why}")
        for change in changes:
            self._say(f"{iso(now)} {change.status} {change.alert.name}: {change.alert.summary}")
        self.state.looked_ms, self.state.alerts = now, tuple(self._judge.alerts.values())
        self.state.add((receiver.name for receiver in self._receivers), changes)
        self._keep()
        return changes

    def _changes(self, now: int) -> list[Change]:
        every = round(self.state.every_seconds * 1000)
        before = self.state.looked_ms
        if before is None or before > now:
            since, times = now - REPLAYED_MS, range(now - REPLAYED_MS // every * every, now + 1, every)
        else:
            since, times = now, range(now, now + 1)
            if now - before > _GAP * every:
                self._judge.skip(now - before - every)
        history = History(self._rules, since, now).load(self._data_dir, take_in=True)
        changes: list[Change] = []
        for at in times:
            changes += self._judge.look(at, history)
        # What began and ended before anybody looked is no news.
        return changes if before is not None else _still(changes, self._judge)

    def send(self) -> None:
        """Tell each receiver what it has not been told; one that fails is asked again later, and holds up no other."""
        now = self._clock()
        for receiver in self._receivers:
            queue = self.state.unsent.get(receiver.name) or []
            at, wait = self._retries.get(receiver.name, (0.0, 0.0))
            if at > now:
                continue
            try:
                while queue:
                    del queue[: receiver.send(queue)]
                    self._keep()
                if self._reminded_ms + _REMIND_MS <= round(now * 1000):
                    receiver.remind(self.firing(), round(now * 1000))
            except NotSent as error:
                wait = min(wait * 2, _LAST_RETRY) if wait else _FIRST_RETRY
                self._retries[receiver.name] = (now + wait, wait)
                self._complain(receiver.name, f"{receiver.name}: {error}; again in {wait:.0f} s")
            else:
                self._retries.pop(receiver.name, None)
                self._complained.discard(receiver.name)
        if self._reminded_ms + _REMIND_MS <= round(now * 1000):
            self._reminded_ms = round(now * 1000)

    def firing(self) -> list[Alert]:
        """What fires now."""
        return [alert for alert in self._judge.alerts.values() if alert.fired_ms is not None]

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        while not stop.is_set():
            self.look()
            end = time.monotonic() + self.state.every_seconds
            while not stop.is_set() and (left := end - time.monotonic()) > 0:
                self.send()
                stop.wait(min(left, 1.0))

    def _keep(self) -> None:
        try:
            memory.write(self._data_dir, self.state)
        except OSError as error:
            self._complain("state", f"{memory.FILE} cannot be written, kept in memory: {error.strerror}")

    def _complain(self, about: str, line: str) -> None:
        """Once, until it was well in between."""
        if about not in self._complained:
            self._complained.add(about)
            sys.stderr.write(f"tokwatt: {line}\n")


def _still(changes: Sequence[Change], judge: Judge) -> list[Change]:
    return [
        Change("firing", judge.alerts[change.alert.key])
        for change in changes
        if change.status == "firing"
        and change.alert.key in judge.alerts
        and judge.alerts[change.alert.key].fired_ms == change.alert.fired_ms
    ]


def now(data_dir: Path, rules: Sequence[Rule], clock: Callable[[], float] = time.time) -> State:
    """What is pending and firing now: as a watch that runs has seen it, else judged over the last 15 minutes.

    Nothing is written, so what still waits in the journal is not looked at.
    """
    kept = memory.read(data_dir)
    time_ms = round(clock() * 1000)
    if kept.looked_ms is not None and 0 <= time_ms - kept.looked_ms <= _GAP * kept.every_seconds * 1000:
        return kept
    history = History(rules, time_ms - REPLAYED_MS, time_ms).load(data_dir, take_in=False)
    judge = Judge(rules)
    for at in range(time_ms - REPLAYED_MS, time_ms + 1, 30_000):
        judge.look(at, history)
    return State(looked_ms=time_ms, alerts=tuple(judge.alerts.values()))
