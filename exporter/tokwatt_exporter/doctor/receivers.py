"""Checks of those who get the metrics: the OTLP receiver, and a Prometheus that should scrape."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tokwatt_exporter.attached import place
from tokwatt_exporter.config import Config
from tokwatt_exporter.doctor.finding import Finding
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.unreachable import explained

if TYPE_CHECKING:
    from tokwatt_exporter.sinks.otlp_settings import OtlpSettings

_SECONDS = 5.0


def otlp(config: Config, environ: Mapping[str, str] = os.environ) -> Finding:
    """Whether the OTLP receiver takes a push; what it is sent holds nothing."""
    from tokwatt_exporter.sinks.otlp_settings import settings

    looked = "the OTLP receiver"
    try:
        wanted = settings(config, environ)
    except UsageError as error:
        return Finding(check="otlp", status="fault", looked=looked, found=str(error), means="nothing is pushed",
                       mend="tokwatt config check")  # fmt: skip
    if wanted is None:
        return Finding(check="otlp", status="absent", looked=looked, found="no endpoint is set",
                       means="nothing is pushed; /metrics and the history do without")  # fmt: skip
    problem = _push(wanted)
    looked = f"an empty push to {wanted.shown}"
    if problem:
        return Finding(check="otlp", status="fault", looked=looked, found=problem[0],
                       means="samples wait, and are sent when it takes them", mend=problem[1])  # fmt: skip
    return Finding(
        check="otlp", status="ok", looked=looked, found="the receiver takes samples", means="samples arrive there"
    )


def _push(wanted: OtlpSettings) -> tuple[str, str] | None:
    """What went wrong and what mends it."""
    import httpx

    try:
        with httpx.Client(trust_env=False, verify=_trust(wanted), timeout=_SECONDS) as client:
            headers = {**wanted.headers, "Content-Type": "application/x-protobuf"}
            status = client.post(wanted.url, content=b"", headers=headers).status_code
    except (httpx.HTTPError, OSError) as error:
        known = explained(error, urlsplit(wanted.url).hostname)
        if known:
            return known, "sudo tokwatt service install --system"
        return f"it cannot be reached: {error}", "start the receiver, or correct --otlp.endpoint"
    if status in (401, 403):
        return f"it refuses the credentials (HTTP {status})", "--otlp.header NAME=VALUE in the configuration file"
    return None if status < 300 else (f"it answers with HTTP {status}", "correct the path of --otlp.endpoint")


def _trust(wanted: OtlpSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=wanted.certificate)
    if wanted.client_certificate:
        context.load_cert_chain(wanted.client_certificate, wanted.client_key)
    return context


def prometheus(config: Config, url: str) -> Finding:
    """Whether that Prometheus scrapes this machine, as its targets API says."""
    import httpx

    asked = f"{url.rstrip('/')}/api/v1/targets"
    looked = f"the targets of {url}"
    try:
        with httpx.Client(trust_env=False, timeout=_SECONDS) as client:
            answer = client.get(asked, params={"state": "active"})
        targets = list(_targets(answer.json(), config))
    except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError) as error:
        known = explained(error, urlsplit(url).hostname)
        return Finding(check="prometheus", status="fault", looked=looked, found=known or f"no answer: {error}",
                       means="whether it scrapes is not known", mend=f"curl {asked}")  # fmt: skip
    down = [target for target in targets if target.get("health") == "down"]
    if not targets:
        return Finding(
            check="prometheus", status="fault", looked=looked, found=f"none has the port of {place(config)}",
            means="it does not scrape this machine",
            mend="add it to scrape_configs: docs/deploy.md has the lines",
        )  # fmt: skip
    if down:
        why = str(down[0].get("lastError") or "it does not say why")[:300]
        return Finding(check="prometheus", status="fault", looked=looked, found=f"{down[0].get('scrapeUrl')}: {why}",
                       means="it tries, and gets nothing", mend=f"curl {down[0].get('scrapeUrl')}")  # fmt: skip
    health = ", ".join(f"{target.get('scrapeUrl')} {target.get('health')}" for target in targets)
    return Finding(check="prometheus", status="ok", looked=looked, found=health, means="it scrapes this machine")


def _targets(answer: Any, config: Config) -> Iterator[Mapping[str, Any]]:
    """The targets that may be this machine: the same port, and a host that is one of its names or addresses."""
    from tokwatt_exporter.web.hosts import Hosts

    hosts, own = Hosts(config), _addresses()
    port = config.web_listen_address[0].port
    for target in answer["data"]["activeTargets"]:
        at = urlsplit(target["scrapeUrl"])
        here = at.hostname in own or hosts.allows(at.hostname or "", None)
        # A container asks for the machine it is on by this name.
        if at.port == port and (here or at.hostname == "host.docker.internal"):
            yield target


def _addresses() -> set[str]:
    import psutil

    return {one.address for addresses in psutil.net_if_addrs().values() for one in addresses}
