"""docs/engines.md: its tables are about the engines that there are, and say what their code does."""

import asyncio
import importlib
import re
import sys
import types
from pathlib import Path

import pytest

from fakes.engines import FakeEngine, as_json
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.client import Client
from tokwatt_exporter.engines.exposition import Table
from tokwatt_exporter.engines.registry import ADAPTERS, KINDS
from tokwatt_exporter.engines.scan import adapter, recognise
from tokwatt_exporter.families import Histogram

pytestmark = pytest.mark.text

#: What a cell says where there is nothing.
NO = "\N{EN DASH}"
TEXT = (Path(__file__).parents[2] / "docs/engines.md").read_text()


def table(title: str) -> dict[str, list[str]]:
    """The rows below a heading: the cells by the kind in the first one."""
    section = TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if re.match(r"\| `\w+` \|", line)]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows}


def histograms(kind: str) -> set[Histogram]:
    module = importlib.import_module("tokwatt_exporter.engines." + ADAPTERS[kind].partition(":")[0])
    found = getattr(module, "METRICS", None)
    return {row.ours for row in found.rows if isinstance(row.ours, Histogram)} if isinstance(found, Table) else set()


@pytest.mark.parametrize("title", ["Telling them apart", "What each reports"])
def test_every_kind_has_its_row(title):
    assert sorted(table(title)) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_unloaded_and_which_latencies_there_are_is_what_the_adapter_says(kind):
    *_, latencies, unload = table("What each reports")[kind]
    assert (unload != NO) == adapter(kind).unloads
    names = {"TTFT": "time_to_first_token", "ITL": "inter_token_latency", "requests": "request_duration"}
    said = {names[word] for word in latencies.split(", ")} if latencies != NO else set()
    assert said == {re.sub("^tokwatt_engine_|_seconds$", "", family.name) for family in histograms(kind)}


@pytest.fixture
def added(monkeypatch):
    """The engine of docs/engines/ADDING.md, by its file and its line."""
    page = (Path(__file__).parents[2] / "docs/engines/ADDING.md").read_text()
    file, line = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [(kind, where)] = re.findall(r'"(\w+)": "([\w:]+)",', line)
    name = "tokwatt_exporter.engines." + where.partition(":")[0]
    module = types.ModuleType(name)
    exec(compile(file, "ADDING.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, name, module)
    # Where a reader puts it: before the one that takes whoever is left.
    rest = ADAPTERS.pop("openai_compatible")
    monkeypatch.setitem(ADAPTERS, kind, where)
    ADAPTERS["openai_compatible"] = rest
    return kind


def test_the_engine_that_the_page_adds_is_recognised_and_read(added):
    status = {"name": "my-engine", "version": "1.2", "model": "m", "context": 4096, "running": 0, "generated_tokens": 7}

    async def look(url):
        async with Client(url) as ask:
            found = await recognise(ask)
            return found, await adapter(found[0]).look(ask, "mine")

    models = as_json({"object": "list", "data": [{"id": "m", "owned_by": "my-engine"}]})
    with FakeEngine({"/v1/models": models, "/my/status": as_json(status)}) as server:
        (kind, evidence), state = asyncio.run(look(server.url))
        server.routes["/my/status"] = as_json({"name": "another"})
        assert asyncio.run(look(server.url))[0][0] == "openai_compatible"
    assert (kind, len(evidence)) == (added, 2)
    assert (state.version, state.loaded, state.models[0].name, state.models[0].context_tokens) == ("1.2", 1, "m", 4096)
    assert {(r.family, r.value) for r in state.readings} == {(c.REQUESTS_RUNNING, 0), (c.GENERATION_TOKENS, 7)}
