"""Recording and alert rules: valid, about metrics that exist, and each alert seen firing and silent."""

import itertools
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from support.components import component
from support.promql_reader import read
from tokwatt_exporter.catalogue import SERIES

pytestmark = pytest.mark.text

ROOT = Path(__file__).parents[2]
RULES = ROOT / "grafana/rules/tokwatt.rules.yml"
PLAYED = {path: yaml.safe_load(path.read_text())["tests"] for path in sorted(RULES.parent.glob("*.test.yml"))}
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
EACH_RULE = pytest.mark.parametrize(
    "rule", [rule for group in GROUPS for rule in group["rules"]], ids=lambda rule: rule.get("alert") or rule["record"]
)
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}


@EACH_RULE
def test_every_metric_and_label_of_a_rule_exists(rule):
    expression = read(rule["expr"])
    known = {"up": {"job", "instance"}} | {name: {*family.labels, "job", "instance"} for name, family in SERIES.items()}
    for selector in expression.selectors:
        assert selector.metric in known
        assert selector.matchers.keys() <= known[selector.metric]
    assert expression.grouping <= set.union(*(known[selector.metric] for selector in expression.selectors))


@pytest.mark.parametrize("rule", ALERTS.values(), ids=list(ALERTS))
def test_an_alert_says_what_is_wrong_where_and_how_bad_it_is(rule):
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert "$labels." in rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")


@pytest.mark.parametrize("rule", ALERTS.values(), ids=list(ALERTS))
def test_an_alert_leads_to_a_section_that_says_what_it_means_and_what_to_do(rule):
    path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    sections = re.split("^## ", (ROOT / path).read_text(), flags=re.M)[1:]
    [section] = [text for text in sections if text.splitlines()[0].lower() == anchor]
    assert section.splitlines()[0] == rule["alert"]
    assert "**Means:**" in section
    assert "**Do:**" in section


def test_no_runbook_is_about_an_alert_that_does_not_exist():
    assert re.findall("^## (.*)$", (ROOT / "docs/runbooks.md").read_text(), re.M) == list(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_played_silent_firing_and_silent_again(name):
    for played in itertools.chain(*PLAYED.values()):
        said = [bool(t.get("exp_alerts")) for t in played.get("alert_rule_test", []) if t["alertname"] == name]
        if True in said and not said[0] and not said[-1]:
            return
    pytest.fail(f"{name} is not seen to come and go")


@pytest.mark.e2e
def test_prometheus_accepts_the_rules():
    result = promtool("check", "rules", "--lint-fatal", RULES)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.e2e
def test_rules_give_what_they_should_and_alerts_fire_when_they_must_and_not_before():
    result = promtool("test", "rules", *PLAYED)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_that_never_fires_would_be_noticed(name, tmp_path):
    changed = yaml.safe_load(RULES.read_text())
    [rule] = [rule for group in changed["groups"] for rule in group["rules"] if rule.get("alert") == name]
    rule["expr"] = f"({rule['expr']}) and vector(0) == 1"
    (tmp_path / RULES.name).write_text(yaml.safe_dump(changed))
    [path] = [path for path, tests in PLAYED.items() if firing(name, tests)]
    # The scenes of the others would only take their time.
    played = yaml.safe_load(path.read_text())
    played["tests"] = [scene for scene in played["tests"] if firing(name, [scene])]
    (tmp_path / path.name).write_text(yaml.safe_dump(played))
    result = promtool("test", "rules", tmp_path / path.name)
    assert result.returncode == 1
    assert name in result.stdout + result.stderr


def firing(name, tests):
    return [t for test in tests for t in test.get("alert_rule_test", ()) if t["alertname"] == name if "exp_alerts" in t]


def promtool(*arguments):
    return subprocess.run([component("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=120)
