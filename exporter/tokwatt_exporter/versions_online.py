"""The newest version of an engine, from those who publish it: asked only where the user wants that."""

from __future__ import annotations

import functools
from contextlib import closing
from typing import Any

import httpx

from tokwatt_exporter import versions as here
from tokwatt_exporter.config import Config
from tokwatt_exporter.limited import content
from tokwatt_exporter.versions import SOURCES, Versions

GITHUB, PYPI = "https://api.github.com", "https://pypi.org"
SECONDS = 10.0
MOST_BYTES = 32 * 2**20


def versions(config: Config) -> list[Versions]:
    """The versions of each engine, the newest asked for, too."""
    with closing(Publishers()) as publishers:
        return here.versions(config, publishers.newest)


class Publishers:
    """Asks GitHub for releases and PyPI for packages, each once, and by no other name than the engine's."""

    def __init__(self, github: str = GITHUB, pypi: str = PYPI) -> None:
        self._github, self._pypi = github, pypi
        # Behind a proxy there is no other way out, so here the environment counts.
        self._client = httpx.Client(timeout=SECONDS, follow_redirects=True, headers={"User-Agent": "tokwatt"})
        self.newest = functools.cache(self._newest)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _newest(self, kind: str) -> tuple[str | None, str | None]:
        source = SOURCES.get(kind)
        if source and source.pypi:
            return self._ask(f"{self._pypi}/pypi/{source.pypi}/json", "info", "version")
        if source and source.github:
            return self._ask(f"{self._github}/repos/{source.github}/releases/latest", "tag_name")
        return None, "nobody who publishes it can be asked"

    def _ask(self, url: str, *keys: str) -> tuple[str | None, str | None]:
        host = httpx.URL(url).host
        try:
            answer = self._read(url)
            for key in keys:
                answer = answer[key]
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            return None, f"{host} answers with HTTP {status}{' (asked too often)' if status in (403, 429) else ''}"
        except httpx.HTTPError as error:
            return None, f"{host} does not answer: {' '.join(str(error).split())[:200]}"
        except (ValueError, LookupError, TypeError):
            return None, f"{host} does not say which one is the newest"
        if not isinstance(answer, str) or not 0 < len(answer) <= 100 or not answer.isprintable():
            return None, f"{host} does not say which one is the newest"
        return answer, None

    def _read(self, url: str) -> Any:
        import json

        with self._client.stream("GET", url) as answer:
            answer.raise_for_status()
            return json.loads(content(answer, MOST_BYTES))
