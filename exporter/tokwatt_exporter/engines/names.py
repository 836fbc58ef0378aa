"""The `engine` label of every engine."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from tokwatt_exporter.config import EngineConfig


class Names:
    """Names engines by kind: `ollama`, `ollama-2`. An engine keeps its name as long as its URL and kind are known."""

    def __init__(self, engines: Iterable[EngineConfig] = ()) -> None:
        self._names: dict[str, tuple[str | None, str]] = {}
        self._configured = {engine.url: engine for engine in engines}
        self._given = {engine.url: engine.name for engine in self._configured.values() if engine.name}

    def name(self, url: str, kind: str | None) -> str:
        """The name of the engine at a URL; host and port for a configured one without a name and a kind."""
        if url in self._given:
            return self._given[url]
        # A configured engine may be down now and up at the next start: its name must not hang on what is recognised.
        kind = self._configured[url].kind if url in self._configured else kind
        if url in self._names and self._names[url][0] == kind:
            return self._names[url][1]
        self.release(url)
        base = kind or urlsplit(url).netloc
        taken = {name for _, name in self._names.values()} | set(self._given.values())
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}-{count}"
        self._names[url] = (kind, name)
        return name

    def release(self, url: str) -> None:
        """Let others have the name: the engine is forgotten, or has become another kind."""
        self._names.pop(url, None)
