"""The daemon: puts collectors, sampler, sinks and server together, and takes them down in order."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokwatt_exporter import __version__, logs
from tokwatt_exporter.collectors import registry
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.sampler import Sampler, Sink
from tokwatt_exporter.selfmetrics import CountingHandler, SelfMetrics
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store.folder import prepare

if TYPE_CHECKING:
    from tokwatt_exporter.sinks.history import HistorySink

log = logging.getLogger(__name__)


def run_daemon(config: Config) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean stop. What has been sampled by then is in the history."""
    # What the daemon writes names models and what people do with them: for its user's eyes only.
    os.umask(0o077)
    logs.configure(config.log_level, config.log_format, config.log_file)
    metrics = SelfMetrics()
    logging.getLogger().addHandler(CountingHandler(metrics))
    with ExitStack() as stack:
        # The first thing, so that a signal during start-up already stops cleanly.
        stopped = _on_signals()
        config = _apart(config)
        prepare(config.data_dir)
        stack.enter_context(_only_one(config.data_dir))
        daemon = Daemon(config, metrics, stack)
        daemon.start()
        if config.demo:
            log.warning("a demo: nothing of %s is measured; its history is in %s", config.demo, config.data_dir)
        log.info("tokwatt %s samples every %g s and serves %s", __version__, config.sample_interval, daemon.where())
        stopped.wait()
        log.info("stopping")
    return 0


class Daemon:
    """The parts of the running exporter; the stack closes them in the reverse order of their building."""

    def __init__(self, config: Config, metrics: SelfMetrics, stack: ExitStack) -> None:
        from tokwatt_exporter.store.client import Store
        from tokwatt_exporter.web.server import Server

        self.config = config
        store = Store(config.data_dir, retention=config.retention)
        # Bound first: a port that is taken should stop the start before anything is written.
        self.server = Server(config, self, metrics, query=store.query)
        self.history = _history(config, store, metrics, stack)
        _exports(config, store, metrics, stack)
        sinks: list[Sink] = [self.history] if self.history else []
        sinks += _otlp(config, metrics, stack)
        self.sampler = Sampler(
            collectors(config, metrics, self._bench_latest), metrics, config.sample_interval, sinks=sinks
        )
        stack.callback(self.sampler.stop)
        self._stack = stack

    @property
    def latest(self) -> Snapshot | None:
        """The newest snapshot; None before the first."""
        return self.sampler.latest

    def stalled(self) -> bool:
        """Whether sampling has stopped."""
        return self.sampler.stalled()

    def start(self) -> None:
        """Serve, then sample: `/-/ready` says when the first snapshot is there."""
        self.server.start()
        self._stack.callback(self.server.stop)
        self.sampler.start()

    def where(self) -> str:
        """The URLs of the metrics."""
        return ", ".join(
            f"{self.server.scheme}://{address}{self.config.web_telemetry_path}" for address in self.server.addresses
        )

    def _bench_latest(self) -> list[dict[str, Any]]:
        return self.history.bench_latest if self.history else []


def collectors(
    config: Config, metrics: SelfMetrics, bench_latest: Callable[[], list[dict[str, Any]]]
) -> list[Collector]:
    """The collectors of this machine that the configuration wants, or those of a demo."""
    if config.demo:
        from tokwatt_exporter import demo

        return list(demo.collectors(config.demo))
    built: list[Collector] = []

    def owner(pid: int) -> str | None:
        monitor: Any = next((c for c in built if c.name == "engines"), None)
        owned: str | None = monitor.owner(pid) if monitor else None
        return owned

    built += registry.build(
        config.collector_enabled,
        paths={"proc": config.path_procfs, "sys": config.path_sysfs},
        nvidia={"owner": owner},
        engines={"config": config, "metrics": metrics},
        proxy={"data_dir": config.data_dir},
        benchmark={"latest": bench_latest, "data_dir": config.data_dir},
    )
    return built


def sample_once(config: Config) -> tuple[Snapshot, Snapshot]:
    """Two snapshots of this machine a second apart; rates are there in the second."""
    logs.configure("error", "text")
    metrics = SelfMetrics()
    sampler = Sampler(collectors(config, metrics, list), metrics, 1.0, deadline=3.0)
    try:
        before = sampler.sample()
        time.sleep(1)
        return before, sampler.sample()
    finally:
        sampler.stop()


def check(config: Config) -> None:
    """Read every file the configuration names; `UsageError` for the first that cannot be used."""
    from tokwatt_exporter.engines.client import api_key
    from tokwatt_exporter.sinks.otlp import settings
    from tokwatt_exporter.web.config import load

    load(config)
    settings(config, os.environ)
    for engine in config.engines:
        api_key(engine)


def _apart(config: Config) -> Config:
    """A demo never writes into the history of a real machine."""
    return replace(config, data_dir=config.data_dir / f"demo-{config.demo}") if config.demo else config


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    # Two daemons on one history would keep every sample twice.
    with (path / "daemon.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise UsageError(f"data-dir: {path} is in use by another tokwatt (pid {lock.read().strip()})") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _on_signals() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def _history(config: Config, store: Any, metrics: SelfMetrics, stack: ExitStack) -> HistorySink | None:
    if not config.history_enabled:
        return None
    from tokwatt_exporter.sinks.history import HistorySink
    from tokwatt_exporter.store.journal import Journal

    host = os.uname().nodename
    sink = HistorySink(store, Journal(config.data_dir), metrics, config.flush_interval, host)
    stack.callback(sink.close)
    return sink


def _exports(config: Config, store: Any, metrics: SelfMetrics, stack: ExitStack) -> None:
    targets = [target for target in (config.history_export, config.history_attach) if target]
    if not targets or not config.history_enabled:
        return
    from tokwatt_exporter.sinks.export import ScheduledExport

    python = str(config.history_attach_python) if config.history_attach_python else None
    order = {"targets": targets, "data_path": config.history_attach_data_path, "python": python}
    stack.callback(ScheduledExport(store, order, metrics, config.history_export_interval).close)


def _otlp(config: Config, metrics: SelfMetrics, stack: ExitStack) -> list[Sink]:
    if not config.otlp_endpoint and not any(name.startswith("OTEL_EXPORTER_OTLP") for name in os.environ):
        return []
    from tokwatt_exporter.sinks.otlp import Pusher, settings

    wanted = settings(config, os.environ)
    if wanted is None:
        return []
    pusher = Pusher(wanted, metrics, config.data_dir, int(time.time() * 1e9))
    stack.callback(pusher.close)
    return [pusher]
