"""A benchmark on demand: `tokwatt-bench` as a process, one at a time, with progress, ended when the agent cancels."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import TokwattError, UsageError
from tokwatt_exporter.snapshot import Snapshot

#: Below this share of memory a benchmark would measure the swap.
LITTLE_MEMORY = 0.05
_BENCH = (sys.executable, "-P", "-m", "tokwatt_bench")
_PATIENCE = 10.0
_EVERY = 1.0

#: Seconds since the start.
Step = Callable[[float], Awaitable[None]]


class BenchmarkFailed(TokwattError):
    """The run was refused or failed; the text is what `tokwatt-bench` says."""


class Runner:
    """Runs one benchmark at a time, and compares what was measured."""

    def __init__(self, command: Sequence[str] = _BENCH) -> None:
        self._command = tuple(command)
        self._one = asyncio.Lock()

    async def run(self, arguments: Sequence[str], step: Step) -> dict[str, Any]:
        """What `tokwatt-bench run --json ARGUMENTS` prints; `BenchmarkFailed` with its line where it fails."""
        if self._one.locked():
            raise UsageError("a benchmark is running, and two at once measure each other")
        async with self._one:
            return await self._printed("run", arguments, step)

    async def compare(self, arguments: Sequence[str]) -> dict[str, Any]:
        """What `tokwatt-bench compare --json ARGUMENTS` prints, of files; `BenchmarkFailed` as above."""
        return await self._printed("compare", arguments, None)

    async def _printed(self, what: str, arguments: Sequence[str], step: Step | None) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *self._command, what, "--json", *arguments, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = await _output(process, step)
        finally:
            await _end(process)
        try:
            return dict(json.loads(out))
        except ValueError:
            said = err.decode(errors="replace").strip().splitlines()
            raise BenchmarkFailed(said[-1] if said else f"ended with exit status {process.returncode}") from None


async def _output(process: asyncio.subprocess.Process, step: Step | None) -> tuple[bytes, bytes]:
    output = asyncio.ensure_future(process.communicate())
    seconds = 0.0
    try:
        while not output.done():
            await asyncio.wait({output}, timeout=_EVERY)
            seconds += _EVERY
            if step:
                await step(seconds)
        return await output
    finally:
        output.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    """As Ctrl-C does it: what was measured so far is kept."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(asyncio.shield(process.wait()), _PATIENCE)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()


def arguments(config: Config, given: Mapping[str, Any]) -> list[str]:
    """Flags of `tokwatt-bench run` for what an agent gave, with the settings of this server."""
    file = config.file_source.removeprefix("file ")
    own = {"data-dir": config.data_dir, "config.file": file if Path(file).is_file() else None}
    return [f"--{name}={value}" for name, value in {**given, **own}.items() if value is not None]


def pressure(now: Snapshot) -> str | None:
    """Why the memory leaves no room for a benchmark; None where it does."""
    for labels, current in now.values.get(c.MEMORY_PRESSURE, {}).items():
        if current and (state := dict(labels)["state"]) != "normal":
            return f"memory pressure is {state}"
    size, available = (now.values.get(family, {}).get(()) for family in (c.MEMORY_SIZE, c.MEMORY_AVAILABLE))
    if size and available is not None and available < LITTLE_MEMORY * size:
        return f"only {available / size:.0%} of the memory is available"
    return None
