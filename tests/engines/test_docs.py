"""docs/engines.md: its tables are about the engines that there are, and say what their code does."""

import importlib
import re
from pathlib import Path

import pytest

from tokwatt_exporter.engines.exposition import Table
from tokwatt_exporter.engines.registry import ADAPTERS, KINDS
from tokwatt_exporter.engines.scan import adapter
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
