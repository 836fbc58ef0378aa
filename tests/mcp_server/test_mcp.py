"""The MCP server as the SDK's own client sees it: in this process, over stdio and over streamable HTTP."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from e2e.daemon import daemon
from support.net import free_port, get, wait_for
from tokwatt_exporter import __version__
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.mcp_server.benchmark import BenchmarkFailed, Runner, pressure
from tokwatt_exporter.mcp_server.server import build
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from web.serving import running as serving
from web.serving import settings, write

READING = {
    "health", "snapshot", "engines", "models", "history", "query", "benchmark_history", "diagnose", "rediscover",
}  # fmt: skip
TOKEN = "a-long-secret-token-of-our-own"


def ask(server, *calls):
    """What the tools answer: structured content, or the text of an error."""

    async def all_of_them():
        async with Client(server) as client:
            results = [await client.call_tool(name, arguments) for name, arguments in calls]
            return [one.content[0].text if one.is_error else one.structured_content for one in results]

    return asyncio.run(all_of_them())


def kept(folder, count):
    """So many samples in the journal, a second apart, up to now."""
    now = int(time.time() * 1000)
    journal = Journal(folder)
    for number in range(count):
        journal.append_snapshot(Snapshot.of(now - (count - number) * 1000, [c.MEMORY_SIZE(number)]), "h")
    journal.close()


def contents(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def over_http(*args):
    port = free_port()
    command = [sys.executable, "-m", "tokwatt_exporter", "mcp", "--http", "--listen", f"127.0.0.1:{port}", *args]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            wait_for(lambda: get(f"http://127.0.0.1:{port}/").status_code, 30, "the MCP server to answer")
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)


def test_every_tool_says_what_it_answers_and_only_the_benchmark_does_more_than_read():
    async def listed():
        async with Client(build(settings())) as client:
            return (await client.list_tools()).tools, (await client.list_resources()).resources, client.server_info

    tools, resources, info = asyncio.run(listed())
    assert {tool.name for tool in tools} == READING | {"benchmark_run"}
    assert {tool.name for tool in tools if tool.annotations.read_only_hint} == READING
    assert all(tool.output_schema and tool.output_schema["properties"] for tool in tools)
    assert all(tool.description for tool in tools)
    assert {str(one.uri) for one in resources} == {f"tokwatt://{n}" for n in ("status", "models", "machine", "metrics")}
    assert (info.name, info.version) == ("tokwatt", __version__)


def test_the_snapshot_is_what_the_daemon_publishes():
    with serving() as web:
        server = build(settings(web_listen_address=[f"127.0.0.1:{web.port}"]))
        whole, unknown, health = ask(server, ("snapshot", {}), ("snapshot", {"metrics": ["nonsense"]}), ("health", {}))
    assert whole["source"] == "daemon"
    told = {(row["metric"], *sorted(row["labels"].items())): row["value"] for row in whole["readings"]}
    assert told == {(family.name, *labels): value for family, labels, value in web.daemon.latest}
    assert "there is no metric nonsense" in unknown
    assert (health["daemon"], health["url"]) == (True, web.url)


def test_history_comes_in_pages_that_together_are_all_of_it(tmp_path):
    kept(tmp_path, 7)
    ingest(tmp_path)
    server = build(settings(data_dir=str(tmp_path)))
    found, cursor = [], None
    for rows in (3, 3, 1):
        [page] = ask(server, ("history", {"metric": "tokwatt_memory_size_bytes", "limit": 3, "cursor": cursor}))
        assert len(page["rows"]) == rows
        found, cursor = found + page["rows"], page["next_cursor"]
    assert ([row["value"] for row in found], cursor) == ([0, 1, 2, 3, 4, 5, 6], None)
    [refused] = ask(server, ("history", {"metric": "tokwatt_memory_size_bytes", "limit": 1_000_000}))
    assert "is not a number from 1 to 1000" in refused


def test_reading_writes_nothing_not_even_what_waits_in_the_journal(tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    kept(data, 2)
    ingest(data)
    kept(data, 2)
    before = contents(data)
    server = build(settings(data_dir=str(data), web_listen_address=[f"127.0.0.1:{free_port()}"]))
    arguments = {"history": {"metric": "tokwatt_memory_size_bytes"}, "query": {"name": "series"}}
    answers = ask(server, *[(name, arguments.get(name, {})) for name in sorted(READING)])
    assert [one for one in answers if isinstance(one, str)] == []
    assert contents(data) == before


def test_a_benchmark_started_by_an_agent_tells_it_how_far_it_is(tmp_path):
    program = "import sys, time, json; time.sleep(1.5); print(json.dumps({'results': [{'arguments': sys.argv[1:]}]}))"
    runner = Runner((sys.executable, "-c", program))
    server = build(settings(data_dir=str(tmp_path), web_listen_address=[f"127.0.0.1:{free_port()}"]), runner)
    told = []

    async def progress(done, total, message):
        told.append(message)

    async def run():
        async with Client(server) as client:
            return await client.call_tool("benchmark_run", {"model": "m", "runs": 3}, progress_callback=progress)

    [result] = asyncio.run(run()).structured_content["results"]
    assert result["arguments"][:2] == ["run", "--json"]
    assert {"--model=m", "--runs=3", f"--data-dir={tmp_path}"} <= set(result["arguments"])
    assert told[0] == "measuring for 1 s"


def test_memory_pressure_refuses_a_benchmark():
    assert pressure(Snapshot.of(0, [*c.MEMORY_PRESSURE("normal"), c.MEMORY_SIZE(100), c.MEMORY_AVAILABLE(50)])) is None
    assert pressure(Snapshot.of(0, [*c.MEMORY_PRESSURE("critical")])) == "memory pressure is critical"
    assert pressure(Snapshot.of(0, [c.MEMORY_SIZE(100), c.MEMORY_AVAILABLE(2)])) == "only 2% of the memory is available"
    assert pressure(Snapshot.of(0, [])) is None


async def nothing(seconds):
    pass


def test_a_benchmark_is_one_at_a_time_tells_its_progress_and_ends_when_cancelled(tmp_path):
    ended = tmp_path / "ended"
    program = tmp_path / "bench.py"
    program.write_text(
        "import pathlib, signal, time\n"
        f"def end(*_): pathlib.Path({str(ended)!r}).write_text('interrupted'); raise SystemExit(130)\n"
        f"signal.signal(signal.SIGINT, end); pathlib.Path({str(tmp_path / 'began')!r}).touch()\n"
        "time.sleep(60)\n"
    )

    async def scene():
        runner = Runner((sys.executable, str(program)))
        steps = []

        async def step(seconds):
            steps.append(seconds)

        first = asyncio.create_task(runner.run([], step))
        while not (tmp_path / "began").exists() or not steps:
            await asyncio.sleep(0.02)
        with pytest.raises(UsageError, match="two at once"):
            await runner.run([], nothing)
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first

    asyncio.run(scene())
    assert ended.read_text() == "interrupted"


def test_a_benchmark_that_fails_says_why_in_the_words_of_the_program():
    fails = (sys.executable, "-c", "import sys; sys.exit('no engine was found')")
    with pytest.raises(BenchmarkFailed, match="no engine was found"):
        asyncio.run(Runner(fails).run([], nothing))


@pytest.mark.e2e
def test_over_stdio_it_answers_what_metrics_says(tmp_path):
    with daemon(tmp_path / "data", "--sample-interval", "500ms") as running:
        arguments = ["-m", "tokwatt_exporter", "mcp", "--data-dir", str(tmp_path / "data"),
                     "--web.listen-address", f"127.0.0.1:{running.port}"]  # fmt: skip
        over = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))
        size, status = ask(over, ("snapshot", {"metrics": ["tokwatt_memory_size_bytes"]}), ("health", {}))
        [reading] = size["readings"]
        assert reading["value"] == running.value(c.MEMORY_SIZE(0))
        assert status["daemon"]


@pytest.mark.e2e
def test_over_http_a_token_is_asked_for_and_web_pages_and_other_names_are_refused(tmp_path):
    token = write(tmp_path / "token", TOKEN + "\n")

    async def health(url):
        http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False)
        async with http, Client(streamable_http_client(url, http_client=http)) as client:
            resource = await client.read_resource("tokwatt://metrics")
            prompts = (await client.list_prompts()).prompts
            return (await client.call_tool("health", {})).structured_content, resource.contents[0].text, prompts

    with over_http("--web.bearer-token-file", str(token), "--data-dir", str(tmp_path)) as url:
        found, metrics, prompts = asyncio.run(health(url))
        known = {"Authorization": f"Bearer {TOKEN}"}
        assert get(url).status_code == 401
        assert get(url, headers=known | {"Host": "evil.example"}).status_code == 421
        assert get(url, headers=known | {"Origin": "https://evil.example"}).status_code == 403
    assert found["version"] == __version__
    assert {row["metric"] for row in json.loads(metrics)} == set(c.CATALOGUE)
    assert {prompt.name for prompt in prompts} == {"now", "energy_per_token", "trouble", "compare"}


@pytest.mark.e2e
def test_beyond_this_machine_it_is_not_served_without_a_token(tmp_path):
    command = [sys.executable, "-m", "tokwatt_exporter", "mcp", "--http", "--listen", f"0.0.0.0:{free_port()}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, "lets others in" in result.stderr) == (2, True)


def test_without_the_sdk_one_line_says_how_to_get_it():
    code = "import sys; sys.modules['mcp'] = None; sys.argv = ['tokwatt', 'mcp']\n"
    code += "from tokwatt_exporter.__main__ import main\nmain()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.stderr == "tokwatt: the MCP server needs the SDK: pip install 'tokwatt[mcp]'\n"
    assert result.returncode == 2
