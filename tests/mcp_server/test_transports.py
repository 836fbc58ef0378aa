"""The SDK's client over each transport, beside one real daemon; and who is not let in over HTTP."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from e2e.daemon import daemon
from mcp_server.asking import READING
from support.net import PLAIN, free_port, get, wait_for
from tokwatt_exporter import __version__
from tokwatt_exporter import catalogue as c
from web.serving import write

pytestmark = pytest.mark.e2e

TOKEN = "a-long-secret-token-of-our-own"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
MCP = [sys.executable, "-m", "tokwatt_exporter", "mcp"]
PATHS = {"streamable-http": "/mcp", "sse": "/sse"}


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A daemon, and the flags that lead to it."""
    folder = tmp_path_factory.mktemp("transports")
    with daemon(folder / "data", "--sample-interval", "500ms") as running:
        yield running, ["--data-dir", str(folder / "data"), "--web.listen-address", f"127.0.0.1:{running.port}"]


@contextlib.contextmanager
def over_http(transport, *args):
    port = free_port()
    command = [*MCP, "--transport", transport, "--listen", f"127.0.0.1:{port}", *args]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            wait_for(lambda: get(f"http://127.0.0.1:{port}/").status_code, 30, "the MCP server to answer")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)


async def asked(transport):
    async with Client(transport) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        size = await client.call_tool("snapshot", {"metrics": ["tokwatt_memory_size_bytes"]})
        health = await client.call_tool("health", {})
        metrics = await client.read_resource("tokwatt://metrics")
        prompts = (await client.list_prompts()).prompts
        return names, size.structured_content, health.structured_content, metrics.contents[0].text, prompts


async def with_token(url, transport):
    if transport == "sse":
        return await asked(sse_client(url, headers=KNOWN))
    async with httpx2.AsyncClient(headers=KNOWN, trust_env=False) as http:
        return await asked(streamable_http_client(url, http_client=http))


def check(answer, running):
    names, size, health, metrics, prompts = answer
    assert names == READING | {"benchmark_run"}
    [reading] = size["readings"]
    assert reading["value"] == running.value(c.MEMORY_SIZE(0))
    assert (health["daemon"], health["version"]) == (True, __version__)
    assert {row["metric"] for row in json.loads(metrics)} == set(c.CATALOGUE)
    assert len(prompts) >= 5


def test_over_stdio_it_answers_what_metrics_says(machine):
    running, flags = machine
    over = StdioServerParameters(command=sys.executable, args=[*MCP[1:], *flags], env=dict(os.environ))
    check(asyncio.run(asked(over)), running)


@pytest.mark.parametrize("transport", PATHS)
def test_over_http_a_token_is_asked_for_and_web_pages_and_other_names_are_refused(machine, tmp_path, transport):
    running, flags = machine
    token = write(tmp_path / "token", TOKEN + "\n")
    with (
        contextlib.ExitStack() as open_until_later,
        over_http(transport, "--web.bearer-token-file", str(token), *flags) as server,
    ):
        url = server + PATHS[transport]
        check(asyncio.run(with_token(url, transport)), running)
        for path in {PATHS[transport], "/messages/?session_id=" + "0" * 32}:
            for method in ("GET", "POST"):

                def status(extra, method=method, path=path):
                    return httpx.request(
                        method, server + path, headers=extra, trust_env=False, verify=PLAIN
                    ).status_code

                assert status({}) == 401
                assert status({"Authorization": "Bearer nonsense"}) == 401
                assert status(KNOWN | {"Host": "evil.example"}) == 421
                assert status(KNOWN | {"Origin": "https://evil.example"}) == 403
        # A stream that its client keeps open is no reason to go on.
        if transport == "sse":
            stream = httpx.stream("GET", url, headers=KNOWN, trust_env=False, verify=PLAIN)
            assert open_until_later.enter_context(stream).status_code == 200


def test_beyond_this_machine_it_is_not_served_without_a_token():
    command = [*MCP, "--transport", "sse", "--listen", f"0.0.0.0:{free_port()}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, "lets others in" in result.stderr) == (2, True)


def test_a_transport_that_there_is_not_costs_one_line():
    result = subprocess.run([*MCP, "--transport", "pigeon"], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "--transport: 'pigeon' is not one of stdio, streamable-http, sse" in result.stderr
