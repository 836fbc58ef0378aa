"""The tools: what an agent may ask, and the one thing that it may start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from tokwatt_exporter.advisor.measured import UseCase
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import TokwattError
from tokwatt_exporter.mcp_server import answers, comparing, fleet, look
from tokwatt_exporter.mcp_server.benchmark import Runner, arguments, pressure
from tokwatt_exporter.recommend_cli import CONTEXT, MOST_CONTEXT
from tokwatt_exporter.store.queries import QUERIES

T = TypeVar("T")
READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
#: The same, of what may ask another machine.
ASKS = READS.model_copy(update={"open_world_hint": True})
RUNS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)


class Setting(NamedTuple):
    """What the tools have to do with: settings, who runs benchmarks, and the base URL of a Prometheus, if any."""

    config: Config
    runner: Runner
    prometheus: str | None = None
    #: Whether a client of this machine started the server for itself.
    own: bool = True


def add(server: MCPServer[Any], setting: Setting) -> None:
    """Give the server all of them."""
    for part in (_present, _judged, _engines, _past, _compared, _benchmark, _fleet):
        part(server, setting)


async def asked(function: Callable[..., T], *arguments: Any) -> T:
    """What a function that waits gives; its own errors as text for the agent."""
    try:
        return await asyncio.to_thread(function, *arguments)
    except TokwattError as error:
        raise ToolError(str(error)) from None


def _present(server: MCPServer[Any], setting: Setting) -> None:
    config = setting.config

    @server.tool(annotations=READS)
    async def health() -> answers.Health:
        """Whether this machine is measured now, which collectors read, and why others do not."""
        return await asked(look.health, config)

    @server.tool(annotations=READS)
    async def snapshot(metrics: list[str] | None = None) -> answers.Snapshot:
        """The newest value of every series, or of the metrics named."""
        return await asked(look.snapshot, config, metrics)

    @server.tool(annotations=READS)
    async def models() -> answers.Models:
        """The models in memory, with their memory and context where the engine says."""
        return await asked(look.models, config)


def _judged(server: MCPServer[Any], setting: Setting) -> None:
    config = setting.config

    @server.tool(annotations=ASKS)
    async def diagnose() -> answers.Diagnosis:
        """What is wrong with sensors, daemon, engines and history, and the command that mends each."""
        return await asked(look.diagnosis, config, setting.prometheus)

    @server.tool(annotations=READS)
    async def alerts() -> answers.Alerts:
        """Which of the shipped alert rules are pending or firing, by this machine's history; nobody is notified."""
        return await asked(look.alerts, config)

    @server.tool(annotations=READS)
    async def recommend(
        use_case: UseCase = "throughput", context: Annotated[int, Field(ge=1, le=MOST_CONTEXT)] = CONTEXT
    ) -> answers.Recommendation:
        """Which of the models that engines list fits here, how fast it can be, what was measured; null is not known."""
        return await asked(look.recommendation, config, use_case, context)


def _engines(server: MCPServer[Any], setting: Setting) -> None:
    config = setting.config

    @server.tool(annotations=READS)
    async def engines() -> answers.Engines:
        """The LLM engines on this machine: kind, version, URL, models, and why each was taken for what it is."""
        return await asked(look.engines, config)

    @server.tool(annotations=READS)
    async def rediscover() -> answers.Engines:
        """Look for engines anew, now."""
        return await asked(look.engines, config)

    @server.tool(annotations=ASKS)
    async def versions(online: bool = False) -> answers.AllVersions:
        """Versions of each engine that runs and that is installed; online asks GitHub and PyPI for the newest, too."""
        if online and not setting.own:
            raise ToolError("over HTTP nobody is asked for new versions: run `tokwatt versions --online` here")
        return await asked(look.versions, config, online)


def _past(server: MCPServer[Any], setting: Setting) -> None:
    config = setting.config

    @server.tool(annotations=READS)
    async def history(
        metric: str, since: str = "1h", until: str | None = None, step: str | None = None,
        labels: dict[str, str] | None = None, limit: int = 200, cursor: str | None = None,
    ) -> answers.Page:  # fmt: skip
        """Samples of a metric, oldest first, a page at a time. Times are durations before now or ISO 8601."""
        params = {"metric": metric, "since": since, "until": until, "step": step, "labels": labels or {}}
        return await asked(look.page, config, "samples", params, limit, cursor)

    @server.tool(annotations=READS, description=f"One of the named queries: {', '.join(QUERIES)}.")
    async def query(
        name: str, params: dict[str, Any] | None = None, limit: int = 200, cursor: str | None = None
    ) -> answers.Page:
        return await asked(look.page, config, name, params or {}, limit, cursor)


def _compared(server: MCPServer[Any], setting: Setting) -> None:
    config = setting.config

    @server.tool(annotations=READS)
    async def benchmark_history(
        engine: str | None = None, model: str | None = None, scenario: str | None = None, limit: int = 20,
        cursor: str | None = None,
    ) -> answers.Page:  # fmt: skip
        """Benchmark runs, newest first, a page at a time."""
        params = {"engine": engine, "model": model, "scenario": scenario, "limit": 10_000}
        return await asked(look.page, config, "bench_results", params, limit, cursor)

    @server.tool(annotations=READS)
    async def compare(first: str | list[str], second: str | list[str], margin: str = "2%") -> answers.Comparison:
        """Compare two benchmark runs, or lists of them, by run_id: ratios second to first, intervals, verdicts."""
        sides = [[side] if isinstance(side, str) else side for side in (first, second)]
        documents = [await asked(comparing.document, config.data_dir, side) for side in sides]
        try:
            return answers.Comparison(**await comparing.compare(setting.runner, documents, margin))
        except TokwattError as error:
            raise ToolError(str(error)) from None


def _benchmark(server: MCPServer[Any], setting: Setting) -> None:
    @server.tool(annotations=RUNS)
    async def benchmark_run(
        ctx: Context[Any], engine: str | None = None, model: str | None = None, runs: int = 5, max_tokens: int = 128,
        scenario: str = "default",
    ) -> answers.Benchmark:  # fmt: skip
        """Measure an engine of this machine: TTFT, tokens per second, joules per token. Loads it for minutes."""
        _, now = await asked(look.newest, setting.config)
        if why := pressure(now):
            raise ToolError(f"no benchmark now: {why}")
        given = {"engine": engine, "model": model, "runs": runs, "max-tokens": max_tokens, "scenario": scenario}

        async def step(seconds: float) -> None:
            await ctx.report_progress(seconds, message=f"measuring for {seconds:.0f} s")

        try:
            return answers.Benchmark(**await setting.runner.run(arguments(setting.config, given), step))
        except TokwattError as error:
            raise ToolError(str(error)) from None


def _fleet(server: MCPServer[Any], setting: Setting) -> None:
    @server.tool(name="fleet", annotations=ASKS)
    async def all_machines() -> answers.Fleet:
        """All machines that a Prometheus scrapes: up or down, watts, tokens per second, joules per token, alerts."""
        if setting.prometheus is None:
            raise ToolError(
                "no Prometheus is given: the user starts `tokwatt mcp --prometheus URL`, or sets TOKWATT_MCP_PROMETHEUS"
            )
        return await asked(fleet.fleet, setting.prometheus)
