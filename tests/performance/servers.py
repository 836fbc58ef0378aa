"""Servers of synthetic series, each in a process of its own: `python -m … tokwatt|prometheus_client PORT SERIES`.

Both serve the same gauges with the same labels, help and values, and get new values every second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tokwatt_exporter import catalogue
from tokwatt_exporter.snapshot import Reading, Snapshot

LABELLED = [family for family in catalogue.CATALOGUE.values() if type(family) is catalogue.Gauge and family.labels]


def readings(series: int, turn: int) -> Iterator[Reading]:
    """That many series, spread over all gauges that have labels."""
    for number in range(series):
        family = LABELLED[number % len(LABELLED)]
        labels = {name: f"{name}-{number // len(LABELLED)}" for name in family.labels}
        yield family(1234.5678 * number + turn, **labels)


class Ours:
    """What the server wants to know of the daemon."""

    def __init__(self, series: int) -> None:
        self._series = series
        self.turn(0)

    def turn(self, number: int) -> None:
        self.latest = Snapshot.of(int(time.time() * 1000), readings(self._series, number))

    def stalled(self) -> bool:
        return False


def ours(port: int, series: int, folder: Path) -> None:
    """The exporter's own web server."""
    from tokwatt_exporter import config
    from tokwatt_exporter.selfmetrics import SelfMetrics
    from tokwatt_exporter.web.server import Server

    flags = {"web.listen-address": [f"127.0.0.1:{port}"], "data-dir": str(folder)}
    state = Ours(series)
    server = Server(config.load(flags), state, SelfMetrics(), query=lambda *_: [])
    server.start()
    for number in range(1, 3600):
        time.sleep(1)
        state.turn(number)


def theirs(port: int, series: int) -> None:
    """The server that comes with prometheus_client."""
    from prometheus_client import CollectorRegistry, Gauge, start_http_server

    registry = CollectorRegistry()
    gauges = {family.name: Gauge(family.name, family.help, family.labels, registry=registry) for family in LABELLED}
    start_http_server(port, "127.0.0.1", registry)
    for number in range(3600):
        for family, labels, value in readings(series, number):
            gauges[family.name].labels(**dict(labels)).set(value)
        time.sleep(1)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        if sys.argv[1] == "tokwatt":
            ours(int(sys.argv[2]), int(sys.argv[3]), Path(folder))
        else:
            theirs(int(sys.argv[2]), int(sys.argv[3]))
