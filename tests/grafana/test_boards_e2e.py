"""Every query of every board, asked of real databases that have two machines: one with all sensors, one with none.

Prometheus has them as if it had scraped them; VictoriaMetrics got them by OTLP.
"""

import math
import re

import pytest

from grafana.boards import BOARDS, answers, filled_in, panels
from support import scene
from support.tsdb import prometheus, victoria_metrics
from tokwatt_exporter.catalogue import SYSTEM_ENERGY

PANELS = [
    pytest.param(panel, id=f"{name}-{panel['title']}") for name, board in BOARDS.items() for panel in panels(board)
]
EVERYTHING, HARDLY_ANYTHING = "workstation:1", "vm:1"

#: What a virtual machine without sensors and engines has to say.
ALWAYS = {
    "All machines", "CPU busy", "Memory", "Machine", "Machines", "Collectors", "Why something is not there",
    "Duration of collectors", "Age of the newest", "Running now", "Clocks",
}  # fmt: skip
#: What shows faults is empty at the end of the data, when all is well again: it is asked in the middle.
OF_FAULTS, AMID_FAULTS = {"What is down"}, 4100

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=[prometheus, victoria_metrics], ids=["scraped", "otlp"])
def database(request, tmp_path_factory):
    machines = {EVERYTHING: scene.workstation, HARDLY_ANYTHING: scene.virtual_machine}
    with request.param(tmp_path_factory.mktemp("tsdb"), machines) as running:
        yield running


@pytest.mark.parametrize("panel", PANELS)
def test_a_machine_with_every_sensor_fills_every_panel(database, panel):
    end = AMID_FAULTS if panel["title"] in OF_FAULTS else None
    assert [len(found) > 0 for found in answers(database, panel, EVERYTHING, end)] == [True] * len(panel["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_a_name_in_a_legend_is_filled_in(database, panel):
    for target, found in zip(panel["targets"], answers(database, panel, EVERYTHING), strict=True):
        used = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
        assert all(used <= series["metric"].keys() for series in found)


@pytest.mark.parametrize("panel", PANELS)
def test_a_machine_without_sensors_gets_no_error_and_no_made_up_value(database, panel):
    found = [series for answer in answers(database, panel, HARDLY_ANYTHING) for series in answer]
    assert bool(found) == (panel["title"] in ALWAYS)


@pytest.mark.parametrize("annotation", [a for board in BOARDS.values() for a in board["annotations"]["list"]],
                         ids=lambda annotation: annotation["name"])  # fmt: skip
def test_an_annotation_is_a_valid_query(database, annotation):
    found = database.query_range(filled_in(annotation["expr"], EVERYTHING, database.seconds))
    # Nobody evaluates rules here.
    assert bool(found) == (annotation["name"] != "Alert")


def test_an_engine_is_marked_when_it_has_another_version_and_not_before(database):
    [mark] = [a for a in BOARDS["tokwatt-engines"]["annotations"]["list"] if a["name"] == "Engine version"]
    [series] = database.query_range(filled_in(mark["expr"], EVERYTHING, database.seconds), step=30)
    assert series["metric"]["engine"] == "ollama"
    times = [time - database.now + database.seconds for time, _ in series["values"]]
    assert (min(times), max(times)) == (3000, 3270)


def value(database, board, title, number=0, instance=EVERYTHING):
    [panel] = [panel for panel in BOARDS[board]["panels"] if panel["title"] == title]
    [series] = list(answers(database, panel, instance))[number]
    return float(series["value"][1])


def test_the_power_of_a_machine_is_the_growth_of_its_whole_energy(database):
    window = 120
    end, start = (
        reading.value
        for t in (database.seconds, database.seconds - window)
        for reading in scene.workstation(t)
        if reading.family is SYSTEM_ENERGY
    )
    assert value(database, "tokwatt-host", "Power") == pytest.approx((end - start) / window, rel=0.01)


def test_energy_in_kilowatt_hours_and_its_cost_are_of_the_shown_time(database):
    hours = database.seconds / 3600
    energy = value(database, "tokwatt-host", "Energy and cost today")
    assert energy == pytest.approx((85 + 460) / 2 / 1000 * hours, rel=0.05)
    assert value(database, "tokwatt-host", "Energy and cost today", 1) == pytest.approx(0.3 * energy)


def test_energy_per_token_is_power_over_tokens_per_second(database):
    power, speed = (value(database, "tokwatt-host", title) for title in ("Power", "Generation"))
    assert value(database, "tokwatt-host", "Energy per token") == pytest.approx(power / speed)


def test_states_are_numbers_in_the_order_of_the_colours(database):
    [panel] = [p for p in BOARDS["tokwatt-host"]["panels"] if p["title"] == "Pressure and power mode"]
    pressure, thermal, source, mode = answers(database, panel, EVERYTHING)
    assert {value for series in pressure for _, value in series["values"]} == {"0", "1", "2"}
    assert {value for series in thermal for _, value in series["values"]} == {"0", "1", "2"}
    assert {value for series in source for _, value in series["values"]} == {"0", "1"}
    assert {value for series in mode for _, value in series["values"]} == {"0", "2"}


@pytest.mark.parametrize("panel", [param.values[0] for param in PANELS if param.values[0]["type"] == "table"],
                         ids=lambda panel: panel["title"])  # fmt: skip
def test_the_columns_of_a_table_are_joined_into_one_row_per_key(database, panel):
    [organize] = [t["options"] for t in panel["transformations"] if t["id"] == "organize"]
    keys = [name for name in organize["indexByName"] if not name.startswith("Value")]
    rows = [[row["metric"] for row in answer] for answer in answers(database, panel, EVERYTHING)]
    # Grafana joins on every label, and the name of a metric is one. VictoriaMetrics does not answer what is NaN.
    most = max(map(len, rows))
    every = {str(row) for answer in rows for row in answer}
    assert len(every) == most
    assert all(len(answer) == most for answer in rows) or database.otlp
    assert all({*keys, "job"} == row.keys() for row in rows[0])


def test_an_engine_that_tells_less_than_it_could_stands_beside_the_collectors_with_its_reason(database):
    [panel] = [p for p in BOARDS["tokwatt-host"]["panels"] if p["title"] == "Why something is not there"]
    rows = [row["metric"] for row in next(answers(database, panel, EVERYTHING))]
    assert {(row["collector"], row["problem"]) for row in rows} == {("amdgpu", "not_available"), ("ollama", "engine")}


def test_a_figure_that_is_not_known_is_told_apart_from_zero_in_the_table(database):
    [panel] = [p for p in BOARDS["tokwatt-benchmarks"]["panels"] if p["title"] == "Latest results"]
    title = {ref: name for t in panel["transformations"] if t["id"] == "organize"
             for ref, name in t["options"]["renameByName"].items()}  # fmt: skip
    for target, rows in zip(panel["targets"], answers(database, panel, EVERYTHING), strict=True):
        known = {row["metric"]["engine"]: not math.isnan(float(row["value"][1])) for row in rows}
        expected = {"llama_cpp": True, "ollama": title[f"Value #{target['refId']}"] != "Energy/token"}
        assert known == {engine: is_known for engine, is_known in expected.items() if is_known or not database.otlp}
