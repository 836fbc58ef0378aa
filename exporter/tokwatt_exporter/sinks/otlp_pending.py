"""Snapshots on their way to the receiver: the newest few in memory, the older ones in the history."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from tokwatt_exporter.snapshot import Snapshot

#: Data points kept in memory: five minutes of 300 series at the default interval, some 5 MB.
POINTS = 20_000


class Pending:
    """Unsent snapshots, oldest first; where they grow over `points` the oldest leave. For any thread."""

    def __init__(self, points: int = POINTS) -> None:
        self.first_ms: int | None = None
        #: The newest snapshot that left unsent, by time.
        self.evicted_ms: int | None = None
        self._most = points
        self._points = 0
        self._snapshots: deque[Snapshot] = deque()
        self._lock = threading.Lock()

    def add(self, snapshot: Snapshot) -> bool:
        """Append; whether half of the room is used, so that it is time to send."""
        with self._lock:
            if self.first_ms is None:
                self.first_ms = snapshot.time_ms
            self._snapshots.append(snapshot)
            self._points += len(snapshot)
            while self._points > self._most and len(self._snapshots) > 1:
                self.evicted_ms = self._pop().time_ms
            return self._points > self._most // 2

    def all(self) -> list[Snapshot]:
        """What waits now, oldest first."""
        with self._lock:
            return list(self._snapshots)

    def settle(self, part: Sequence[Snapshot]) -> None:
        """Forget snapshots that need not be sent any more."""
        settled = {id(snapshot) for snapshot in part}
        with self._lock:
            while self._snapshots and id(self._snapshots[0]) in settled:
                self._pop()

    def _pop(self) -> Snapshot:
        snapshot = self._snapshots.popleft()
        self._points -= len(snapshot)
        return snapshot
