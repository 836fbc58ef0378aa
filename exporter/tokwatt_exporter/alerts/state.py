"""What is remembered over restarts, in a file beside the history: which alerts there are, and what was not sent yet."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokwatt_exporter.alerts.judge import Alert, Change
from tokwatt_exporter.errors import UsageError

FILE, LOCK = "watch.json", "watch.lock"
#: What a receiver that is gone for good may pile up; the oldest is forgotten first.
MOST_UNSENT = 1000
_MOST_BYTES = 16 * 2**20


@dataclass(slots=True)
class State:
    """The alerts at a time (Unix milliseconds), and for each receiver the changes that it has not been told."""

    looked_ms: int | None = None
    every_seconds: float = 30.0
    alerts: tuple[Alert, ...] = ()
    unsent: dict[str, list[Change]] = field(default_factory=dict)

    def add(self, receivers: Iterable[str], changes: Sequence[Change]) -> None:
        """Queue the changes. An end whose beginning was not told either is no news."""
        for receiver in receivers:
            queue = self.unsent.setdefault(receiver, [])
            for change in changes:
                if change.status == "resolved" and any(one.alert.key == change.alert.key for one in queue):
                    queue[:] = [one for one in queue if one.alert.key != change.alert.key]
                else:
                    queue.append(change)
            del queue[:-MOST_UNSENT]


def read(data_dir: Path) -> State:
    """What was written last; an empty state where there is none or it cannot be used."""
    try:
        path = data_dir / FILE
        if path.stat().st_size > _MOST_BYTES:
            return State()
        kept = json.loads(path.read_bytes())
        return State(
            None if kept["looked_ms"] is None else int(kept["looked_ms"]), float(kept["every_seconds"]),
            tuple(map(Alert.of_json, kept["alerts"])), dict(_queues(kept["unsent"])),
        )  # fmt: skip
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return State()


def _queues(kept: Mapping[str, Any]) -> Iterator[tuple[str, list[Change]]]:
    for receiver, changes in kept.items():
        yield receiver, [Change(_status(one["status"]), Alert.of_json(one["alert"])) for one in changes]


def _status(text: str) -> Any:
    if text not in ("firing", "resolved"):
        raise ValueError("not a status")
    return text


def write(data_dir: Path, state: State) -> None:
    """Write it, whole or not at all. `OSError` where the disk is full."""
    kept = {
        "looked_ms": state.looked_ms, "every_seconds": state.every_seconds,
        "alerts": [alert.as_json() for alert in state.alerts],
        "unsent": {receiver: [{"status": change.status, "alert": change.alert.as_json()} for change in changes]
                   for receiver, changes in state.unsent.items()},
    }  # fmt: skip
    new = data_dir / f"{FILE}.new"
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(kept, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(data_dir / FILE)


@contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """While nobody else watches this history, who would send everything twice; `UsageError` while somebody does."""
    handle = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another tokwatt watch looks at {data_dir}, and both would send the same") from None
        yield
    finally:
        os.close(handle)
