"""The shipped alerts, judged here, fire and are silent exactly as promtool says of the same series."""

from pathlib import Path

import pytest
import yaml

from alerts.played import Played, values
from tokwatt_exporter import parse
from tokwatt_exporter.alerts import rules
from tokwatt_exporter.alerts.evaluate import evaluate
from tokwatt_exporter.alerts.judge import Judge
from tokwatt_exporter.alerts.promql import Selector, read

RULES = Path(__file__).parents[2] / "grafana/rules"
TESTS = [
    (test, parse.duration(played["evaluation_interval"]))
    for played in (yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.test.yml")))
    for test in played["tests"]
]
RECORDED = {
    rule["record"]: rule["expr"]
    for group in yaml.safe_load((RULES / rules.NAME).read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
}


def ids(tests):
    return [test["name"] for test, *_ in tests]


def ms(duration):
    return round(parse.duration(duration) * 1000)


ALERTS = [(test, every) for test, every in TESTS if "alert_rule_test" in test]
EXPRESSIONS = [(test, every) for test, every in TESTS if "promql_expr_test" in test]


def test_every_shipped_alert_can_be_judged():
    loaded = rules.load()
    written = yaml.safe_load((RULES / rules.NAME).read_text())["groups"]
    assert [rule.name for rule in loaded.alerts] == [r["alert"] for g in written for r in g["rules"] if "alert" in r]
    assert loaded.left_out == ()


@pytest.mark.parametrize(("test", "every"), ALERTS, ids=ids(ALERTS))
def test_an_alert_fires_and_is_silent_as_promtool_says(test, every):
    played, judge = Played(test), Judge(rules.load().alerts)
    expected = sorted(test["alert_rule_test"], key=lambda one: ms(one["eval_time"]))
    now, changes = 0, []
    for one in expected:
        while now <= ms(one["eval_time"]):
            changes += judge.look(now, played)
            now += round(every * 1000)
        firing = [
            {"exp_labels": dict(alert.labels), "exp_annotations": dict(alert.annotations)}
            for alert in judge.alerts.values()
            if alert.name == one["alertname"] and alert.fired_ms is not None
        ]
        assert firing == one.get("exp_alerts", []), one["eval_time"]
    assert judge.problems == {}
    # Once for each change, and never twice the same.
    told = [(change.alert.key, change.status) for change in changes]
    for key in {key for key, _ in told}:
        statuses = [status for of, status in told if of == key]
        assert statuses == (["firing", "resolved"] * len(statuses))[: len(statuses)]


@pytest.mark.parametrize(("test", "every"), EXPRESSIONS, ids=ids(EXPRESSIONS))
def test_an_expression_gives_what_promtool_says(test, every):
    played = Played(test)
    for one in test["promql_expr_test"]:
        found = evaluate(read(RECORDED[one["expr"]]), ms(one["eval_time"]), played)
        expected = {}
        for sample in one["exp_samples"]:
            selector = read(sample["labels"])
            assert isinstance(selector, Selector)
            expected[tuple(sorted((m.label, m.value) for m in selector.matchers))] = sample["value"]
        assert found == pytest.approx(expected)


def test_the_notation_of_series_is_read_as_promtool_reads_it():
    assert list(values("1x2 _x2 0+2x2 _ 5e6")) == [1, 1, 1, None, None, 0, 2, 4, None, 5e6]
