"""Where the snapshots come from: a running daemon, else collectors of one's own."""

from __future__ import annotations

from tokwatt_exporter.attached import NotAttached, attach
from tokwatt_exporter.config import Config
from tokwatt_exporter.sampler import Sampler
from tokwatt_exporter.snapshot import Snapshot


class Feed:
    """The newest snapshot each time it is asked; it changes over when a daemon comes or goes."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._own: Sampler | None = None
        self.source = ""

    def newest(self) -> Snapshot:
        """From the daemon, or taken now."""
        try:
            url, snapshot = attach(self._config)
        except NotAttached:
            self.source = "own samples, no daemon answers"
            return self._sampler().sample()
        self.close()
        self.source = url
        return snapshot

    def close(self) -> None:
        """Let go of the collectors."""
        if self._own:
            self._own.stop()
            self._own = None

    def _sampler(self) -> Sampler:
        if self._own is None:
            from tokwatt_exporter import logs
            from tokwatt_exporter.daemon import collectors
            from tokwatt_exporter.selfmetrics import SelfMetrics

            # A line on stderr would tear the screen.
            logs.configure("error", "text")
            metrics = SelfMetrics()
            self._own = Sampler(collectors(self._config, metrics, list), metrics, 1.0)
        return self._own
