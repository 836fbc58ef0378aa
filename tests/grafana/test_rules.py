"""Recording and alert rules: valid, about metrics that exist, and each alert seen firing and silent."""

import subprocess
from pathlib import Path

import pytest
import yaml

from support.components import component
from support.promql_reader import read
from tokwatt_exporter.catalogue import CATALOGUE

pytestmark = pytest.mark.text

ROOT = Path(__file__).parents[2]
RULES = ROOT / "grafana/rules/tokwatt.rules.yml"
PLAYED = ROOT / "grafana/rules/tokwatt.rules.test.yml"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
EACH_RULE = pytest.mark.parametrize(
    "rule", [rule for group in GROUPS for rule in group["rules"]], ids=lambda rule: rule.get("alert") or rule["record"]
)
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}


@EACH_RULE
def test_every_metric_and_label_of_a_rule_exists(rule):
    expression = read(rule["expr"])
    known = {"up": {"job", "instance"}} | {
        name: {*family.labels, "job", "instance"} for name, family in CATALOGUE.items()
    }
    for selector in expression.selectors:
        assert selector.metric in known
        assert selector.matchers.keys() <= known[selector.metric]
    assert expression.grouping <= set.union(*(known[selector.metric] for selector in expression.selectors))


@pytest.mark.parametrize("rule", ALERTS.values(), ids=list(ALERTS))
def test_an_alert_says_what_is_wrong_where_and_how_bad_it_is(rule):
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"].keys() == {"summary", "description"}
    assert "$labels." in rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_played_firing_and_silent(name):
    tests = [
        test for played in yaml.safe_load(PLAYED.read_text())["tests"] for test in played.get("alert_rule_test", [])
    ]
    assert {bool(test.get("exp_alerts")) for test in tests if test["alertname"] == name} == {True, False}


@pytest.mark.e2e
def test_prometheus_accepts_the_rules():
    result = promtool("check", "rules", "--lint-fatal", RULES)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.e2e
def test_rules_give_what_they_should_and_alerts_fire_when_they_must_and_not_before():
    result = promtool("test", "rules", PLAYED)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_that_never_fires_would_be_noticed(name, tmp_path):
    changed = yaml.safe_load(RULES.read_text())
    [rule] = [rule for group in changed["groups"] for rule in group["rules"] if rule.get("alert") == name]
    rule["expr"] = f"({rule['expr']}) and vector(0) == 1"
    (tmp_path / RULES.name).write_text(yaml.safe_dump(changed))
    (tmp_path / PLAYED.name).write_text(PLAYED.read_text())
    result = promtool("test", "rules", tmp_path / PLAYED.name)
    assert result.returncode == 1
    assert name in result.stdout + result.stderr


def promtool(*arguments):
    return subprocess.run([component("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=120)
