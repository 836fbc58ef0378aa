"""`python -m tokwatt_exporter.sinks.otlp_backfill`: sends a stretch of the history, the oldest first, and ends.

The job is one line of JSON on stdin. Each line on stdout is progress, so that what was accepted stays accepted when
this process dies; the end of stdin means that nobody listens any more.
"""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.sinks.otlp_deliver import Courier
from tokwatt_exporter.sinks.otlp_pending import POINTS
from tokwatt_exporter.sinks.otlp_settings import OtlpSettings
from tokwatt_exporter.snapshot import Snapshot

#: One request spans no more; receivers sort and count what comes together.
CHUNK_MS = 300_000
_FIRST_CHUNK_MS = 60_000
_SHORTEST_MS = 10_000

Message = dict[str, Any]


class History(Protocol):
    """What is asked of the store."""

    def between(self, after_ms: int, until_ms: int) -> Sequence[Snapshot]:
        """Snapshots after the one time and not after the other, oldest first."""
        ...


def main() -> None:
    """Do the job of stdin."""
    job = json.loads(sys.stdin.buffer.readline())

    from tokwatt_exporter.sinks.otlp_history import StoredHistory
    from tokwatt_exporter.sinks.otlp_send import Sender

    courier = Courier(Sender(OtlpSettings(**job["settings"]), job["started_ns"]))
    try:
        history = StoredHistory(Path(job["data_dir"]))
        backfill(history, courier, job["after_ms"], job["until_ms"], must_end_there=job["must_end_there"])
    except StoreError as error:
        say({"unavailable": str(error)})


def say(message: Message) -> None:
    """One line of progress; the end of the process where the daemon has gone, before anything is sent twice."""
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    if readable:
        sys.exit(1)
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def backfill(
    history: History,
    courier: Courier,
    after_ms: int,
    until_ms: int,
    *,
    must_end_there: bool,
    say: Callable[[Message], None] = say,
) -> None:
    """Send what lies between; the last message is `complete`, `unavailable` or a delivery that ended early."""
    begin, width, newest = after_ms, _FIRST_CHUNK_MS, after_ms
    while begin < until_ms:
        end = min(begin + width, until_ms)
        snapshots = history.between(begin, end)
        for batch in batches(snapshots):
            delivery = courier.deliver(batch, lambda part: say({"done_ms": part[-1].time_ms}))
            say({"delivery": asdict(delivery)})
            if delivery.later:
                return
        newest = snapshots[-1].time_ms if snapshots else newest
        points = sum(map(len, snapshots))
        width = min(max(width * POINTS // max(points, 1), _SHORTEST_MS), CHUNK_MS)
        begin = end
    if must_end_there and newest != until_ms:
        say({"unavailable": "the newest samples are not in the history yet"})
        return
    say({"done_ms": until_ms})
    say({"complete": True})


def batches(snapshots: Sequence[Snapshot]) -> Iterator[list[Snapshot]]:
    """Requests of a size that every receiver takes; a snapshot stays whole."""
    batch: list[Snapshot] = []
    points = 0
    for snapshot in snapshots:
        if batch and points + len(snapshot) > POINTS:
            yield batch
            batch, points = [], 0
        batch.append(snapshot)
        points += len(snapshot)
    if batch:
        yield batch


if __name__ == "__main__":
    main()
