"""`/api/v1/query/<name>`: the named, read-only queries of the history, as JSON, and the description of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

from tokwatt_exporter.errors import StoreError, StoreSlow, UsageError
from tokwatt_exporter.store.queries import QUERIES, prepare

log = logging.getLogger(__name__)

PREFIX = "/api/v1/query/"
DESCRIPTION = "/api/v1/openapi.json"
JSON = "application/json"
#: Each query is a process of its own for its time.
MAX_RUNNING = 2
MAX_WAITING = 8
#: Rows that one answer may have: it is held in memory as a whole.
MAX_ROWS = 20_000

Query = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]
#: Status, body, content type and further headers.
Parts = tuple[int, bytes, str, tuple[tuple[str, str], ...]]


class Api:
    """Answers queries by `query`, a few at a time, off the event loop."""

    def __init__(self, query: Query | None) -> None:
        self._query = query
        self._pool = ThreadPoolExecutor(MAX_RUNNING, "query")
        self._waiting = 0

    def has(self, path: str) -> bool:
        """Whether a path is of this API."""
        return path == DESCRIPTION or path.startswith(PREFIX)

    async def answer(self, path: str, query_string: str) -> Parts:
        """The rows, what can be asked, or one line that says what was wrong."""
        if path == DESCRIPTION:
            # Not at the top: few ask for it.
            from tokwatt_exporter.web.openapi import description

            return 200, json.dumps(description(PREFIX, MAX_ROWS)).encode(), JSON, ()
        return await self._asked(path.removeprefix(PREFIX), query_string)

    async def _asked(self, name: str, query_string: str) -> Parts:
        if name not in QUERIES:
            return problem(404, f"there is no query {name[:80]}; there are: {', '.join(QUERIES)}")
        if self._query is None:
            return problem(503, "there is no history")
        if self._waiting >= MAX_RUNNING + MAX_WAITING:
            return problem(503, "too many queries at once", ("Retry-After", "1"))
        try:
            params = parameters(name, query_string)
        except (UsageError, ValueError) as error:
            return problem(400, str(error))
        self._waiting += 1
        try:
            body = await asyncio.get_running_loop().run_in_executor(self._pool, self._rows, name, params)
        except UsageError as error:
            return problem(400, str(error))
        except StoreSlow as error:
            return problem(503, str(error))
        except StoreError as error:
            return problem(503, str(error), ("Retry-After", "1"))
        finally:
            self._waiting -= 1
        return 200, body, JSON, ()

    def close(self) -> None:
        """Let go of the threads; queries under way are left to end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _rows(self, name: str, params: Mapping[str, Any]) -> bytes:
        assert self._query is not None
        rows = self._query(name, params)
        # Objects are what Grafana's Infinity data source reads without being told the columns.
        return json.dumps({"columns": list(rows[0]) if rows else [], "rows": rows}, default=str).encode()


def parameters(name: str, query_string: str) -> dict[str, Any]:
    """The parameters of a query; `UsageError` in words of the query where one is unknown or cannot be read."""
    params: dict[str, Any] = {}
    for key, value in parse_qsl(query_string, keep_blank_values=True, max_num_fields=50):
        if key == "labels":
            params.setdefault(key, []).append(value)
        elif key in params:
            raise UsageError(f"{key} is given twice")
        # An empty variable of a dashboard is one that was not chosen.
        elif value:
            params[key] = value
    known = QUERIES[name].params
    if "limit" in known:
        params.setdefault("limit", str(min(MAX_ROWS, known["limit"].default)))
    prepare(name, params)
    if int(params.get("limit", 0)) > MAX_ROWS:
        raise UsageError(f"limit: at most {MAX_ROWS} over HTTP; a step makes fewer rows")
    return params


def problem(status: int, why: str, *headers: tuple[str, str]) -> Parts:
    """An answer that is one line, as JSON."""
    return status, json.dumps({"error": why}).encode(), JSON, headers
