"""The frame of every board: variables that choose what is shown, events on every graph, links to the other boards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models import dashboard, units
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueTextMode, VizOrientation

from panels import NO_DATA, SOURCE, Q, number
from promql import BOARD, HOT
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.catalogue import Family

TAG = "tokwatt"
HORIZONTAL = VizOrientation.HORIZONTAL
#: The colour of what nobody may take for real.
RED = dashboard.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "red"})


def board(uid: str, title: str, description: str, span: str) -> builders.Dashboard:
    """An empty board with what all of them have; `span` is the time it shows first."""
    made = builders.Dashboard(title).uid(uid).description(description).tags([TAG]).readonly()
    made = made.time(f"now-{span}", "now").refresh("30s").tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    made = made.link(
        builders.DashboardLink("tokwatt boards")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .keep_time(True)
        .include_vars(True)
        .as_dropdown(False)
    )
    made = made.with_variable(builders.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    # A family that every exporter has at all times: boards must not depend on what a machine lacks.
    made = made.with_variable(choice("job", "Job", f"label_values({c.BUILD_INFO.name}, job)"))
    instances = f'label_values({c.BUILD_INFO.name}{{job=~"$job"}}, instance)'
    made = made.with_variable(choice("instance", "Machine", instances))
    for annotation in events():
        made = made.annotation(annotation)
    return made


def filled(made: builders.Dashboard, rows: Iterable[tuple[str, Iterable[Any]]]) -> builders.Dashboard:
    """The board with these rows, each a title and its panels."""
    for title, panels in rows:
        made = made.with_row(builders.Row(title))
        for panel in panels:
            made = made.with_panel(panel)
    return made


def machine() -> Any:
    """Which machine this is, and in red that it is none."""
    here = f"count by (chip) ({BOARD.series(c.HOST_INFO)})"
    return _machines("Machine", Q(here, "{{chip}}"), "DEMO: not measured").text_mode(BigValueTextMode.NAME)


def machines() -> Any:
    """How many they are, and in red how many of them are none."""
    here = f"count({BOARD.series(c.HOST_INFO)})"
    return _machines("Machines", Q(here, "machines"), "DEMO").text_mode(BigValueTextMode.VALUE_AND_NAME)


def _machines(title: str, real: Q, demo: str) -> Any:
    panel = number(
        title,
        "The machines that are there now. Red: a demo, nothing of such a machine was measured.",
        units.Short,
        real,
        Q(f"count({BOARD.series(c.DEMO_INFO)})", demo),
        empty=NO_DATA,
        digits=0,
    )
    panel = panel.override_by_query("B", [RED])
    return panel.color_mode(BigValueColorMode.VALUE).orientation(HORIZONTAL).height(4)


def choice(name: str, label: str, query: str, every: str = ".+") -> builders.QueryVariable:
    """A variable that is chosen from what there is in the shown time; all of it at first."""
    made = builders.QueryVariable(name).label(label).query({"query": query, "refId": name})
    made = made.datasource(SOURCE).multi(True).include_all(True).all_value(every)
    made = made.current(dashboard.VariableOption(text="All", value="$__all"))
    return made.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(dashboard.VariableSort.ALPHABETICAL_ASC)


def label_choice(family: Family, label: str, title: str, *matchers: str, optional: bool = False) -> Any:
    """The values that a label of a family has; `optional` where series without it belong to all of them."""
    if label not in family.labels:
        raise ValueError(f"{family.name} has no label {label}")
    query = f"label_values({BOARD.series(family, *matchers)}, {label})"
    return choice(label, title, query, ".*" if optional else ".+")


def events() -> Sequence[builders.AnnotationQuery]:
    """Benchmarks as regions, because their load is synthetic; alerts that fire, heat, and engines that were updated."""
    running = f"{BOARD.series(c.BENCHMARK_RUNNING)} == 1"
    alerts = 'ALERTS{alertstate="firing", alertname=~"Tokwatt.+", job=~"$job", instance=~"$instance"}'
    hot = f"{BOARD.series(c.THERMAL_STATE, HOT)} == 1"
    return (
        _annotation("Benchmark", running, "purple", "Benchmark running", "instance"),
        _annotation("Alert", alerts, "red", "{{alertname}}", "instance,engine,model,collector"),
        _annotation("Thermal pressure", hot, "orange", "Thermal pressure: {{state}}", "instance"),
        _annotation("Engine version", new_version(), "blue", "{{engine}} is {{version}} now", "instance,engine"),
    )


def new_version() -> str:
    """The first five minutes of an engine that had another version within the hour before."""
    engine = BOARD.series(c.ENGINE_INFO)
    before = f"max_over_time({engine}[1h] offset 5m)"
    return f"{engine} unless {before} and on (job, instance, engine) {before}"


def _annotation(name: str, expr: str, colour: str, title: str, tags: str) -> builders.AnnotationQuery:
    made = builders.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour).expr(expr)
    made = made.target(prometheus.Dataquery().expr(expr).ref_id("Anno").datasource(SOURCE).range())
    return made.title_format(title).tag_keys(tags)
