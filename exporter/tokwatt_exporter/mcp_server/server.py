"""The server: tools, resources and prompts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from tokwatt_exporter import __version__
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import TokwattError
from tokwatt_exporter.mcp_server import answers, look
from tokwatt_exporter.mcp_server.benchmark import Runner, pressure
from tokwatt_exporter.store.queries import QUERIES

T = TypeVar("T")
MACHINE = (c.HOST_INFO, c.DEVICE_INFO, c.MEMORY_SIZE, c.CPU_CORES)
READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
RUNS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)
INSTRUCTIONS = (
    "What this machine and its LLM engines do: power, memory, tokens, joules per token. What is not known has no "
    "series or is null, never 0. Counters end in _total: their growth over time is a rate, joules a second are watts."
)


def build(config: Config, runner: Runner | None = None) -> MCPServer[Any]:
    """A server that reads what these settings name; `runner` runs benchmarks."""
    server: MCPServer[Any] = MCPServer("tokwatt", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")
    _present(server, config)
    _past(server, config)
    _benchmark(server, config, runner or Runner())
    _resources(server, config)
    _prompts(server)
    return server


async def _asked(function: Callable[..., T], *arguments: Any) -> T:
    try:
        return await asyncio.to_thread(function, *arguments)
    except TokwattError as error:
        raise ToolError(str(error)) from None


def _present(server: MCPServer[Any], config: Config) -> None:
    @server.tool(annotations=READS)
    async def health() -> answers.Health:
        """Whether this machine is measured now, which collectors read, and why others do not."""
        return await _asked(look.health, config)

    @server.tool(annotations=READS)
    async def snapshot(metrics: list[str] | None = None) -> answers.Snapshot:
        """The newest value of every series, or of the metrics named."""
        return await _asked(look.snapshot, config, metrics)

    @server.tool(annotations=READS)
    async def engines() -> answers.Engines:
        """The LLM engines on this machine: kind, version, URL, models, and why each was taken for what it is."""
        return await _asked(look.engines, config)

    @server.tool(annotations=READS)
    async def models() -> answers.Models:
        """The models in memory, with their memory and context where the engine says."""
        return await _asked(look.models, config)

    @server.tool(annotations=READS)
    async def diagnose() -> answers.Diagnosis:
        """What is wrong with sensors, daemon, engines and history, and the command that mends each."""
        return await _asked(look.diagnosis, config)

    @server.tool(annotations=READS)
    async def rediscover() -> answers.Engines:
        """Look for engines anew, now."""
        return await _asked(look.engines, config)


def _past(server: MCPServer[Any], config: Config) -> None:
    @server.tool(annotations=READS)
    async def history(
        metric: str, since: str = "1h", until: str | None = None, step: str | None = None,
        labels: dict[str, str] | None = None, limit: int = 200, cursor: str | None = None,
    ) -> answers.Page:  # fmt: skip
        """Samples of a metric, oldest first, a page at a time. Times are durations before now or ISO 8601."""
        params = {"metric": metric, "since": since, "until": until, "step": step, "labels": labels or {}}
        return await _asked(look.page, config, "samples", params, limit, cursor)

    @server.tool(annotations=READS, description=f"One of the named queries: {', '.join(QUERIES)}.")
    async def query(
        name: str, params: dict[str, Any] | None = None, limit: int = 200, cursor: str | None = None
    ) -> answers.Page:
        return await _asked(look.page, config, name, params or {}, limit, cursor)

    @server.tool(annotations=READS)
    async def benchmark_history(
        engine: str | None = None, model: str | None = None, scenario: str | None = None, limit: int = 20,
        cursor: str | None = None,
    ) -> answers.Page:  # fmt: skip
        """Benchmark runs, newest first, a page at a time."""
        params = {"engine": engine, "model": model, "scenario": scenario, "limit": 10_000}
        return await _asked(look.page, config, "bench_results", params, limit, cursor)


def _benchmark(server: MCPServer[Any], config: Config, runner: Runner) -> None:
    @server.tool(annotations=RUNS)
    async def benchmark_run(
        ctx: Context[Any], engine: str | None = None, model: str | None = None, runs: int = 5, max_tokens: int = 128,
        scenario: str = "default",
    ) -> answers.Benchmark:  # fmt: skip
        """Measure an engine of this machine: TTFT, tokens per second, joules per token. Loads it for minutes."""
        _, now = await _asked(look.newest, config)
        file = config.file_source.removeprefix("file ")
        if why := pressure(now):
            raise ToolError(f"no benchmark now: {why}")
        given = {
            "engine": engine, "model": model, "runs": runs, "max-tokens": max_tokens, "scenario": scenario,
            "data-dir": config.data_dir, "config.file": file if Path(file).is_file() else None,
        }  # fmt: skip
        arguments = [f"--{name}={value}" for name, value in given.items() if value is not None]

        async def step(seconds: float) -> None:
            await ctx.report_progress(seconds, message=f"measuring for {seconds:.0f} s")

        try:
            return answers.Benchmark(**await runner.run(arguments, step))
        except TokwattError as error:
            raise ToolError(str(error)) from None


def _resources(server: MCPServer[Any], config: Config) -> None:
    json_type = "application/json"

    @server.resource("tokwatt://status", mime_type=json_type, description="Whether this machine is measured now.")
    async def status() -> str:
        return (await _asked(look.health, config)).model_dump_json()

    @server.resource("tokwatt://models", mime_type=json_type, description="The models in memory.")
    async def loaded() -> str:
        return (await _asked(look.models, config)).model_dump_json()

    @server.resource("tokwatt://machine", mime_type=json_type, description="What this machine is.")
    async def machine() -> str:
        return (await _asked(look.snapshot, config, [family.name for family in MACHINE])).model_dump_json()

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
        return "Call diagnose, and explain each fault and note, with the command that mends it."

    @server.prompt(description="How do two engines compare on this machine?")
    def compare(model: str) -> str:
        return (f"Call benchmark_history with model {model}. Compare engines only under equal settings; where their "
                "intervals overlap, say that no difference was measured.")  # fmt: skip
