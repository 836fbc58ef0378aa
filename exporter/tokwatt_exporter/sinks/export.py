"""The scheduled export: a child of its own brings what is outside up to what the history has, every so often."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.errors import TokwattError
from tokwatt_exporter.selfmetrics import SelfMetrics

log = logging.getLogger(__name__)

#: Seconds after the start: a daemon that is started again and again must export too.
FIRST = 60.0


class Leaver(Protocol):
    """What the schedule needs of `store.client.Store`."""

    def export(self, order: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Bring what is outside up to what the history has."""
        ...

    def interrupt(self) -> None:
        """End what is under way."""
        ...


class ScheduledExport:
    """A thread that exports every `interval` seconds; what fails is counted, said once, and tried again then."""

    def __init__(self, store: Leaver, order: Mapping[str, Any], metrics: SelfMetrics, interval: float) -> None:
        self._store = store
        self._order = order
        self._metrics = metrics
        self._interval = interval
        self._problem = ""
        self._stop = threading.Event()
        metrics.inc(c.STORE_EXPORT_FAILURES, 0)
        self._thread = threading.Thread(target=self._run, name="history-export", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End at once; the next daemon goes on from the last file that is whole."""
        self._stop.set()
        self._store.interrupt()
        self._thread.join(10)

    def _run(self) -> None:
        pause = min(FIRST, self._interval)
        while not self._stop.wait(pause):
            self._export()
            pause = self._interval

    def _export(self) -> None:
        problem = ""
        try:
            self._store.export(self._order)
        except TokwattError as error:
            problem = str(error)
        except Exception as error:
            log.exception("exporting the history failed")
            problem = self._problem = type(error).__name__
        if self._stop.is_set():
            return
        if problem:
            self._metrics.inc(c.STORE_EXPORT_FAILURES)
        else:
            self._metrics.set(c.STORE_LAST_EXPORT, time.time())
        if problem and problem != self._problem:
            log.warning("%s; the history is exported later", problem)
        if self._problem and not problem:
            log.info("the history is exported again")
        self._problem = problem
