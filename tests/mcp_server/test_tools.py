"""What the tools say that judge: alerts, advice, versions, comparisons, and other machines."""

import json
import time

import pytest

from fakes.engines import FakeEngine, response
from fakes.served import listed
from mcp_server.asking import ask
from support.net import free_port
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.config import load
from tokwatt_exporter.mcp_server import fleet
from tokwatt_exporter.mcp_server.server import build
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from web.serving import settings

JSON = "application/json"


def here(folder, **more):
    """Settings of this machine with no daemon."""
    return settings(data_dir=str(folder), web_listen_address=[f"127.0.0.1:{free_port()}"], **more)


def test_an_alert_that_the_history_shows_is_said_and_nobody_is_notified(tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    journal, now = Journal(data), int(time.time() * 1000)
    for age in range(14 * 60, 0, -15):
        readings = [c.BUILD_INFO(version="1"), *c.THERMAL_STATE("serious")]
        journal.append_snapshot(Snapshot.of(now - age * 1000, readings), "mac")
    journal.close()
    ingest(data)
    [found] = ask(build(here(data)), ("alerts", {}))
    assert [(one["alert"], one["state"]) for one in found["alerts"]] == [("TokwattThermalPressure", "firing")]
    assert {"TokwattThermalPressure", "TokwattExporterDown"} <= set(found["rules"])
    assert found["judged_without"]["TokwattExporterDown"] == ["up"]
    assert now - 60_000 < found["looked_ms"]


def test_without_a_history_nothing_is_called_well(tmp_path):
    [said] = ask(build(here(tmp_path)), ("alerts", {}))
    assert "there is no history in" in said


def test_advice_is_on_what_engines_list_and_no_client_names_a_file(tmp_path):
    with FakeEngine({"/v1/models": listed("me", "tiny")}) as engine:
        file = tmp_path / "tokwatt.toml"
        file.write_text(f'[[engine]]\nname = "mine"\nkind = "openai_compatible"\nurl = "{engine.url}"\n')
        given = {"data-dir": str(tmp_path), "web.listen-address": [f"127.0.0.1:{free_port()}"]}
        server = build(load({**given, "discovery.enabled": "false"}, environ={}, file=file))
        answer, refused, strange = ask(
            server,
            ("recommend", {"use_case": "latency", "context": 2048, "model": ["/etc/passwd"]}),
            ("recommend", {"context": 0}),
            ("recommend", {"use_case": "beauty"}),
        )
    assert (answer["use_case"], answer["context_tokens"], answer["best"]) == ("latency", 2048, [])
    [one] = answer["candidates"]
    assert (one["name"], one["engine"], one["memory"]["fits"]) == ("tiny", "mine", None)
    assert "greater than or equal to 1" in refused
    assert "'throughput', 'latency'" in strange


def test_nobody_is_asked_for_new_versions_unless_the_client_wants_it_and_never_over_http(tmp_path, monkeypatch):
    asked = []

    class Publishers:
        def __init__(self):
            asked.append(self)

        def newest(self, kind):
            return None, "not today"

        def close(self):
            asked.append("closed")

    monkeypatch.setattr("tokwatt_exporter.versions_online.Publishers", Publishers)
    [offline] = ask(build(here(tmp_path)), ("versions", {}))
    assert (isinstance(offline["engines"], list), asked) == (True, [])
    [over_http] = ask(build(here(tmp_path), own=False), ("versions", {"online": True}))
    assert ("tokwatt versions --online" in over_http, asked) == (True, [])
    ask(build(here(tmp_path)), ("versions", {"online": True}))
    assert len(asked) == 2


def test_two_runs_are_compared_as_tokwatt_bench_compares_them(two_runs):
    server = build(here(two_runs.folder))
    first, second = two_runs.ids
    found, several, *refused = ask(
        server,
        ("compare", {"first": first[:8], "second": second}),
        ("compare", {"first": [first, second], "second": [second, first]}),
        ("compare", {"first": "0" * 32, "second": second}),
        ("compare", {"first": "../../etc/passwd", "second": second}),
        ("compare", {"first": first, "second": second, "margin": "lots"}),
        ("compare", {"first": [], "second": second}),
    )
    verdicts = {figure["name"]: figure["verdict"] for figure in found["figures"]}
    assert verdicts["generation_tokens_per_second"] == "slower"
    assert found["unmatched"] == [{"name": "model", "first": "itl=2,ttft=10", "second": "itl=4,ttft=10"}]
    assert several["runs"] == [2, 2]
    for said, why in zip(refused, ("no run begins with", "is not the beginning", "--margin", "1 to 50"), strict=True):
        assert why in said


def test_without_a_prometheus_the_tool_says_how_to_give_one(tmp_path):
    [said] = ask(build(here(tmp_path)), ("fleet", {}))
    assert "tokwatt mcp --prometheus URL" in said


@pytest.mark.parametrize(("answer", "status", "said"), [
    (b"{", 200, "does not answer as a Prometheus does"),
    (b"[]", 200, "does not answer as a Prometheus does"),
    (json.dumps({"status": "error", "error": "too many"}).encode(), 422, "refuses the query: too many"),
    (b"", 401, "asks for credentials"),
    (b'"' + b"x" * 17 * 2**20, 200, "more than 16 MiB"),
], ids=["cut", "list", "refused", "credentials", "long"])  # fmt: skip
def test_what_is_no_prometheus_costs_one_line(answer, status, said):
    with (
        FakeEngine({"/api/v1/query": response(status, answer, JSON)}) as server,
        pytest.raises(fleet.NotAnswered, match=said),
    ):
        fleet.fleet(server.url)


def test_where_nothing_listens_costs_one_line():
    with pytest.raises(fleet.NotAnswered, match="does not answer: "):
        fleet.fleet(f"http://127.0.0.1:{free_port()}")
