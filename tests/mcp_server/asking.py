"""Asking an MCP server as its clients do, and histories for it."""

import asyncio
import time

from mcp import Client

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store.journal import Journal

READING = {
    "health", "snapshot", "engines", "models", "history", "query", "benchmark_history", "diagnose", "rediscover",
    "alerts", "recommend", "versions", "compare", "fleet",
}  # fmt: skip


def ask(server, *calls):
    """What the tools answer: structured content, or the text of an error."""

    async def all_of_them():
        async with Client(server) as client:
            results = [await client.call_tool(name, arguments) for name, arguments in calls]
            return [one.content[0].text if one.is_error else one.structured_content for one in results]

    return asyncio.run(all_of_them())


def kept(folder, count, *readings):
    """So many samples in the journal, a second apart, up to now."""
    now = int(time.time() * 1000)
    journal = Journal(folder)
    for number in range(count):
        journal.append_snapshot(Snapshot.of(now - (count - number) * 1000, [c.MEMORY_SIZE(number), *readings]), "h")
    journal.close()


def contents(*folders):
    """Every file with its time and bytes."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for folder in folders for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip
