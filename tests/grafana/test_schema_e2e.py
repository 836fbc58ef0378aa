"""The boards against the type that Grafana publishes of a dashboard."""

import json
from pathlib import Path

import pytest

from support.grafana_schema import faults

BOARDS = sorted((Path(__file__).parents[2] / "grafana/dashboards").glob("*.json"))

pytestmark = pytest.mark.e2e


def board(path):
    made = json.loads(path.read_text())
    # The published type knows annotations of Grafana's own only, not those that ask a data source.
    return {**made, "annotations": {"list": []}}


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_board_is_what_grafana_calls_a_dashboard(path):
    assert faults(board(path)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("title", 7), ("graphTooltip", "shared"), ("schemaVersion", None), ("colour", "red"), ("time", {})],
)
def test_a_board_with_a_fault_is_refused(key, value):
    assert faults({**board(BOARDS[0]), key: value}) != []


def test_a_panel_with_a_fault_is_refused():
    made = board(BOARDS[0])
    made["panels"][1]["fieldConfig"]["defaults"]["thresholds"]["mode"] = "percent"
    assert faults(made) != []
