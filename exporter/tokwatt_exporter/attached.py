"""The running daemon as another command sees it: its newest snapshot, from its own /metrics."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.catalogue import SERIES
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import TokwattError
from tokwatt_exporter.service import health
from tokwatt_exporter.snapshot import Reading, Snapshot

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}
_SECONDS = 5.0
_MOST_BYTES = 16 * 2**20


class NotAttached(TokwattError):
    """There is no daemon to read from; the text says why."""


class Attached(NamedTuple):
    """Where the daemon answers, and what it sampled last."""

    url: str
    snapshot: Snapshot


def place(config: Config) -> str:
    """`HOST:PORT` at which this machine's daemon is asked."""
    host, port = config.web_listen_address[0]
    host = _ANYWHERE.get(host, host)
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def attach(config: Config) -> Attached:
    """The newest snapshot of the daemon that these settings name; `NotAttached` where there is none to be had."""
    found = health.ask(place(config), config.web_config_file is not None)
    if found.healthy is False and found.problem and "/-/healthy says" not in found.problem:
        raise NotAttached(found.problem)
    return Attached(found.url, parse(_read(found.url + config.web_telemetry_path, config)))


def parse(text: str) -> Snapshot:
    """The snapshot behind the text of /metrics; series of other programs are left out."""
    readings = list(_readings(text))
    # When it was sampled, not when it was asked: rates between two of the same sample would be nonsense.
    times = [reading.value for reading in readings if reading.family is c.COLLECTOR_LAST_SUCCESS]
    return Snapshot.of(int(max(times, default=time.time()) * 1000), readings)


def _readings(text: str) -> Iterator[Reading]:
    from prometheus_client.parser import text_string_to_metric_families

    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if ours := SERIES.get(sample.name):
                labels = tuple((name, sample.labels[name]) for name in ours.labels if name in sample.labels)
                yield Reading(ours, labels, float(sample.value))


def _is_here(host: str) -> bool:
    """Whether the address is one of this machine's: nobody can listen on another one."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _read(url: str, config: Config) -> str:
    import httpx

    headers = {"Accept": "text/plain"}
    if config.web_bearer_token_file and _is_here(httpx.URL(url).host):
        try:
            headers["Authorization"] = f"Bearer {config.web_bearer_token_file.read_text().strip()}"
        except OSError as error:
            raise NotAttached(f"web.bearer-token-file cannot be read: {error.strerror}") from None
    try:
        # A certificate is seldom for 127.0.0.1; the token only goes to an address of this machine.
        with httpx.Client(trust_env=False, verify=False, timeout=_SECONDS) as client:
            answer = client.get(url, headers=headers)
    except httpx.HTTPError as error:
        raise NotAttached(f"{url} does not answer: {error}") from None
    if answer.status_code in (401, 403):
        raise NotAttached(f"{url} asks for credentials; --web.bearer-token-file names those of this daemon")
    if answer.status_code != 200:
        raise NotAttached(f"{url} answers with HTTP {answer.status_code}")
    if len(answer.content) > _MOST_BYTES:
        raise NotAttached(f"{url} answers more than {_MOST_BYTES >> 20} MiB")
    return answer.text
