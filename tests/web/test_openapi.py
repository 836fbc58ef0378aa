"""The description of the queries: it says what the real server does, which schemathesis tries."""

import json
from functools import partial

import pytest

from store.helpers import NOON, snapshot, taken_in
from tokwatt_exporter.catalogue import CATALOGUE, FAN_SPEED, TEMPERATURE
from tokwatt_exporter.store.client import Store
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.queries import QUERIES
from web.serving import running

DESCRIPTION = "/api/v1/openapi.json"


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A server whose history holds ten snapshots and a benchmark."""
    data = taken_in(tmp_path_factory.mktemp("described"))
    with running(Store(data).query) as web:
        web.data = data
        yield web


@pytest.fixture(scope="module")
def described(asked):
    """The description as schemathesis reads it."""
    import schemathesis

    return schemathesis.openapi.from_url(asked.url + DESCRIPTION)


def test_every_query_and_parameter_is_described(asked):
    document = asked.get(DESCRIPTION).json()
    assert document["openapi"] == "3.1.0"
    found = {
        path.rpartition("/")[2]: {p["name"]: p["required"] for p in operation["get"]["parameters"]}
        for path, operation in document["paths"].items()
    }
    assert found == {
        name: {key: param.required for key, param in query.params.items()} for name, query in QUERIES.items()
    }


def asked_by_schemathesis(described, name, mode, check):
    """What was answered to some questions that schemathesis makes out of the description: status and body."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings

    operation = described[f"/api/v1/query/{name}"]["GET"]
    answers = []

    @settings(max_examples=6, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    def ask(case):
        response = case.call()
        check(case, response)
        answers.append((response.status_code, response.json()))

    ask()
    return answers


@pytest.mark.e2e
def test_what_the_description_allows_is_answered_as_it_says(described):
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    def check(case, response):
        # What labels there are, and what is an expression, only the catalogue knows.
        left_out = [positive_data_acceptance] if {"labels", "expr"} & case.query.keys() else []
        case.validate_response(response, excluded_checks=left_out)

    statuses = {name: {} for name in QUERIES}
    for name in QUERIES:
        for status, body in asked_by_schemathesis(described, name, "positive", check):
            statuses[name][status] = body
    assert all(set(found) <= {200, 400} for found in statuses.values()), statuses
    assert all(200 in found for name, found in statuses.items() if name != "expression")


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["samples", "expression", "bench_results"])
def test_what_the_description_does_not_allow_is_refused_in_one_line(described, name):
    from schemathesis.specs.openapi.checks import negative_data_rejection

    def check(case, response):
        # What is empty counts as not given, as an unset variable of a dashboard does.
        left_out = [] if all(case.query.values()) else [negative_data_rejection]
        case.validate_response(response, excluded_checks=left_out)

    answers = asked_by_schemathesis(described, name, "negative", check)
    refused = [body["error"] for status, body in answers if status == 400]
    assert refused and not any("\n" in line for line in refused)
    assert {status for status, _ in answers} <= {200, 400}


EXPRESSION = "/api/v1/query/expression"


@pytest.mark.e2e
def test_an_expression_is_answered_over_time(asked):
    expr = f"max by (fan, host) ({FAN_SPEED.name})"
    answer = asked.get(EXPRESSION, params={"expr": expr, "since": NOON, "until": NOON + 9000, "step": "5s"})
    assert answer.json()["rows"] == [
        {"time": f"2026-09-21T14:13:{second}.000Z", "labels": {"fan": "left", "host": "box"}, "value": 1200.0}
        for second in (20, 25)
    ]


HOSTILE = [
    "DROP TABLE series", "DELETE FROM sample_row", "COPY sample_row TO '/tmp/out.csv'", "ATTACH '/tmp/other.duckdb'",
    "read_csv('/etc/passwd')", "INSTALL httpfs", "SET enable_external_access = true", "'; DROP TABLE series; --",
    'x"} ) UNION SELECT 1 --', "$1",
]  # fmt: skip


@pytest.mark.e2e
@pytest.mark.parametrize("text", HOSTILE)
def test_sql_of_a_caller_is_refused_or_only_a_value(asked, text):
    before = (asked.data / "history.duckdb").read_bytes()
    refused = {
        EXPRESSION: {"expr": text},
        "/api/v1/query/samples": {"metric": text},
        "/api/v1/query/bench_results": {"since": text},
        "/api/v1/query/series": {"metric": FAN_SPEED.name, text: "1"},
    }
    for path, params in refused.items():
        answer = asked.get(path, params=params)
        assert answer.status_code == 400 and list(answer.json()) == ["error"] and "\n" not in answer.json()["error"]
    quoted = text.replace('"', '\\"')
    for path, params in {
        "/api/v1/query/bench_requests": {"run_id": text},
        "/api/v1/query/bench_results": {"engine": text},
        EXPRESSION: {"expr": f'{FAN_SPEED.name}{{fan="{quoted}"}}', "since": NOON},
        "/api/v1/query/samples": {"metric": FAN_SPEED.name, "labels": f"fan={text}", "since": NOON},
    }.items():
        assert asked.get(path, params=params).json() == {"columns": [], "rows": []}
    assert (asked.data / "history.duckdb").read_bytes() == before


@pytest.mark.e2e
def test_too_many_rows_are_refused_in_one_line(asked):
    samples = {"metric": FAN_SPEED.name, "since": NOON}
    answer = asked.get("/api/v1/query/samples", params={**samples, "limit": 3})
    assert (answer.status_code, "more than 3 rows" in answer.json()["error"]) == (400, True)
    answer = asked.get(EXPRESSION, params={"expr": FAN_SPEED.name, "since": NOON, "step": "1ms"})
    assert (answer.status_code, "more than 20000 steps" in answer.json()["error"]) == (400, True)


@pytest.mark.e2e
def test_a_query_that_takes_too_long_is_ended_and_said_so(tmp_path):
    journal = Journal(tmp_path)
    for number in range(600):
        journal.append_snapshot(snapshot(number, series=64), "box")
    journal.close()
    ingest(tmp_path)
    store = Store(tmp_path)
    # The child starts in its own time.
    assert store.query("series")
    with running(partial(store.query, timeout=1)) as web:
        expr = f"sum(max_over_time({TEMPERATURE.name}[300d]))"
        # Each of 20,000 steps looks at each of 38,400 samples.
        answer = web.get(
            EXPRESSION, params={"expr": expr, "since": NOON, "until": NOON + 2_000_000_000, "step": "101s"}
        )
    assert answer.status_code == 503
    assert answer.json() == {"error": "the query took longer than 0.5 s; ask for less"}
    assert "retry-after" not in answer.headers


def test_every_family_of_the_catalogue_can_be_chosen_by_its_series(asked):
    document = asked.get(DESCRIPTION).json()
    [metric] = [p for p in document["paths"]["/api/v1/query/series"]["get"]["parameters"] if p["name"] == "metric"]
    # A histogram has the series of its parts.
    assert {f.name for f in CATALOGUE.values() if f.kind != "histogram"} <= set(metric["schema"]["enum"])
    assert json.dumps(document).isascii()
