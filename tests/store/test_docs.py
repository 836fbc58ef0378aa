"""docs/history.md: its questions get the right answers, its names are those of the catalogue and the tables."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from store.helpers import bench, sql
from tokwatt_exporter.catalogue import (
    ENERGY,
    ENGINE_INFO,
    ENGINE_UP,
    GENERATION_SECONDS,
    GENERATION_TOKENS,
    PREFIX,
    SERIES,
    SYSTEM_ENERGY,
    TEMPERATURE,
)
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store.expression import AGGREGATIONS, FUNCTIONS, parsed
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.queries import QUERIES as NAMED
from tokwatt_exporter.store.sql import ask
from tokwatt_exporter.store.upkeep import Retention, upkeep
from tokwatt_exporter.web.api import MAX_ROWS

pytestmark = pytest.mark.text

TEXT = (Path(__file__).parents[2] / "docs" / "history.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
#: Noon of the day before yesterday, Unix time: closed, and within the last week.
NOON = (time.time() // 86_400 - 2) * 86_400 + 43_200


def hour(start):
    """An hour by the minute: 100 W at rest and 200 W in its second half, when two models answer and it gets hot."""
    joules = cpu = tokens = seconds = 0.0
    for minute in range(61):
        busy = minute > 30
        joules += 60 * (200 if busy else 100) * (minute > 0)
        cpu += 60 * 50 * (minute > 0)
        # In the last five minutes the machine is so hot that it takes twice the time for a token.
        tokens += 600 * busy
        seconds += (20 if minute < 56 else 40) * busy
        yield Snapshot.of(
            int((start + 60 * minute) * 1000),
            [
                SYSTEM_ENERGY(joules), ENERGY(cpu, device="cpu"), ENGINE_UP(minute >= 15, engine="ollama"),
                ENGINE_INFO(engine="ollama", kind="ollama", version="0.12" if start == NOON else "0.13"),
                GENERATION_TOKENS(tokens, engine="ollama", model="small"),
                GENERATION_TOKENS(3 * tokens, engine="ollama", model="big"),
                GENERATION_SECONDS(seconds, engine="ollama", model="small"),
                GENERATION_SECONDS(3 * seconds, engine="ollama", model="big"),
                TEMPERATURE(40 + 20 * busy + 30 * (minute > 55), device="cpu", sensor="hottest"),
                TEMPERATURE(30, device="ssd", sensor="drive"),
            ],
        )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An hour of the day before yesterday, packed, the same of yesterday, and two benchmark runs."""
    data = tmp_path_factory.mktemp("documented")
    journal = Journal(data)
    for start in (NOON, NOON + 86_400):
        for snapshot in hour(start):
            journal.append_snapshot(snapshot, "box")
    began = int(NOON + 1800) * 1000
    for number, speed in enumerate((10.0, 12.5)):
        journal.append(bench(f"run-{number}", started=began + number * 7_200_000, generation_tokens_per_second=speed,
                             finished=began + number * 7_200_000 + 120_000))  # fmt: skip
    journal.close()
    ingest(data)
    upkeep(data, Retention(), now=NOON + 86_400)
    assert sql(data, "SELECT count(DISTINCT day) FROM sample_day") == [(1,)]
    return data


def at(seconds):
    return datetime.fromtimestamp(NOON + seconds, UTC).replace(tzinfo=None)


#: Joules of the hour from noon (the sixty-first minute is of the next one), and what of it the models have.
_HOUR = 30 * 60 * 100 + 29 * 60 * 200
#: The 29 minutes after the first half, and the one of the next hour.
_TOKENS, _NEXT = 29 * 600.0, 600.0
_TOTAL = _HOUR + 60 * 200

ANSWERS = {
    "What did each model cost": [("big", 0.75 * 2 * _TOTAL / 3.6e6), ("small", 0.25 * 2 * _TOTAL / 3.6e6)],
    "How many tokens does a joule": [
        ("ollama", version, 4 * (_TOKENS + _NEXT) / _TOTAL) for version in ("0.12", "0.13")
    ],
    "How hot was it": {(at(day + 60 * minute), "box", 15.0, 90.0) for day in (0, 86_400) for minute in range(56, 61)},
    "Which device used": [
        (at(day).date(), device, joules / 3600)
        for day in (0, 86_400) for device, joules in (("cpu", 60 * 60 * 50), ("system", _TOTAL))
    ],
    "What does the machine draw": [("box", 100.0)],
    "When was the hottest minute": {("hottest", 90.0), ("drive", 30.0)},
    "At which hours": [(12, 2 * 4 * _TOKENS), (13, 2 * 4 * _NEXT)],
    "How much of the time": [("ollama", (45 / 60 + 1) / 2, at(0))],
    "How did the decode speed": [("tiny", "llama_cpp", None, at(1920), 10.0, 0.0),
                                 ("tiny", "llama_cpp", None, at(9120), 12.5, 0.25)],
    "What did the machine do": [("run-0", "cpu", 3 * 3000.0, 50.0), ("run-0", "system", 30_000.0, 200.0)],
}  # fmt: skip


@pytest.mark.parametrize("question", ANSWERS)
def test_a_question_gets_the_right_answer(data, question):
    query = TEXT[TEXT.index(f"\n{question}") :].partition("```sql\n")[2].partition("```")[0]
    found, expected = sql(data, query), ANSWERS[question]
    if question.startswith("When was"):
        found = [(sensor, celsius) for sensor, _, celsius in found]
    if question.startswith("What does the machine draw"):
        # The first sample of a series has nothing before it: 0 W in one minute.
        assert found == [("box", pytest.approx(100.0))]
        return
    if isinstance(expected, set):
        assert set(found) == expected
        return
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        assert row == tuple(pytest.approx(cell) if isinstance(cell, float) else cell for cell in wanted)


def test_a_question_can_be_asked_at_the_shell(data):
    for query in QUERIES:
        assert ask(data, query, 10_000).rows


def test_there_are_ten_of_them():
    assert len(QUERIES) == len(ANSWERS) == 10


def test_the_functions_of_expressions_are_documented():
    table = TEXT[TEXT.index("### Expressions") : TEXT.index("### SQL")]
    assert {name for name in (*AGGREGATIONS, *FUNCTIONS) if f"`{name}" not in table} == set()
    [documented] = re.findall(r"tokwatt history query '(.*?)'", TEXT)
    assert parsed(documented).function == "rate"


def test_every_query_over_http_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
    assert {name for name in NAMED if f"`{name}`" not in text} == set()
    assert f"{MAX_ROWS:,}".replace(",", " ") in text


def test_documented_metrics_are_in_the_catalogue():
    names = set(re.findall(rf"\b{PREFIX}\w+", TEXT))
    assert names <= set(SERIES)


def test_every_table_and_view_is_documented(data):
    made = sql(data, "SELECT table_name FROM duckdb_tables() UNION ALL SELECT view_name FROM duckdb_views() "
                     "WHERE NOT internal")  # fmt: skip
    assert {name for (name,) in made if f"`{name}`" not in TEXT} == set()
