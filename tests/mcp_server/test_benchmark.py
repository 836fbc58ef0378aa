"""A benchmark that an agent starts: with progress, one at a time, ended when cancelled, refused under pressure."""

import asyncio
import contextlib
import sys

import pytest
from mcp import Client

from mcp_server.asking import ask
from support.net import free_port
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.mcp_server.benchmark import BenchmarkFailed, Runner, pressure
from tokwatt_exporter.mcp_server.server import build
from tokwatt_exporter.snapshot import Snapshot
from web.serving import running as serving
from web.serving import settings


def script(code):
    return Runner((sys.executable, "-c", code))


def test_a_benchmark_started_by_an_agent_tells_it_how_far_it_is(tmp_path):
    runner = script(
        "import sys, time, json; time.sleep(1.5); print(json.dumps({'results': [{'arguments': sys.argv[1:]}]}))"
    )
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


@pytest.mark.parametrize("readings", [
    c.MEMORY_PRESSURE("critical"), [c.MEMORY_SIZE(100), c.MEMORY_AVAILABLE(2)],
], ids=["pressure", "little"])  # fmt: skip
def test_under_memory_pressure_nothing_is_started(tmp_path, readings):
    began = tmp_path / "began"
    with serving() as web:
        web.daemon.latest = Snapshot.of(1_800_000_000_000, readings)
        config = settings(data_dir=str(tmp_path), web_listen_address=[f"127.0.0.1:{web.port}"])
        [said] = ask(build(config, script(f"open({str(began)!r}, 'w')")), ("benchmark_run", {}))
    assert "no benchmark now: " in said
    assert not began.exists()


def test_what_memory_pressure_is():
    assert pressure(Snapshot.of(0, [*c.MEMORY_PRESSURE("normal"), c.MEMORY_SIZE(100), c.MEMORY_AVAILABLE(50)])) is None
    assert pressure(Snapshot.of(0, [*c.MEMORY_PRESSURE("critical")])) == "memory pressure is critical"
    assert pressure(Snapshot.of(0, [c.MEMORY_SIZE(100), c.MEMORY_AVAILABLE(2)])) == "only 2% of the memory is available"
    assert pressure(Snapshot.of(0, [])) is None


def test_a_benchmark_is_one_at_a_time_and_ends_when_the_agent_cancels(tmp_path):
    began, ended = tmp_path / "began", tmp_path / "ended"
    runner = script(
        "import pathlib, signal, time\n"
        f"def end(*_): pathlib.Path({str(ended)!r}).write_text('interrupted'); raise SystemExit(130)\n"
        f"signal.signal(signal.SIGINT, end); pathlib.Path({str(began)!r}).touch()\n"
        "time.sleep(60)\n"
    )
    server = build(settings(data_dir=str(tmp_path), web_listen_address=[f"127.0.0.1:{free_port()}"]), runner)

    async def scene():
        async with Client(server) as client:
            first = asyncio.create_task(client.call_tool("benchmark_run", {}))
            while not began.exists():
                await asyncio.sleep(0.02)
            second = await client.call_tool("benchmark_run", {})
            first.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await first
            while not ended.exists():
                await asyncio.sleep(0.02)
            return second

    second = asyncio.run(asyncio.wait_for(scene(), 60))
    assert "two at once measure each other" in second.content[0].text
    assert ended.read_text() == "interrupted"


def test_a_benchmark_that_fails_says_why_in_the_words_of_the_program():
    async def nothing(seconds):
        pass

    with pytest.raises(BenchmarkFailed, match="no engine was found"):
        asyncio.run(script("import sys; sys.exit('no engine was found')").run([], nothing))
