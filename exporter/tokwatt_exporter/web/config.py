"""`--web.config.file`, the exporter-toolkit's YAML, and the bearer token: read, checked, read again when changed."""

from __future__ import annotations

import hashlib
import logging
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokwatt_exporter import credentials, parse
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.web import tls

log = logging.getLogger(__name__)

#: Headers that may be set, with the values they may have where those are few.
HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")

_Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True)
class RateLimit:
    """One request every `interval` seconds, after `burst` at once."""

    interval: float
    burst: int


@dataclass(frozen=True)
class WebConfig:
    """Who may ask, and how; `context` is there when TLS is, `token` is the SHA-256 of the bearer token."""

    context: ssl.SSLContext | None = None
    verifies_clients: bool = False
    allowed_sans: frozenset[str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, bytes] = field(default_factory=dict)
    token: bytes | None = None
    rate_limit: RateLimit | None = None
    #: Everything that was read.
    files: tuple[Path, ...] = ()

    @property
    def asks_who(self) -> bool:
        """Whether a request must carry a password or a token."""
        return bool(self.users) or self.token is not None


def load(config: Config) -> WebConfig:
    """What the two files say; `UsageError` names the file and the key that cannot be used."""
    path, token_file = config.web_config_file, config.web_bearer_token_file
    token = read_token(token_file) if token_file else None
    extra = [token_file] if token_file else []
    if not path:
        return WebConfig(token=token, files=tuple(extra))
    try:
        return _web_config(_read_yaml(path), path, token, extra)
    except ValueError as error:
        raise UsageError(f"web.config.file: {path}: {error}") from None


class Source:
    """The configuration as it is on disk now; `current` never raises, a broken change leaves the last good one."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._good = load(config)
        self._stamp = self._look()
        self.over_tls = self._good.context is not None

    def current(self) -> WebConfig:
        """What holds now; the files are read when one of them is another one than before."""
        if (stamp := self._look()) != self._stamp:
            self._stamp = stamp
            try:
                self._take(load(self._config))
            except UsageError as error:
                log.error("the web configuration stays as it was: %s", error)
            except Exception:
                # Whoever accepts connections asks this, and must go on.
                log.exception("the web configuration stays as it was")
        return self._good

    def _take(self, new: WebConfig) -> None:
        # Passwords of clients that know us by https must not travel in the clear from one moment to the next.
        if (new.context is not None) != self.over_tls:
            raise UsageError("TLS is switched on and off only by a restart")
        self._good = new
        self._stamp = self._look()
        log.info("the web configuration was read again")

    def _look(self) -> _Stamp:
        return tuple(_stamp(path) for path in self._good.files)


def read_token(path: Path) -> bytes:
    """The SHA-256 of the bearer token in a file that only this user can read."""
    return hashlib.sha256(credentials.read_secret(path, f"web.bearer-token-file: {path}", "token")).digest()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read_yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise ValueError(f"not valid YAML{line}: {getattr(error, 'problem', None) or 'cannot be read'}") from None


def _web_config(document: Any, path: Path, token: bytes | None, extra: Iterable[Path]) -> WebConfig:
    root = table(document, "the file", ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"))
    settings = tls.read(table(root.get("tls_server_config"), "tls_server_config", tls.KEYS), path.parent)
    http = table(root.get("http_server_config"), "http_server_config", ("http2", "headers"))
    if not isinstance(http.get("http2", True), bool):
        raise ValueError("http_server_config.http2: is not true or false")
    return WebConfig(
        context=settings.context() if settings else None,
        verifies_clients=bool(settings and settings.verifies_clients),
        allowed_sans=settings.allowed_sans if settings else None,
        headers=_headers(table(http.get("headers"), "http_server_config.headers", HEADERS)),
        users=_users(root.get("basic_auth_users")),
        token=token,
        rate_limit=_rate_limit(table(root.get("rate_limit"), "rate_limit", ("interval", "burst"))),
        files=(path, *(settings.files if settings else ()), *extra),
    )


def table(value: Any, name: str, known: Iterable[str]) -> dict[str, Any]:
    """A mapping with known keys only, empty where nothing was written; `ValueError` otherwise."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{name}: must be a mapping")
    if unknown := [key for key in value if key not in known]:
        raise ValueError(f"{name}: unknown key {unknown[0]}; known are {', '.join(known)}")
    return value


def _headers(given: Mapping[str, Any]) -> dict[str, str]:
    for name, value in given.items():
        allowed = HEADERS[name]
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ValueError(f"http_server_config.headers.{name}: must be a line of ASCII")
        if value and allowed and value.lower() not in allowed:
            raise ValueError(f"http_server_config.headers.{name}: {value!r} is not one of {', '.join(allowed)}")
    return dict(given)


def _users(given: Any) -> dict[str, bytes]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ValueError("basic_auth_users: must be a mapping of users to bcrypt hashes")
    for user, hashed in given.items():
        # The value is never shown: it may be a password that somebody forgot to hash.
        if not isinstance(user, str) or ":" in user:
            raise ValueError(f"basic_auth_users: {user!r} is not a user name")
        if not isinstance(hashed, str) or not _BCRYPT.fullmatch(hashed):
            raise ValueError(f"basic_auth_users.{user}: is not a bcrypt hash; htpasswd -nBC 10 {user} makes one")
    return {user: hashed.encode() for user, hashed in given.items()}


def _rate_limit(given: Mapping[str, Any]) -> RateLimit | None:
    interval, burst = given.get("interval", 0), given.get("burst", 0)
    if not isinstance(burst, int) or isinstance(burst, bool) or burst < 0:
        raise ValueError("rate_limit.burst: is not a whole number")
    if str(interval).strip() in ("0", "0s"):
        return None
    try:
        return RateLimit(parse.duration(interval), burst)
    except ValueError as error:
        raise ValueError(f"rate_limit.interval: {error}") from None
