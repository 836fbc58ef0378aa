"""Reading what users write: each function takes the raw value and raises `ValueError` with the rest of a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from tokwatt_exporter.errors import UsageError

T = TypeVar("T")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}


class Address(NamedTuple):
    """Host and port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def duration(raw: Any) -> float:
    """Seconds of a Prometheus duration: `500ms`, `5s`, `1h30m`, `14d`. Zero is refused."""
    text = str(raw).strip()
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhdwy])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration like 5s, 10m or 14d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise ValueError(f"{text!r} is not longer than zero")
    return seconds


def optional_duration(raw: Any) -> float | None:
    """A duration, or None where nothing was given."""
    return None if raw in (None, "") else duration(raw)


def address(raw: Any) -> Address:
    """`HOST:PORT`, `:PORT` for every interface, or `[IPV6]:PORT`."""
    text = str(raw).strip()
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r} needs brackets around the IPv6 address")
    return Address(host or "0.0.0.0", int(port))


def port(raw: Any) -> int:
    """A TCP port, from 1 on."""
    text = str(raw).strip()
    if not re.fullmatch(r"[0-9]+", text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is not a port")
    return int(text)


def path(raw: Any) -> Path:
    """A path, `~` expanded."""
    if not isinstance(raw, str | Path) or not str(raw):
        raise ValueError(f"{raw!r} is not a path")
    return Path(raw).expanduser()


def optional_path(raw: Any) -> Path | None:
    """A path, or None where nothing was given."""
    return None if raw in (None, "") else path(raw)


def url(raw: Any) -> str:
    """An http or https URL without user or password in it, and without a trailing slash."""
    text = str(raw).strip()
    try:
        parts = urlsplit(text)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(f"{text!r} is not a URL like http://127.0.0.1:8080") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
        raise ValueError(f"{text!r} is not a URL like http://127.0.0.1:8080")
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a user or password in the URL; use api-key-file or a header instead")
    return text.rstrip("/")


def engine_url(raw: Any) -> str:
    """The base URL of an engine: no query, no fragment."""
    text = url(raw)
    if urlsplit(text).query or urlsplit(text).fragment:
        raise ValueError(f"{text!r} must end before ? and #")
    return text


def optional_url(raw: Any) -> str | None:
    """A URL, or None where nothing was given."""
    return None if raw in (None, "") else url(raw)


def optional_destination(raw: Any) -> str | None:
    """A folder, `~` expanded, or a URL without a password in it; None where nothing was given."""
    if raw in (None, ""):
        return None
    text = str(raw)
    if "://" in text:
        if re.match(r"[^/]*://[^/@]*:[^/@]*@", text):
            raise ValueError("has a password in the URL; give it as the storage's own client takes it")
        return text.rstrip("/")
    return text if text.startswith("ducklake:") else str(path(text))


def url_path(raw: Any) -> str:
    """An absolute path of a URL."""
    text = str(raw)
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*", text):
        raise ValueError(f"{text!r} is not a path like /metrics")
    return text


def boolean(raw: Any) -> bool:
    """true or false, however it is written."""
    if isinstance(raw, bool):
        return raw
    word = str(raw).strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ValueError(f"{raw!r} is not true or false")


def header(raw: Any) -> str:
    """`NAME=VALUE` of an HTTP header."""
    text = str(raw)
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+=[^\r\n]*", text):
        raise ValueError("a header is NAME=VALUE")
    return text


def label(raw: Any) -> str:
    """A name fit for a label value: printable, 1 to 200 characters."""
    text = str(raw).strip()
    if not text or len(text) > 200 or not text.isprintable():
        raise ValueError(f"{text[:40]!r} is not a name of 1 to 200 printable characters")
    return text


def choice(*allowed: str) -> Callable[[Any], str]:
    """One of a few words."""

    def convert(raw: Any) -> str:
        word = str(raw).strip().lower()
        if word not in allowed:
            raise ValueError(f"{raw!r} is not one of {', '.join(allowed)}")
        return word

    convert.words = allowed  # type: ignore[attr-defined]
    return convert


def flag(name: str, convert: Callable[[Any], T], raw: Any) -> T:
    """The value of a command's own flag; `UsageError` that names the flag where it cannot be read."""
    try:
        return convert(raw)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None
