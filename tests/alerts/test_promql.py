"""The part of PromQL that is read, that the rest is refused, and that values are those of Prometheus."""

import subprocess

import pytest
import yaml

from alerts.played import Played
from support.components import component
from tokwatt_exporter.alerts.evaluate import NotEvaluated, evaluate
from tokwatt_exporter.alerts.promql import Unsupported, read

TEST = {
    "interval": "15s",
    "input_series": [
        {"series": 'a_total{job="j", x="1", y="p"}', "values": "0+3x20 5+2x20"},
        {"series": 'a_total{job="j", x="2", y="p"}', "values": "7x8 _x4 7+1x30"},
        {"series": 'a_total{job="j", x="3", y="q"}', "values": "_x30 1+4x10"},
        {"series": 'b{job="j", x="1"}', "values": "4x12 0x12 4x17"},
        {"series": 'b{job="j", x="2"}', "values": "-2+1x40"},
        {"series": 'c{job="j", x="2", z="r"}', "values": "2x10 _x31"},
    ],
}
EXPRESSIONS = (
    "a_total", 'a_total{y="p"}', 'a_total{y!="p"}', 'a_total{x=~"1|3"}', 'a_total{x!~"1.*"}', 'b{nothing=""}',
    "rate(a_total[2m])", "increase(a_total[1m])", "rate(a_total[5m] offset 3m)", "rate(b[2m])",
    "max_over_time(b[3m])", "min_over_time(b[3m])", "avg_over_time(b[3m])", "count_over_time(a_total[3m])",
    "last_over_time(c[10m])", "sum(a_total)", "sum by (y) (a_total)", "avg without (x, y) (a_total)", "min(b) by (job)",
    "max(b)", "count(a_total)", "b > 0", "b >= 4", "0 < b", "b == 4", "b != 4", "b * 2 + 1", "2 - b / 2", "-b",
    "b - -1",
    "b + on (job, x) c", "a_total > on (x) b", "a_total - ignoring (y) b", "a_total and on (x) b",
    "a_total unless on (x) c", "c or b", "a_total or on (x) b", "b > 1 or b < 0", "a_total offset 1m",
    'label_replace(b, "w", "n$1", "x", "(.*)")', "time() - b", "vector(3)",
    "sum(rate(a_total[5m])) / sum(b > 0)", "sum by (x) (a_total) * on (x) b",
)  # fmt: skip
#: Between samples: what is exactly as old as a window is long was in it until Prometheus 3.
TIMES = (37, 67, 214, 457, 608)


@pytest.mark.e2e
def test_every_value_is_the_one_that_prometheus_gives(tmp_path):
    tests = []
    for expression in EXPRESSIONS:
        for at in TIMES:
            found = evaluate(read(expression), at * 1000, Played(TEST))
            samples = [
                {"labels": labelled(labels), "value": float(round(value * 1e9))} for labels, value in found.items()
            ]
            # Prometheus keeps the name of a metric where nothing was done to the value, which no alert has.
            tests.append(
                {
                    "expr": f"round(1e9 * sum without (none) ({expression}))",
                    "eval_time": f"{at}s",
                    "exp_samples": samples,
                }
            )
    path = tmp_path / "parity.test.yml"
    path.write_text(yaml.safe_dump({"tests": [{**TEST, "promql_expr_test": tests}]}))
    result = subprocess.run(
        [component("promtool"), "test", "rules", path], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr


def labelled(labels):
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels) + "}"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("histogram_quantile(0.9, a)", "histogram_quantile"), ("a * on (x) group_left () b", "group_left"),
        ("a == bool 1", "bool"), ("absent(a)", "absent"), ("rate(a)", "window"), ("rate(sum(a)[5m:1m])", "stands"),
        ("a @ 5", "@"), ("a[5m", "not known"), ("a +", "the end"), ("(a", "the end"), ("a b", "'b'"),
        ('{x="1"}', "without a metric"),
        ('a{x=~"("}', "regular expression"), ("a{x}", "'}'"), ("a[fast]", "not a duration"), ("a % 2", "'%'"),
        ("topk(3, a)", "topk"),
        ("(" * 60 + "a" + ")" * 60, "deeply"), ("a" * 20_000, "longer"), ("", "the end"), ("a ~ b", "not known"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_by_name(expression, said):
    with pytest.raises(Unsupported, match=said.replace("(", r"\(")):
        read(expression)


@pytest.mark.parametrize(
    "expression",
    ["a_total + on (job) b", "1 < 2", "b and 1", "sum(1)", "b + c[5m]", 'label_replace(b, "x", "", "", "")', '"text"'],
)
def test_what_cannot_be_told_is_no_value(expression):
    with pytest.raises(NotEvaluated):
        evaluate(read(expression), 60_000, Played(TEST))


def test_operators_bind_as_in_prometheus():
    assert read("a or b and c > 1 + 2 * 3") == read("a or (b and (c > (1 + (2 * 3))))")
    assert read("a - b - c") == read("(a - b) - c")
    assert read("a unless b unless c") == read("(a unless b) unless c")
