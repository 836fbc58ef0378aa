"""The history sink: snapshots go to the journal at once, and from there into DuckDB every flush interval."""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import suppress
from typing import Any, Protocol

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store import segment
from tokwatt_exporter.store.journal import Journal

log = logging.getLogger(__name__)

#: Snapshots that wait for the journal's thread; it takes microseconds unless the disk hangs.
_INBOX = 500
#: While flushes fail the segment goes on: each new one costs the definitions of all series again.
_SEGMENT_BYTES = 4 * 2**20
FLUSH_TIMEOUT = 30.0
LAST_FLUSH_TIMEOUT = 15.0


class Flusher(Protocol):
    """What the sink needs of `store.client.Store`."""

    def flush(self, timeout: float) -> dict[str, Any]:
        """Take the journal into the history."""
        ...

    def upkeep(self) -> dict[str, Any]:
        """Do a portion of what is due."""
        ...

    def interrupt(self) -> None:
        """End a portion under way."""
        ...


class HistorySink:
    """Called with each snapshot; two threads of its own write the journal and flush it. It never blocks or raises."""

    def __init__(
        self, store: Flusher, journal: Journal, metrics: SelfMetrics, flush_interval: float, host: str
    ) -> None:
        self._store = store
        self._journal = journal
        self._metrics = metrics
        self._interval = flush_interval
        self._host = host
        #: The newest run of each engine, model and scenario, as of the last flush.
        self.bench_latest: list[dict[str, Any]] = []
        #: Time of the newest sample in DuckDB; None until a flush has told it.
        self.newest_committed_ms: int | None = None
        self._problem = ""
        # What an earlier run left behind waits too; its names now, before there are any of ours.
        self._earlier = segment.names(journal.data_dir)
        self._earlier_rows = 0
        self._committed_rows = 0
        self._inbox: queue.Queue[Snapshot | None] = queue.Queue(_INBOX)
        self._stop = threading.Event()
        self._due = threading.Event()
        self._benchmark = False
        self._tending = False
        self._neglected = ""
        metrics.inc(c.STORE_ROWS_WRITTEN, 0)
        metrics.inc(c.STORE_FAILURES, 0)
        metrics.inc(c.SAMPLES_DROPPED, 0, reason="buffer_full")
        self._writer = threading.Thread(target=self._write, name="history-journal", daemon=True)
        self._flusher = threading.Thread(target=self._run, name="history-flush", daemon=True)
        self._writer.start()
        self._flusher.start()

    def __call__(self, snapshot: Snapshot) -> None:
        """Take a snapshot; it is written by another thread."""
        try:
            self._inbox.put_nowait(snapshot)
        except queue.Full:
            self._metrics.inc(c.SAMPLES_DROPPED, len(snapshot), reason="buffer_full")
        benchmark = snapshot.get(c.BENCHMARK_RUNNING(0)) == 1
        if self._benchmark and not benchmark:
            # Its result is in the history now; whoever watches should not wait for the interval to see it.
            self._due.set()
        self._benchmark = benchmark

    def pending(self) -> int:
        """Rows sampled but not yet committed."""
        return self._earlier_rows + self._journal.written_rows + self._journal.buffered_rows - self._committed_rows

    def close(self) -> None:
        """Write and flush what is left, within about `LAST_FLUSH_TIMEOUT` seconds; what stays is flushed next time."""
        self._stop.set()
        self._due.set()
        if self._tending:
            self._store.interrupt()
        # Full only where the disk hangs, and then the end of the process ends the thread.
        with suppress(queue.Full):
            self._inbox.put(None, timeout=1)
        self._flusher.join(FLUSH_TIMEOUT + LAST_FLUSH_TIMEOUT + 5)

    def _write(self) -> None:
        while (snapshot := self._inbox.get()) is not None:
            dropped = self._journal.dropped_rows
            try:
                written = self._journal.append_snapshot(snapshot, self._host)
            except Exception:
                log.exception("a snapshot could not be written to the journal")
                written = False
            if not written:
                self._metrics.inc(c.STORE_FAILURES)
                self._metrics.inc(c.SAMPLES_DROPPED, self._journal.dropped_rows - dropped, reason="buffer_full")
            self._metrics.set(c.STORE_BUFFERED_ROWS, self.pending())

    def _run(self) -> None:
        self._earlier_rows = segment.waiting(self._journal.data_dir, self._earlier).rows
        self._flush(FLUSH_TIMEOUT)
        while not self._stop.is_set():
            self._due.wait(self._interval)
            self._due.clear()
            if not self._stop.is_set():
                self._flush(FLUSH_TIMEOUT)
        self._writer.join(5)
        self._journal.close()
        self._flush(LAST_FLUSH_TIMEOUT)

    def _flush(self, timeout: float) -> None:
        if not self._problem or self._journal.size > _SEGMENT_BYTES:
            self._journal.rotate()
        on_disk = self._earlier_rows + self._journal.written_rows
        try:
            result = self._store.flush(timeout)
        except StoreError as error:
            self._failed(str(error))
        except Exception as error:
            log.exception("flushing the history failed")
            self._failed(type(error).__name__)
        else:
            self._flushed(result, on_disk)
            if result.get("due") and not self._stop.is_set():
                self._tend()
        self._metrics.set(c.STORE_BUFFERED_ROWS, self.pending())

    def _tend(self) -> None:
        # One portion between two flushes: readers get at the file, and the next flush finds it free.
        self._tending = True
        try:
            self._store.upkeep()
        except StoreError as error:
            if str(error) != self._neglected and not self._stop.is_set():
                log.warning("%s; old days are packed later", error)
            self._neglected = str(error)
        except Exception:
            log.exception("upkeep of the history failed")
        else:
            self._neglected = ""
        finally:
            self._tending = False

    def _failed(self, problem: str) -> None:
        self._metrics.inc(c.STORE_FAILURES)
        if problem != self._problem:
            log.warning("%s; samples wait in the journal", problem)
        self._problem = problem

    def _flushed(self, result: dict[str, Any], on_disk: int) -> None:
        if self._problem:
            log.info("the history can be written again")
            self._problem = ""
        # Counted here and not by the child: a reader may have taken in a part of them before it.
        self._metrics.inc(c.STORE_ROWS_WRITTEN, on_disk - self._committed_rows)
        self._committed_rows = on_disk
        self._metrics.set(c.STORE_LAST_FLUSH, time.time())
        self._metrics.set(c.STORE_SIZE, result["size_bytes"])
        if (damaged := result.get("damaged_at")) is not None:
            self._metrics.set(c.STORE_DAMAGED, damaged)
        self.bench_latest = result["bench_latest"]
        self.newest_committed_ms = result["newest_ms"]
        # Segments were deleted: there may be room again.
        self._journal.drain()
