"""The boards: queries over metrics that exist, of the machines that were chosen, in panels that explain themselves."""

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from grafana.boards import BOARDS, GRAFANA, panels
from support.promql_reader import Expression, Selector, read
from tokwatt_exporter.catalogue import BENCHMARK_RUNNING, BUILD_INFO, DEMO_INFO, SERIES, Counter

pytestmark = pytest.mark.text

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: Metrics that Prometheus itself makes.
OF_PROMETHEUS = {"ALERTS": {"alertname", "alertstate"}}
PANEL_TYPES = {"stat", "timeseries", "state-timeline", "table"}


class Query(NamedTuple):
    """One expression of a board, where it stands, and what its series are called."""

    board: str
    where: str
    text: str
    legend: str = ""

    @property
    def expression(self) -> Expression:
        return read(self.text)


def queries() -> Iterator[Query]:
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Query(name, panel["title"], target["expr"], target.get("legendFormat", ""))
        for annotation in board["annotations"]["list"]:
            yield Query(name, annotation["name"], annotation["expr"], annotation["titleFormat"])


def labels_of(selector: Selector) -> set[str]:
    if selector.metric in OF_PROMETHEUS:
        return OF_PROMETHEUS[selector.metric] | {"job", "instance"}
    return set(SERIES[selector.metric].labels) | {"job", "instance"}


EACH_QUERY = pytest.mark.parametrize("query", list(queries()), ids=lambda query: f"{query.board}-{query.where}")
EACH_PANEL = pytest.mark.parametrize(
    "panel", [p for b in BOARDS.values() for p in panels(b)], ids=lambda panel: panel["title"]
)
EACH_BOARD = pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))


