"""The server: tools, resources and prompts."""

from __future__ import annotations

import json
from typing import Any

from mcp.server.mcpserver import MCPServer

from tokwatt_exporter import __version__
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.config import Config
from tokwatt_exporter.mcp_server import look, tools
from tokwatt_exporter.mcp_server.benchmark import Runner
from tokwatt_exporter.mcp_server.tools import Setting, asked

MACHINE = (c.HOST_INFO, c.DEVICE_INFO, c.MEMORY_SIZE, c.CPU_CORES)
INSTRUCTIONS = (
    "What this machine and its LLM engines do: power, memory, tokens, joules per token. What is not known has no "
    "series or is null, never 0. Counters end in _total: their growth over time is a rate, joules a second are watts."
)


def build(
    config: Config, runner: Runner | None = None, *, prometheus: str | None = None, own: bool = True
) -> MCPServer[Any]:
    """A server that reads what these settings name; `runner` runs benchmarks, `prometheus` knows other machines.

    `own` says that a client on this machine started it for itself.
    """
    server: MCPServer[Any] = MCPServer("tokwatt", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")
    tools.add(server, Setting(config, runner or Runner(), prometheus, own))
    _resources(server, config)
    _prompts(server)
    return server


def _resources(server: MCPServer[Any], config: Config) -> None:
    json_type = "application/json"

    @server.resource("tokwatt://status", mime_type=json_type, description="Whether this machine is measured now.")
    async def status() -> str:
        return (await asked(look.health, config)).model_dump_json()

    @server.resource("tokwatt://models", mime_type=json_type, description="The models in memory.")
    async def loaded() -> str:
        return (await asked(look.models, config)).model_dump_json()

    @server.resource("tokwatt://machine", mime_type=json_type, description="What this machine is.")
    async def machine() -> str:
        return (await asked(look.snapshot, config, [family.name for family in MACHINE])).model_dump_json()

    @server.resource("tokwatt://metrics", mime_type=json_type, description="Every metric there can be.")
    async def metrics() -> str:
        return json.dumps(look.catalogue())


def _prompts(server: MCPServer[Any]) -> None:
    @server.prompt(description="What does this machine do now?")
    def now() -> str:
        return "Call snapshot and models, and say in a few lines what this machine and its engines do now, with watts."

    @server.prompt(description="What does a token of each model cost?")
    def energy_per_token() -> str:
        return "Call query with name model_energy, and compare the joules per token of the models; say what is null."

    @server.prompt(description="Why is something missing or slow?")
    def trouble() -> str:
        return "Call diagnose and alerts, and explain each fault, note and alert, with the command that mends it."

    @server.prompt(description="How do two engines compare on this machine?")
    def compare(model: str) -> str:
        return (f"Call benchmark_history with model {model}, and compare with the newest run of each engine. Say what "
                "the verdicts say and which conditions differ; what is not shown is no difference.")  # fmt: skip

    @server.prompt(description="Which model should run here?")
    def choose(use_case: str = "throughput") -> str:
        return (f"Call recommend with use_case {use_case}. Say which models fit and why, what was measured and what is "
                "only expected, and what is not known.")  # fmt: skip

    @server.prompt(description="How are all machines?")
    def fleet() -> str:
        return "Call fleet, and say which machines are down, what all of them take, and what a token costs on each."
