"""Servers whose API needs a key while their `/metrics` is open: what those metrics are called tells who it is."""

from __future__ import annotations

import re

from tokwatt_exporter.engines.base import Asker
from tokwatt_exporter.engines.openai_compatible import SHARED_SECONDS
from tokwatt_exporter.engines.replies import refused


async def speaks(ask: Asker, prefix: str) -> str | None:
    """A metric whose name starts with `prefix`, of a server that refuses its list of models; None otherwise.

    Only servers that are uvicorn, as all of these are, get a second question, and all adapters share it.
    """
    first = await ask.get("/v1/models", SHARED_SECONDS)
    if not refused(first) or first.headers.get("server") != "uvicorn":
        return None
    answer = await ask.get("/metrics", SHARED_SECONDS)
    found = re.search(rb"^" + re.escape(prefix.encode()) + rb"[a-z_]{1,80}", answer.body, re.MULTILINE)
    return found[0].decode() if found and answer.status == 200 else None
