"""`python -m tokwatt_exporter.sinks.otlp_backfill`: sends a stretch of the history, the oldest first, and ends.

The job is one line of JSON on stdin. Each line on stdout is progress, so that what was accepted stays accepted when
this process dies; when nobody listens any more it ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tokwatt_exporter.catalogue import SERIES
from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.sinks.otlp_deliver import Courier
from tokwatt_exporter.sinks.otlp_pending import POINTS
from tokwatt_exporter.sinks.otlp_settings import OtlpSettings
from tokwatt_exporter.snapshot import Reading, Snapshot

#: One request spans no more: receivers sort and check what comes together.
SPAN_MS = 300_000

Message = dict[str, Any]
#: Metric, labels and value.
Row = tuple[str, Mapping[str, str], float]


def main() -> None:
    """Do the job of stdin."""
    job = json.loads(sys.stdin.buffer.readline())
    # Whoever generates tokens on this machine goes first.
    os.nice(5)

    from tokwatt_exporter.sinks.otlp_send import Sender

    courier = Courier(Sender(OtlpSettings(**job["settings"]), job["started_ns"]))
    after_ms, until_ms = job["after_ms"], job["until_ms"]
    try:
        found = stored(Path(job["data_dir"]), after_ms, until_ms)
        backfill(found, courier, after_ms, until_ms, must_end_there=job["must_end_there"])
    except StoreError as error:
        say({"unavailable": str(error)})


def stored(data_dir: Path, after_ms: int, until_ms: int) -> Iterator[Snapshot]:
    """The snapshots after the one time up to the other, oldest first; `StoreError` where some may be missing."""
    from tokwatt_exporter.store import read
    from tokwatt_exporter.store.ingest import ingest

    # A reader is content with what is in the file; here a sample that is still in the journal would be passed over.
    ingest(data_dir)
    for time_ms, rows in read.snapshots(data_dir, after_ms, until_ms):
        yield Snapshot.of(time_ms, readings(rows))


def readings(rows: Iterable[Row]) -> Iterator[Reading]:
    """What the catalogue still knows of the rows of one time; the labels get back the order of their family."""
    for metric, labels, value in rows:
        if family := SERIES.get(metric):
            yield Reading(family, tuple((name, labels[name]) for name in family.labels if name in labels), value)


def say(message: Message) -> None:
    """One line of progress; `BrokenPipeError`, before anything more is sent, where the daemon has gone."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def backfill(
    snapshots: Iterable[Snapshot],
    courier: Courier,
    after_ms: int,
    until_ms: int,
    *,
    must_end_there: bool,
    say: Callable[[Message], None] = say,
) -> None:
    """Send them; the last message is `complete`, `unavailable`, or a delivery that ended early."""
    newest = after_ms
    for batch in batches(snapshots):
        delivery = courier.deliver(batch, lambda part: say({"done_ms": part[-1].time_ms}))
        say({"delivery": asdict(delivery)})
        if delivery.later:
            return
        newest = batch[-1].time_ms
    if must_end_there and newest != until_ms:
        say({"unavailable": "the newest samples are not in the history yet"})
        return
    say({"done_ms": until_ms})
    say({"complete": True})


def batches(snapshots: Iterable[Snapshot]) -> Iterator[list[Snapshot]]:
    """Requests that every receiver takes: some points, a few minutes; a snapshot stays whole."""
    batch: list[Snapshot] = []
    points = 0
    for snapshot in snapshots:
        if batch and (points + len(snapshot) > POINTS or snapshot.time_ms - batch[0].time_ms > SPAN_MS):
            yield batch
            batch, points = [], 0
        batch.append(snapshot)
        points += len(snapshot)
    if batch:
        yield batch


if __name__ == "__main__":
    main()
