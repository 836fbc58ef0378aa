"""Which engine a proxy stands before: a configured one, a kind at its usual port, or a URL."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from tokwatt_exporter import parse
from tokwatt_exporter.config import Config
from tokwatt_exporter.engines.discovery import same
from tokwatt_exporter.engines.names import Names
from tokwatt_exporter.engines.registry import KINDS
from tokwatt_exporter.engines.scan import adapter, port
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.proxy.relay import Upstream


class Target(NamedTuple):
    """The engine, and what it is called in the label `engine`."""

    name: str
    url: str

    def upstream(self) -> Upstream:
        """Where to connect to; certificates are checked."""
        parts = urlsplit(self.url)
        if parts.scheme == "http":
            return Upstream(parts.hostname or "", port(self.url))
        import ssl

        return Upstream(parts.hostname or "", port(self.url), ssl.create_default_context())


def choose(config: Config, engine: str, name: str | None) -> Target:
    """The engine that is meant by a name, a kind or a URL; `UsageError` where none is, or more than one."""
    names = Names(config.engines)
    configured = {names.name(one.url, one.kind): one.url for one in config.engines}
    if "://" in engine:
        url = parse.flag("--engine", parse.engine_url, engine)
        found = next((Target(called, at) for called, at in configured.items() if same(at, url)), None)
        found = found or Target(names.name(url, None), url)
    elif engine in configured:
        found = Target(engine, configured[engine])
    elif engine in KINDS:
        found = Target(engine, _usual(config, engine))
    else:
        known = ", ".join((*configured, *KINDS))
        raise UsageError(f"--engine: {engine!r} is no URL, no configured engine and no kind; there are {known}")
    if urlsplit(found.url).path:
        raise UsageError(f"--engine: {found.url} has a path, and the proxy changes no byte of a request; leave it out")
    return Target(parse.flag("--name", parse.label, name), found.url) if name else found


def _usual(config: Config, kind: str) -> str:
    of_kind = [one.url for one in config.engines if one.kind == kind]
    if len(of_kind) > 1:
        raise UsageError(f"--engine: there are {len(of_kind)} engines of kind {kind}; give the name or the URL of one")
    usual = adapter(kind).ports
    if not of_kind and (not usual or kind == "openai_compatible"):
        raise UsageError(f"--engine: {kind} has no usual port; give the URL")
    return of_kind[0] if of_kind else f"http://127.0.0.1:{usual[0]}"
