"""docs/history.md: its queries run, its names are those of the catalogue and the tables."""

import re
from pathlib import Path

import pytest

from store.helpers import bench, snapshot, sql
from tokwatt_exporter.catalogue import CATALOGUE, PREFIX
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal

pytestmark = pytest.mark.text

TEXT = (Path(__file__).parents[2] / "docs" / "history.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def data(tmp_path):
    journal = Journal(tmp_path)
    journal.append_snapshot(snapshot(0), "box")
    journal.append(bench())
    journal.close()
    ingest(tmp_path)
    return tmp_path


@pytest.mark.parametrize("query", QUERIES)
def test_a_documented_query_runs(data, query):
    assert sql(data, query) is not None


def test_there_are_three_of_them():
    assert len(QUERIES) == 3


def test_documented_metrics_are_in_the_catalogue():
    assert set(re.findall(rf"\b{PREFIX}\w+", TEXT)) <= set(CATALOGUE)


def test_every_table_and_view_is_documented(data):
    made = sql(data, "SELECT table_name FROM duckdb_tables() UNION ALL SELECT view_name FROM duckdb_views() "
                     "WHERE NOT internal")  # fmt: skip
    assert {name for (name,) in made if f"`{name}`" not in TEXT} == set()
