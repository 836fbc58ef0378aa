"""Where OTLP goes and how: our settings and the standard `OTEL_*` variables, checked before anything is sent."""

from __future__ import annotations

import ipaddress
import math
import os
import platform
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from tokwatt_exporter import __version__, parse
from tokwatt_exporter.collectors.host import os_release
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError

_GENERAL, _METRICS = "OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_METRICS_"
_COMPRESSIONS = ("none", "gzip", "deflate")
#: What semantic conventions call the machines that `uname -m` calls otherwise.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "x86", "armv7l": "arm32"}


@dataclass(frozen=True, kw_only=True)
class OtlpSettings:
    """A checked receiver and what is sent to it; durations in seconds. Headers are secrets and never shown."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    resource: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 10.0
    interval: float = 15.0
    max_backfill: float = 6 * 3600.0
    compression: str = "none"
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    history: bool = True

    @property
    def shown(self) -> str:
        """The URL as it may be logged and stored: a query can hold a key."""
        return self.url.partition("?")[0].partition("#")[0]


def settings(config: Config, environ: Mapping[str, str] = os.environ) -> OtlpSettings | None:
    """What to push to, or None where OTLP is off; `UsageError` names the flag or variable that cannot be used."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    url = _endpoint(config, environ)
    if url is None:
        return None
    _check_protocol(environ)
    certificate = _file("CERTIFICATE", environ)
    client_certificate, client_key = _file("CLIENT_CERTIFICATE", environ), _file("CLIENT_KEY", environ)
    _check_tls(certificate, client_certificate, client_key, environ)
    return OtlpSettings(
        url=url,
        headers=_headers(config, environ),
        resource=_resource(config, environ),
        timeout=_timeout(environ),
        interval=config.otlp_interval,
        max_backfill=config.otlp_max_backfill,
        compression=_compression(environ),
        certificate=certificate,
        client_certificate=client_certificate,
        client_key=client_key,
        history=config.history_enabled,
    )


def on_loopback(url: str) -> bool:
    """Whether the receiver is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable for metrics, or the one for all signals; an empty one is as good as none."""
    for variable in (_METRICS + name, _GENERAL + name):
        if value := environ.get(variable, "").strip():
            return variable, value
    return None


def _endpoint(config: Config, environ: Mapping[str, str]) -> str | None:
    if config.otlp_endpoint:
        return config.otlp_endpoint
    found = _variable("ENDPOINT", environ)
    if found is None:
        return None
    variable, value = found
    try:
        url = parse.url(value)
    except ValueError as error:
        _refuse(variable, str(error))
    if variable.startswith(_METRICS):
        return value
    parts = urlsplit(url)
    return parts._replace(path=parts.path.rstrip("/") + "/v1/metrics").geturl()


def _check_protocol(environ: Mapping[str, str]) -> None:
    found = _variable("PROTOCOL", environ)
    if found and found[1].lower() != "http/protobuf":
        _refuse(found[0], f"{found[1]!r} is not supported; tokwatt speaks http/protobuf (the port is often 4318)")


def _headers(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    if found := _variable("HEADERS", environ):
        variable, value = found
        for part in filter(None, map(str.strip, value.split(","))):
            name, separator, content = part.partition("=")
            try:
                # The value stays out of the message: it is a secret.
                headers.update([_header(unquote(name.strip()) + separator + unquote(content.strip()))])
            except ValueError:
                _refuse(variable, "must be NAME=VALUE,NAME=VALUE with values URL-encoded")
    return headers | dict(map(_header, config.otlp_headers))


def _header(text: str) -> tuple[str, str]:
    name, _, value = parse.header(text).partition("=")
    value.encode("latin-1")
    return name.lower(), value.strip()


def _timeout(environ: Mapping[str, str]) -> float:
    found = _variable("TIMEOUT", environ)
    if found is None:
        return OtlpSettings.timeout
    variable, value = found
    try:
        milliseconds = float(value)
    except ValueError:
        _refuse(variable, f"{value!r} is not a number of milliseconds")
    # The specification counts in milliseconds and some SDKs in seconds; 10 was surely meant as seconds.
    if not math.isfinite(milliseconds) or milliseconds < 100:
        _refuse(variable, f"{value} is in milliseconds and too short; 10000 is ten seconds")
    return milliseconds / 1000


def _compression(environ: Mapping[str, str]) -> str:
    found = _variable("COMPRESSION", environ)
    if found is None:
        return OtlpSettings.compression
    variable, value = found[0], found[1].lower()
    if value not in _COMPRESSIONS:
        _refuse(variable, f"{value!r} is not one of {', '.join(_COMPRESSIONS)}")
    return value


def _file(name: str, environ: Mapping[str, str]) -> str | None:
    found = _variable(name, environ)
    if found is None:
        return None
    variable, value = found
    path = Path(value).expanduser()
    try:
        path.read_bytes()
    except OSError as error:
        _refuse(variable, f"{path} cannot be read: {error.strerror}")
    return str(path)


def _check_tls(ca: str | None, certificate: str | None, key: str | None, environ: Mapping[str, str]) -> None:
    if key and not certificate:
        _refuse(_variable("CLIENT_KEY", environ), "needs a client certificate beside it")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca:
            context.load_verify_locations(ca)
    except ssl.SSLError:
        _refuse(_variable("CERTIFICATE", environ), f"{ca} holds no PEM certificate")
    try:
        if certificate:
            # A password asked for on the terminal would stop a daemon for ever.
            context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError):
        _refuse(_variable("CLIENT_CERTIFICATE", environ), f"{certificate} is no PEM certificate with an unlocked key")


def _resource(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """The attributes of this exporter; what the user set wins, and what is not known is left out."""
    host = os.uname()
    known = {
        "service.name": "tokwatt",
        "service.version": __version__,
        "service.instance.id": config.instance,
        "host.name": host.nodename,
        "host.arch": _ARCHITECTURES.get(host.machine, host.machine),
        "os.type": host.sysname.lower(),
        "os.version": os_release(Path("/etc/os-release")) or platform.mac_ver()[0],
    }
    given = dict(_attributes(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")))
    if name := environ.get("OTEL_SERVICE_NAME", "").strip():
        given["service.name"] = name
    return {key: value for key, value in (known | given).items() if value}


def _attributes(text: str) -> list[tuple[str, str]]:
    parts = [part for part in text.split(",") if part.strip()]
    if not all(re.fullmatch(r"\s*[^=\s]+\s*=.*", part) for part in parts):
        _refuse("OTEL_RESOURCE_ATTRIBUTES", "must be KEY=VALUE,KEY=VALUE with values URL-encoded")
    pairs = (part.split("=", 1) for part in parts)
    return [(unquote(key.strip()), unquote(value.strip())) for key, value in pairs]


def _refuse(variable: Any, why: str) -> NoReturn:
    name = variable[0] if isinstance(variable, tuple) else variable
    raise UsageError(f"{name}: {why}") from None
