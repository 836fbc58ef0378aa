"""OTLP push: live snapshots from memory, missed ones from the history, each once and oldest first."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokwatt_exporter.catalogue import OTLP_ACKNOWLEDGED, OTLP_EXPORT_FAILURES, OTLP_EXPORTS
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.sinks.otlp_child import Backfill, HistoryUnavailable
from tokwatt_exporter.sinks.otlp_deliver import Answer, Backoff, Courier, Delivery, Verdict
from tokwatt_exporter.sinks.otlp_pending import Pending
from tokwatt_exporter.sinks.otlp_settings import OtlpSettings, on_loopback, settings
from tokwatt_exporter.sinks.otlp_watermark import Watermark
from tokwatt_exporter.snapshot import Snapshot

if TYPE_CHECKING:
    from tokwatt_exporter.sinks.otlp_send import Sender

__all__ = ["OtlpSettings", "Pusher", "settings"]

log = logging.getLogger(__name__)

#: How long a stop may take.
CLOSE_SECONDS = 5.0
#: To connect, and again to answer, of the request that a stop sends.
_LAST_REQUEST_SECONDS = 2.0
#: Live samples wait for older ones; but not for ever on a history that cannot be read.
HISTORY_PATIENCE_SECONDS = 1800.0


class Pusher:
    """A sink that only takes the snapshot, and a thread that sends what was taken. `close` sends the last ones."""

    def __init__(
        self,
        settings: OtlpSettings,
        metrics: SelfMetrics,
        data_dir: Path,
        started_ns: int,
        *,
        pending: Pending | None = None,
        backoff: Backoff | None = None,
        patience: float = HISTORY_PATIENCE_SECONDS,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._started_ns = started_ns
        self._pending = pending or Pending()
        self._patience = patience
        self._watermark = Watermark(data_dir, settings.shown)
        self._backfill = Backfill(settings, data_dir, started_ns)
        self._backoff = backoff or Backoff()
        self._failing = False
        self._history_failing_since: float | None = None
        #: Samples up to here are of earlier runs.
        self._before_ms: int | None = None
        self._told: dict[str, str] = {}
        self._stop = threading.Event()
        self._wake = threading.Event()
        for counter in (OTLP_EXPORTS, OTLP_EXPORT_FAILURES):
            metrics.inc(counter, 0)
        if settings.headers and settings.url.startswith("http:") and not on_loopback(settings.url):
            log.warning("otlp: headers go unencrypted to %s, an https URL would protect them", settings.shown)
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()

    def __call__(self, snapshot: Snapshot) -> None:
        """Take a snapshot; never waits for the receiver."""
        if self._pending.add(snapshot) and not self._failing:
            self._wake.set()

    def close(self) -> None:
        """Send what is left and stop, within five seconds; what was not sent is sent after the next start."""
        self._stop.set()
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        # Imported here, as it takes a tenth of a second that the start should not wait for.
        from tokwatt_exporter.sinks.otlp_send import Sender

        sender = Sender(self._settings, self._started_ns)
        courier = Courier(sender)
        wait = self._settings.interval
        while not self._stop.is_set():
            self._wake.wait(wait)
            self._wake.clear()
            if not self._stop.is_set():
                wait = self._round(courier)
            if self._failing:
                # A call to hurry that came while the receiver was still thought to be up.
                self._wake.clear()
        self._last_round(sender)
        sender.close()

    def _round(self, courier: Courier) -> float:
        """Send everything that waits; seconds until the next round."""
        try:
            later = self._send(courier)
        except HistoryUnavailable as error:
            later = self._without_history(str(error))
        except Exception as error:
            # A fault of ours must not end the push for good.
            later = Answer(Verdict.LATER, f"{type(error).__name__}: {error}")
            self._tell("receiver", later.why, logging.ERROR, "the push failed and is tried again: %s", later.why)
            log.debug("otlp", exc_info=True)
        self._failing = later is not None
        if later is None:
            self._backoff.succeeded()
            return self._settings.interval
        return self._backoff.failed(later.retry_after)

    def _send(self, courier: Courier) -> Answer | None:
        """The answer that ended the round early, if any."""
        if not self._begun():
            return None
        # What leaves memory after this look at it is in the batch; what left before is in the gap.
        batch = self._pending.all()
        while (gap := self._gap()) and not self._stop.is_set():
            if later := self._fill(*gap):
                return later
            batch = self._pending.all()
        # One snapshot shows whether a receiver that was down is back; encoding all of them each time would be wasted.
        for part in [batch[:1], batch[1:]] if self._failing else [batch]:
            if part and not self._stop.is_set():
                delivery = courier.deliver(part, self._settled)
                self._account(delivery)
                if delivery.later:
                    return delivery.later
        return None

    def _last_round(self, sender: Sender) -> None:
        """One try with what is in memory; samples that only the history has must go first, after the next start."""
        batch = self._pending.all()
        if not batch or not self._begun() or self._gap():
            return
        delivery = Courier(lambda part: sender(part, _LAST_REQUEST_SECONDS)).deliver(batch, self._settled)
        self._account(delivery)

    def _begun(self) -> bool:
        """Decide, at the first snapshot, where to go on: a receiver never seen before gets what comes from now on."""
        first_ms = self._pending.first_ms
        if self._before_ms is None and first_ms is not None:
            self._before_ms = first_ms - 1
            known = self._watermark.time_ms
            if known is not None and known > first_ms:
                log.warning("otlp: the watermark lies in the future, starting from now")
            if known is None or known > first_ms:
                self._watermark.advance(self._before_ms)
        return self._before_ms is not None

    def _gap(self) -> tuple[int, int, bool] | None:
        """What only the history has: after, until, and whether there must be a sample at `until`."""
        after, evicted = self._watermark.time_ms or 0, self._pending.evicted_ms
        until = max(self._before_ms or 0, evicted or 0)
        oldest = int((time.time() - self._settings.max_backfill) * 1000)
        if after < min(oldest, until):
            hours = self._settings.max_backfill / 3600
            self._tell("gap", "old", logging.WARNING, "samples older than %g h are not sent any more", hours)
            after = min(oldest, until)
            self._watermark.advance(after)
        return (after, until, evicted == until) if after < until else None

    def _fill(self, after: int, until: int, must_end_there: bool) -> Answer | None:
        if not self._settings.history:
            self._give_up(until, "there is no history to send them from")
            return None
        later = self._backfill(after, until, must_end_there, self._watermark.advance, self._account, self._stop)
        self._history_failing_since = None
        return later

    def _without_history(self, why: str) -> Answer | None:
        """Wait for the history, which may be locked; but live samples do not wait for ever."""
        now = time.monotonic()
        self._history_failing_since = self._history_failing_since or now
        gap = self._gap()
        if gap and now - self._history_failing_since > self._patience:
            self._history_failing_since = None
            self._give_up(gap[1], why)
            return None
        self._tell("gap", why, logging.WARNING, "missed samples wait until the history can be read: %s", why)
        return Answer(Verdict.LATER, why)

    def _give_up(self, until: int, why: str) -> None:
        self._tell("gap", f"lost {why}", logging.WARNING, "missed samples are not sent: %s", why)
        self._metrics.inc(OTLP_EXPORT_FAILURES)
        self._watermark.advance(until)

    def _settled(self, part: Sequence[Snapshot]) -> None:
        self._pending.settle(part)
        self._watermark.advance(part[-1].time_ms)

    def _account(self, delivery: Delivery) -> None:
        """Count what was sent, and say what changed."""
        self._metrics.inc(OTLP_EXPORTS, delivery.exports)
        self._metrics.inc(OTLP_EXPORT_FAILURES, delivery.failures)
        if delivery.accepted_ms is not None:
            self._metrics.set(OTLP_ACKNOWLEDGED, delivery.accepted_ms / 1000)
        to, why = self._settings.shown, delivery.why
        if delivery.later:
            text = "%s takes no samples now, they are sent later: %s"
            self._tell("receiver", f"later {why}", logging.WARNING, text, to, why)
        elif delivery.skipped or delivery.rejected:
            text = "%s refuses samples for good, they are left out: %s"
            # Not told again when only the reason changes: receivers put port numbers and times into it.
            self._tell("receiver", "refuses", logging.WARNING, text, to, why or "it does not say why")
        elif delivery.exports:
            self._told.pop("gap", None)
            self._tell("receiver", "accepts", logging.INFO, "%s accepts samples", to)

    def _tell(self, topic: str, state: str, level: int, text: str, *values: object) -> None:
        """One line for each change: the same again says nothing new."""
        if self._told.get(topic) != state:
            self._told[topic] = state
            log.log(level, f"otlp: {text}", *values)
