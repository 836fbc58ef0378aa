"""The named queries over HTTP."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.errors import StoreError, StoreLocked, UsageError
from tokwatt_exporter.store.client import Store
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.web import api
from web.serving import running

ROWS = [{"time": "2026-11-23T12:00:00.000Z", "labels": {"device": "gpu0"}, "value": 1.5, "host": "mac"}]
SAMPLES = "/api/v1/query/samples"


@pytest.fixture
def asked():
    """A server whose history answers `ROWS`, and what it was asked."""
    calls = []

    def query(name, params):
        calls.append((name, dict(params)))
        return ROWS

    with running(query) as web:
        web.calls = calls
        yield web


def test_rows_come_as_objects_with_their_columns(asked):
    answer = asked.get(SAMPLES, params={"metric": c.POWER.name})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"columns": ["time", "labels", "value", "host"], "rows": ROWS}


def test_parameters_are_handed_on_by_name(asked):
    asked.get(SAMPLES, params={"metric": c.POWER.name, "labels": ["device=gpu0"], "since": "10m", "step": "1m"})
    given = {"metric": c.POWER.name, "labels": ["device=gpu0"], "since": "10m", "step": "1m", "limit": "20000"}
    assert asked.calls == [("samples", given)]


def test_an_empty_variable_of_a_dashboard_is_one_not_given(asked):
    asked.get("/api/v1/query/bench_results", params={"engine": "", "model": "", "limit": "5"})
    assert asked.calls == [("bench_results", {"limit": "5"})]


@pytest.mark.e2e
def test_the_real_history_answers_with_what_was_sampled(tmp_path):
    journal = Journal(tmp_path)
    for time_ms, watts in ((1_795_000_000_000, 11.5), (1_795_000_005_000, 12.5)):
        journal.append({
            "kind": "samples", "time_ms": time_ms, "host": "mac", "values": [[0, watts]],
            "series": {"0": {"metric": c.POWER.name, "labels": {"device": "gpu0"}}},
        })  # fmt: skip
    journal.close()
    with running(Store(tmp_path).query) as web:
        answer = web.get(SAMPLES, params={"metric": c.POWER.name, "labels": "device=gpu0", "since": 1_795_000_001})
    assert answer.status_code == 200, answer.text
    [row] = answer.json()["rows"]
    assert (row["labels"], row["value"], row["host"]) == ({"device": "gpu0"}, 12.5, "mac")


def test_no_rows_are_an_answer():
    with running(lambda *_: []) as web:
        assert web.get("/api/v1/query/series").json() == {"columns": [], "rows": []}


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [
        ("/api/v1/query/everything", 404, "there is no query everything"),
        ("/api/v1/query/", 404, "there is no query"),
        (SAMPLES, 400, "metric is missing"),
        (f"{SAMPLES}?metric=no_such_metric", 400, "there is no metric no_such_metric"),
        (f"{SAMPLES}?metric={c.POWER.name}&since=yesterday", 400, "since"),
        (f"{SAMPLES}?metric={c.POWER.name}&metric={c.POWER.name}", 400, "metric is given twice"),
        (f"{SAMPLES}?metric={c.POWER.name}&sql=DROP", 400, "takes no sql"),
        (f"{SAMPLES}?metric={c.POWER.name}&limit=1000000", 400, "at most 20000"),
        (f"/api/v1/query/series?{'&'.join(f'a{n}=1' for n in range(60))}", 400, "fields"),
    ],
)
def test_a_wrong_question_gets_one_line_that_says_why(asked, path, status, why):
    answer = asked.get(path)
    assert answer.status_code == status
    assert why in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert asked.calls == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreLocked("another program holds the history"), 503),
        (StoreError("timed out"), 503),
        (UsageError("since"), 400),
    ],
)
def test_a_history_that_cannot_answer_says_so(error, status):
    def query(name, params):
        raise error

    with running(query) as web:
        answer = web.get("/api/v1/query/series")
        assert (answer.status_code, answer.json()) == (status, {"error": str(error)})


def test_without_a_history_there_is_nothing_to_ask(web):
    assert web.get("/api/v1/query/series").status_code == 503


def test_a_slow_query_holds_up_no_scrape_and_only_so_many_wait():
    go, running_now = threading.Event(), threading.Semaphore(0)

    def query(name, params):
        running_now.release()
        go.wait(20)
        return ROWS

    most = api.MAX_RUNNING + api.MAX_WAITING
    with running(query) as web, ThreadPoolExecutor(most + 1) as pool:
        answers = [pool.submit(web.get, "/api/v1/query/series") for _ in range(most + 1)]
        for _ in range(api.MAX_RUNNING):
            assert running_now.acquire(timeout=5)
        assert not running_now.acquire(timeout=0.2)
        assert web.get().status_code == 200
        refused = next(
            answer for answer in iter(lambda: next((a for a in answers if a.done()), None), object()) if answer
        )
        assert refused.result().status_code == 503
        go.set()
        assert sorted(answer.result().status_code for answer in answers) == [200] * most + [503]
