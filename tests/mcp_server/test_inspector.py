"""The MCP inspector, which is no client of ours, in its command-line mode."""

import json
import os
import subprocess
import sys

import pytest

from mcp_server.asking import READING
from support.components import component
from support.net import free_port

pytestmark = pytest.mark.e2e


def inspect(folder, *method):
    """What it prints of a server that it starts itself."""
    server = [sys.executable, "-m", "tokwatt_exporter", "mcp", "--data-dir", str(folder),
              "--web.listen-address", f"127.0.0.1:{free_port()}"]  # fmt: skip
    done = subprocess.run(
        [component("mcp-inspector"), *server, "--method", *method], capture_output=True, text=True,
        timeout=120, check=False, env={**os.environ, "NO_COLOR": "1"}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_inspector_lists_the_tools_and_has_nothing_to_say_against_their_schemas(tmp_path):
    tools = inspect(tmp_path, "tools/list", "--strict")["tools"]
    assert {tool["name"] for tool in tools} == READING | {"benchmark_run"}
    assert {tool["name"] for tool in tools if tool["annotations"]["readOnlyHint"]} == READING


def test_the_inspector_calls_a_tool(tmp_path):
    found = inspect(tmp_path, "tools/call", "--tool-name", "history", "--tool-arg", "metric=tokwatt_memory_size_bytes")
    assert found["structuredContent"] == {"rows": [], "next_cursor": None}
