"""What an agent asks tokwatt and is answered, of demo machines, as a part of a document.

`python -m tests.support.mcp_transcript docs/mcp.md` writes it anew between its marks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from mcp import Client, StdioServerParameters

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.demo import NAMES

from .demo import daemon, played
from .net import free_port, wait_for
from .tsdb import prometheus

MARK, END = "<!-- transcript: written by tests/support/mcp_transcript.py -->\n", "<!-- end -->\n"
MACHINE = "mac-studio"
#: Seconds of the demo machines that Prometheus has.
PAST = 900
#: What is shown of a list, a mapping and a text.
ITEMS, KEYS, LETTERS = 3, 12, 110

GPU = {"device": "gpu0", "sensor": "hottest"}

Answers = Sequence[Mapping[str, Any]]


class Question(NamedTuple):
    """What a user asks, the calls that it takes, and the sentence that their answers come to."""

    text: str
    calls: Sequence[tuple[str, dict[str, Any]]]
    said: Callable[[Answers], str]


def questions() -> Sequence[Question]:
    """Those of the transcript."""
    now = [family.name for family in (c.SYSTEM_POWER, c.POWER, c.MEMORY_AVAILABLE)]
    return (
        Question("What does this machine do now?", [("snapshot", {"metrics": now}), ("models", {})], _now),
        Question("Is anything wrong with it?", [("health", {}), ("alerts", {})], _trouble),
        Question(
            "How warm did the GPU get in the last minutes?",
            [("history", {"metric": c.TEMPERATURE.name, "since": "5m", "step": "1s", "labels": GPU})],
            _warm,
        ),
        Question("How are all my machines, and what does a token cost on each?", [("fleet", {})], _fleet),
    )


def _now(found: Answers) -> str:
    rows, models = found[0]["readings"], found[1]["models"]
    [whole] = [row["value"] for row in rows if row["metric"] == c.SYSTEM_POWER.name]
    [gpu] = [row["value"] for row in rows if row["labels"] == {"device": "gpu0"}]
    names = " and ".join(f"{one['model']} ({one['engine']})" for one in models)
    return f"It takes {whole:.0f} W, {gpu:.0f} of them the GPU. In memory: {names}."


def _trouble(found: Answers) -> str:
    health, alerts = found
    missing = [f"{name}: {why}" for name, why in health["collector_problems"].items()]
    states = {state: [one["annotations"]["summary"] for one in alerts["alerts"] if one["state"] == state]
              for state in ("firing", "pending")}  # fmt: skip
    told = "; ".join(f"{state}: {', '.join(summaries) or 'none'}" for state, summaries in states.items())
    parts = [f"{len(health['collectors_reading'])} collectors read", *missing]
    return f"{'; '.join(parts)}. Of {len(alerts['rules'])} rules, {told}."


def _warm(found: Answers) -> str:
    values = [row["value"] for row in found[0]["rows"]]
    return f"{max(values):.0f} °C at most, {values[-1]:.0f} °C now."


def _fleet(found: Answers) -> str:
    machines = found[0]["machines"]
    cost = ", ".join(f"{one['joules_per_token']:.2g} J on {one['instance']}" for one in machines)
    return f"{sum(one['up'] for one in machines)} of {len(machines)} are up. A token costs {cost}."


def short(value: Any) -> Any:
    """The beginning of it, with a word on how much more there is."""
    if isinstance(value, Mapping):
        pairs = [(name, short(one)) for name, one in list(value.items())[:KEYS]]
        more = len(value) - len(pairs)
        return dict([*pairs, ("…", f"{more} more")] if more else pairs)
    if isinstance(value, list):
        return [short(one) for one in value[:ITEMS]] + ([f"… {len(value) - ITEMS} more"] if len(value) > ITEMS else [])
    if isinstance(value, str) and len(value) > LETTERS:
        return f"{value[:LETTERS]}…"
    if isinstance(value, float):
        return int(value) if value.is_integer() else float(f"{value:.4g}")
    return value


def lines(answer: Mapping[str, Any]) -> str:
    """The answer as JSON, an entry a line."""
    parts = []
    for name, value in short(answer).items():
        if isinstance(value, list) and value:
            rows = ",\n".join(f"    {json.dumps(one, ensure_ascii=False)}" for one in value)
            parts.append(f"  {json.dumps(name)}: [\n{rows}\n  ]")
        else:
            parts.append(f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}"


async def transcript(server: StdioServerParameters) -> str:
    """Each question with its calls, what the server answers, and the sentence."""
    parts = []
    async with Client(server) as client:
        for question in questions():
            parts.append(f"**{question.text}**\n")
            answers: list[Mapping[str, Any]] = []
            for tool, given in question.calls:
                result = await client.call_tool(tool, given)
                if result.is_error or result.structured_content is None:
                    raise AssertionError(f"{tool}: {result.content}")
                answers.append(result.structured_content)
                words = ", ".join(f"{name}={json.dumps(value)}" for name, value in given.items())
                parts.append(f"`{tool}({words})`\n\n```json\n{lines(answers[-1])}\n```\n")
            parts.append(f"> {question.said(answers)}\n")
    return "\n".join(parts)


def made() -> str:
    """The transcript of a demo machine that runs, beside a Prometheus that has some minutes of all."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder, port = Path(name), free_port()
        url = stack.enter_context(
            daemon(MACHINE, folder, port, "--sample-interval", "1s", "--history.flush-interval", "1s")
        )
        past = {one: stack.enter_context(played(one)) for one in NAMES}
        database = stack.enter_context(prometheus(folder, past, PAST, scrape={MACHINE: port}))
        data = folder / MACHINE / f"demo-{MACHINE}"
        wait_for(lambda: database.query("up == 1", time.time()), 30, "Prometheus to scrape")
        wait_for((data / "history.duckdb").exists, 30, "a history")
        server = StdioServerParameters(command=sys.executable, env=dict(os.environ), args=[
            "-m", "tokwatt_exporter", "mcp", "--data-dir", str(data), "--web.listen-address", url.removeprefix("http://"),
            "--prometheus", database.url,
        ])  # fmt: skip
        text = asyncio.run(transcript(server))
        # Whose machine plays the other one is nobody's business.
        return re.sub(rf"\b{re.escape(os.uname().nodename)}\b", MACHINE, text)


def main() -> int:
    """Write it into a document."""
    parser = argparse.ArgumentParser(description="Write the transcript of an agent into a document.")
    parser.add_argument("document", type=Path)
    document: Path = parser.parse_args().document
    before, mark, rest = document.read_text().partition(MARK)
    _, end, after = rest.partition(END)
    if not mark or not end:
        parser.error(f"{document} has no marks of the transcript")
    document.write_text(f"{before}{MARK}\n{made()}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
