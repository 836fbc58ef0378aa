"""What the exporter counts about itself: any thread adds, the sampler reads all of it into each snapshot."""

import logging
import threading
from collections.abc import Iterable

from tokwatt_exporter.catalogue import LOG_MESSAGES, Counter, Gauge
from tokwatt_exporter.snapshot import Labels, Reading


class SelfMetrics:
    """Thread-safe counters and gauges of the daemon's own parts; a gauge exists once it has been set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[Gauge, Labels], float] = {}

    def inc(self, counter: Counter, amount: float = 1, **labels: str) -> None:
        """Add to a counter; add 0 at start so that `increase()` sees the first event."""
        _, key, value = counter(amount, **labels)
        with self._lock:
            self._values[counter, key] = self._values.get((counter, key), 0.0) + value

    def set(self, gauge: Gauge, value: float, **labels: str) -> None:
        """Set a gauge."""
        _, key, number = gauge(value, **labels)
        with self._lock:
            self._values[gauge, key] = number

    def readings(self) -> Iterable[Reading]:
        """Everything counted so far."""
        with self._lock:
            return [Reading(family, labels, value) for (family, labels), value in self._values.items()]


class CountingHandler(logging.Handler):
    """Counts log lines by level in `LOG_MESSAGES`."""

    LEVELS = ("debug", "info", "warning", "error")

    def __init__(self, metrics: SelfMetrics) -> None:
        super().__init__()
        self._metrics = metrics
        for level in self.LEVELS[1:]:
            metrics.inc(LOG_MESSAGES, 0, level=level)

    def emit(self, record: logging.LogRecord) -> None:
        """Count one line; critical counts as error."""
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        self._metrics.inc(LOG_MESSAGES, level=level if level in self.LEVELS else "info")