def test_the_files_are_what_the_code_says():
    result = subprocess.run(
        [sys.executable, GRAFANA / "src/generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_the_check_names_the_file_that_is_stale(tmp_path):
    generate = f"import sys; sys.path.insert(0, {str(GRAFANA / 'src')!r}); from pathlib import Path; import generate; "
    run = [sys.executable, "-c"]
    subprocess.run([*run, f"{generate} generate.main([], Path({str(tmp_path)!r}))"], check=True, timeout=60)
    stale = tmp_path / "dashboards/tokwatt-host.json"
    stale.write_text(stale.read_text().replace("Temperatures", "Temperature"))
    check = f"{generate} sys.exit(generate.main(['--check'], Path({str(tmp_path)!r})))"
    result = subprocess.run([*run, check], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert result.stderr == "grafana/dashboards/tokwatt-host.json: not what the code says: run `make docs`\n"


@EACH_QUERY
def test_every_metric_of_a_query_is_in_the_catalogue(query):
    metrics = {selector.metric for selector in query.expression.selectors}
    assert metrics
    assert metrics <= SERIES.keys() | OF_PROMETHEUS.keys()


@EACH_QUERY
def test_every_label_of_a_query_is_one_of_the_metric(query):
    expression = query.expression
    for selector in expression.selectors:
        assert selector.matchers.keys() <= labels_of(selector)
    assert expression.grouping <= set.union(*map(labels_of, expression.selectors))


@EACH_QUERY
def test_every_query_is_of_the_chosen_machines(query):
    for selector in query.expression.selectors:
        assert selector.matchers["job"] == '=~"$job"'
        assert selector.matchers["instance"] == '=~"$instance"'


@EACH_QUERY
def test_counters_are_only_used_as_growth_over_a_window_that_grafana_chooses(query):
    for selector in query.expression.selectors:
        if isinstance(SERIES.get(selector.metric), Counter):
            assert selector.function in ("rate", "increase")
            assert selector.window in ("[$__rate_interval]", "[$__range]")
        elif selector.window:
            # What is not about the shown time is about a past that marks look back to.
            marks = [annotation["name"] for annotation in BOARDS[query.board]["annotations"]["list"]]
            window = "[1h]" if query.where in marks else "[$__range]"
            assert (selector.function, selector.window) == ("max_over_time", window)


@EACH_QUERY
def test_a_legend_uses_labels_that_the_result_has(query):
    used = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
    assert used <= set.union(*map(labels_of, query.expression.selectors))
    grouped = re.match(r"(?:sum|min|max) by \(([^)]*)\)", query.text)
    if grouped:
        assert used <= set(grouped[1].split(", "))


@EACH_QUERY
def test_only_variables_that_the_board_has_are_used(query):
    variables = {variable["name"] for variable in BOARDS[query.board]["templating"]["list"]}
    assert set(re.findall(r"\$([a-z_]\w*)", query.text)) <= variables | {"__rate_interval", "__range"}


@EACH_PANEL
def test_a_panel_explains_itself(panel):
    assert panel["type"] in PANEL_TYPES
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"] == SOURCE
    assert panel["targets"]
    assert all(target["datasource"] == SOURCE for target in panel["targets"])
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@EACH_PANEL
def test_a_panel_has_a_unit(panel):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if unit == "none":
        properties = [p["id"] for override in panel["fieldConfig"]["overrides"] for p in override["properties"]]
        mapped = "mappings" in (*properties, *panel["fieldConfig"]["defaults"])
        assert mapped or panel["type"] == "table", "a number without a unit needs words for its values"


@EACH_PANEL
def test_a_panel_says_in_words_why_it_is_empty(panel):
    assert len(panel["fieldConfig"]["defaults"]["noValue"].split()) >= 3


@EACH_PANEL
def test_only_thresholds_that_the_description_explains_have_a_colour(panel):
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    for step in steps[1:]:
        assert step["color"] in panel["description"].lower()


@EACH_PANEL
def test_what_shows_a_moment_asks_for_a_moment(panel):
    for target in panel["targets"]:
        assert target.get("instant", False) == (panel["type"] in ("stat", "table"))


@EACH_BOARD
def test_a_board_starts_with_the_variables_that_choose_machines(board):
    source, job, instance, *_ = board["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    # Every exporter has this one; a board must not vanish because a machine lacks a sensor.
    assert job["query"]["query"] == f"label_values({BUILD_INFO.name}, job)"
    assert instance["query"]["query"] == f'label_values({BUILD_INFO.name}{{job=~"$job"}}, instance)'


@EACH_BOARD
def test_a_variable_reads_labels_that_exist_again_when_the_time_changes(board):
    for variable in board["templating"]["list"]:
        if variable["type"] != "query":
            continue
        assert variable["refresh"] == 2
        assert (variable["multi"], variable["includeAll"]) == (True, True)
        # An engine may say something of itself that is about no model.
        some_lack_it = (board["uid"], variable["name"]) == ("tokwatt-engines", "model")
        assert variable["allValue"] == (".*" if some_lack_it else ".+")
        asked, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
        [selector] = read(asked).selectors
        assert {label, *selector.matchers} <= labels_of(selector)


@EACH_BOARD
def test_a_board_has_at_most_twenty_panels_with_titles_of_their_own(board):
    titles = [panel["title"] for panel in panels(board)]
    assert len(titles) == len(set(titles)) <= 20
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@EACH_BOARD
def test_the_first_row_is_in_sight_and_no_panel_covers_another(board):
    assert board["panels"][1]["gridPos"]["y"] == 1
    cells = [
        cell
        for p in (panel["gridPos"] for panel in board["panels"])
        for cell in itertools.product(range(p["x"], p["x"] + p["w"]), range(p["y"], p["y"] + p["h"]))
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


@EACH_BOARD
def test_rows_are_filled_to_the_right_edge(board):
    width = {}
    for panel in board["panels"]:
        position = panel["gridPos"]
        width[position["y"]] = width.get(position["y"], 0) + position["w"]
    assert set(width.values()) == {24}


@EACH_BOARD
def test_boards_lead_to_each_other_and_cannot_be_edited_in_place(board):
    [link] = board["links"]
    assert (link["type"], link["keepTime"], link["includeVars"]) == ("dashboards", True, True)
    assert set(link["tags"]) <= set(board["tags"])
    assert board["editable"] is False


@EACH_BOARD
def test_a_benchmark_is_marked_on_every_graph(board):
    benchmark = board["annotations"]["list"][0]
    assert benchmark["expr"].startswith(BENCHMARK_RUNNING.name)
    assert benchmark["expr"].endswith("== 1")
    assert benchmark["enable"]


def test_boards_have_names_of_their_own():
    assert {board["uid"] for board in BOARDS.values()} == BOARDS.keys()
    assert BOARDS.keys() == {f"tokwatt-{name}" for name in ("fleet", "host", "engines", "benchmarks")}


@EACH_BOARD
def test_a_board_of_a_demo_says_so_in_red_in_its_first_row(board):
    first = [panel for panel in panels(board) if panel["gridPos"]["y"] == 1]
    [(panel, ref)] = [(p, t["refId"]) for p in first for t in p["targets"] if DEMO_INFO.name in t["expr"]]
    [colour] = [
        value["value"]["fixedColor"]
        for override in panel["fieldConfig"]["overrides"] if override["matcher"]["options"] == ref
        for value in override["properties"] if value["id"] == "color"
    ]  # fmt: skip
    assert colour == "red"
    assert panel["options"]["colorMode"] == "value"


def test_a_column_that_nobody_reports_stays_in_the_table():
    [table] = [p for p in panels(BOARDS["tokwatt-benchmarks"]) if p["type"] == "table"]
    for target in table["targets"]:
        assert " or on (job, instance, engine, model, scenario) NaN * " in target["expr"]


TABLES = [panel for board in BOARDS.values() for panel in panels(board) if panel["type"] == "table"]


@pytest.mark.parametrize("panel", TABLES, ids=lambda panel: panel["title"])
def test_a_table_leads_to_boards_that_exist_with_variables_that_they_have(panel):
    overrides = [p for override in panel["fieldConfig"]["overrides"] for p in override["properties"]]
    for link in (link for p in overrides if p["id"] == "links" for link in p["value"]):
        [uid] = re.findall(r"^/d/([\w-]+)\?", link["url"])
        given = set(re.findall(r"\$\{(\w+):queryparam\}|var-(\w+)=", link["url"]))
        variables = {variable["name"] for variable in BOARDS[uid]["templating"]["list"]}
        assert {one or other for one, other in given} <= variables
        titles = [t["options"]["renameByName"].values() for t in panel["transformations"] if t["id"] == "organize"]
        assert set(re.findall(r"__data\.fields\.(\w+)", link["url"])) <= set(*titles)
        assert link["title"]
        assert "${__url_time_range}" in link["url"]


def test_the_fleet_leads_to_each_machine():
    links = re.findall(r"/d/([\w-]+)\?", json.dumps(BOARDS["tokwatt-fleet"]))
    assert {"tokwatt-host", "tokwatt-engines"} <= set(links)


@pytest.mark.parametrize("panel", TABLES, ids=lambda panel: panel["title"])
def test_a_table_shows_columns_that_its_queries_have(panel):
    [shown] = [t["options"]["include"]["names"] for t in panel["transformations"] if t["id"] == "filterFieldsByName"]
    values = {f"Value #{target['refId']}" for target in panel["targets"]}
    labels = set.union(*(labels_of(s) for target in panel["targets"] for s in read(target["expr"]).selectors))
    assert set(shown) <= values | labels
    [organize] = [t["options"] for t in panel["transformations"] if t["id"] == "organize"]
    assert set(organize["renameByName"]) == set(organize["indexByName"]) == set(shown)
    titles = set(organize["renameByName"].values())
    assert {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]} <= titles
