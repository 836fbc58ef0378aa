"""The MCP server as the SDK's own client sees it, in this process."""

import asyncio
import json
import subprocess
import sys

from mcp import Client

from mcp_server.asking import READING, ask, contents, kept
from support.net import free_port
from tokwatt_exporter import __version__
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.mcp_server.server import build
from tokwatt_exporter.store.ingest import ingest
from web.serving import running as serving
from web.serving import settings

PROMPTS = {"now", "energy_per_token", "trouble", "compare", "choose", "fleet"}
RESOURCES = {"status", "models", "machine", "metrics"}


def listed(server):
    """The tools, the text of each resource by URI, what each prompt says, and what the server calls itself."""

    async def everything():
        async with Client(server) as client:
            tools = (await client.list_tools()).tools
            uris = [one.uri for one in (await client.list_resources()).resources]
            resources = {uri: (await client.read_resource(uri)).contents[0].text for uri in uris}
            prompts = {}
            for prompt in (await client.list_prompts()).prompts:
                given = {one.name: "m" for one in prompt.arguments or () if one.required}
                prompts[prompt.name] = (await client.get_prompt(prompt.name, given)).messages[0].content.text
            return tools, resources, prompts, client.server_info

    return asyncio.run(everything())


def test_every_tool_says_what_it_answers_and_only_the_benchmark_does_more_than_read():
    with serving() as web:
        tools, resources, prompts, info = listed(build(settings(web_listen_address=[f"127.0.0.1:{web.port}"])))
    assert {tool.name for tool in tools} == READING | {"benchmark_run"}
    assert {tool.name for tool in tools if tool.annotations.read_only_hint} == READING
    assert {tool.name for tool in tools if tool.annotations.open_world_hint} == {"fleet", "versions", "diagnose"}
    assert all(tool.output_schema and tool.output_schema["properties"] for tool in tools)
    assert all(tool.description for tool in tools)
    assert (info.name, info.version) == ("tokwatt", __version__)
    assert resources.keys() == {f"tokwatt://{name}" for name in RESOURCES}
    assert {row["metric"] for row in json.loads(resources["tokwatt://metrics"])} == set(c.CATALOGUE)
    assert json.loads(resources["tokwatt://status"])["url"] == web.url
    assert prompts.keys() == PROMPTS
    # Each leads to a tool that there is.
    assert all(any(f" {tool.name}" in text for tool in tools) for text in prompts.values())


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


def test_without_the_sdk_one_line_says_how_to_get_it():
    code = "import sys; sys.modules['mcp'] = None; sys.argv = ['tokwatt', 'mcp']\n"
    code += "from tokwatt_exporter.__main__ import main\nmain()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.stderr == "tokwatt: the MCP server needs the SDK: pip install 'tokwatt[mcp]'\n"
    assert result.returncode == 2


def test_reading_writes_nothing_not_even_what_waits_in_the_journal(two_runs, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    kept(two_runs.folder, 2)
    before = contents(two_runs.folder, home)
    assert any("journal" in path.name for path in before)
    server = build(settings(data_dir=str(two_runs.folder), web_listen_address=[f"127.0.0.1:{free_port()}"]))
    arguments = {
        "history": {"metric": "tokwatt_memory_size_bytes"}, "query": {"name": "series"},
        "compare": {"first": two_runs.ids[0], "second": two_runs.ids[1]},
    }  # fmt: skip
    names = sorted(READING - {"fleet"})
    answers = dict(zip(names, ask(server, *[(name, arguments.get(name, {})) for name in names]), strict=True))
    assert {name: one for name, one in answers.items() if isinstance(one, str)} == {}
    assert contents(two_runs.folder, home) == before
