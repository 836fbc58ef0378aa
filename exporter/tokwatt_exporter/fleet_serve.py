"""`/sd` for Prometheus' http_sd, behind the checks and limits of the exporter's own server."""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tokwatt_exporter import __version__, logs
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.parse import Address
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.web import config as web
from tokwatt_exporter.web.app import Answer, App, Request, refuse
from tokwatt_exporter.web.server import Server

log = logging.getLogger(__name__)

PATH = "/sd"
Listing = Callable[[], list[dict[str, Any]]]


class _Unsampled:
    """What the server asks a daemon; here nothing is sampled."""

    latest = None

    def stalled(self) -> bool:
        return False


class _App(App):
    """Two pages: the list, and whether it can be had."""

    def __init__(self, config: Config, source: web.Source, count: Callable[[str], None], listing: Listing) -> None:
        super().__init__(config, _Unsampled(), source, count, None)
        self._listing = listing
        self._broken = ""
        self._pages = {PATH: self._list, "/-/healthy": self._alive}

    def _list(self, request: Request) -> Answer:
        try:
            groups = self._listing()
        except UsageError as error:
            if str(error) != self._broken:
                log.error("the list cannot be had: %s", error)
            self._broken = str(error)
            # Prometheus keeps the last list that it got.
            raise refuse(500, "the list of machines cannot be read; the log says more") from None
        self._broken = ""
        return Answer(200, json.dumps(groups, ensure_ascii=False).encode(), "application/json")

    def _alive(self, request: Request) -> Answer:
        self._list(request)
        return Answer(200, b"tokwatt fleet sd is healthy\n")


class _Server(Server):
    def __init__(self, config: Config, listing: Listing) -> None:
        super().__init__(config, _Unsampled(), SelfMetrics())
        private = self._app.private
        if not private and not self._source.current().asks_who:
            self.stop()
            raise UsageError("lets everybody read the list: --web.bearer-token-file or --web.config.file says who may")
        self._app = _App(config, self._source, self._count, listing)
        self._app.private = private


def serve(config: Config, address: Address, listing: Listing) -> int:
    """Answer at `/sd` until SIGTERM or SIGINT, with what `listing` gives then; 0 after a clean stop."""
    logs.configure(config.log_level, config.log_format, config.log_file)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    listing()
    try:
        server = _Server(replace(config, web_listen_address=(address,)), listing)
    except UsageError as error:
        raise UsageError(f"--listen: {str(error).removeprefix('web.listen-address: ')}") from None
    server.start()
    log.info("tokwatt %s lists the fleet at %s://%s%s", __version__, server.scheme, server.addresses[0], PATH)
    stopped.wait()
    server.stop()
    return 0
