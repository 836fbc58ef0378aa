"""The parts boards are made of: variables, panels with everything a reader needs, annotations, links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from promql import BOARD, TARGET
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.catalogue import Family, States

TAG = "tokwatt"
SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
#: What a panel says where a machine lacks the sensor; a failure looks the same from there, hence the second half.
NO_SENSOR = "No such sensor: the row Collectors says why"
NO_REPORT = "Not reported by any engine here"
NO_DATA = "No data: is the exporter up and scraped?"

WIDTH = 24
P = TypeVar("P", timeseries.Panel, stat.Panel, statetimeline.Panel, table.Panel)


class Q(NamedTuple):
    """An expression, what its series are called, and how a graph draws it: `line` is outside of the stack, dashed."""

    expr: str
    legend: str = "{{instance}}"
    line: bool = False
    unit: str | None = None


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


def choice(name: str, label: str, query: str) -> builders.QueryVariable:
    """A variable that is chosen from what there is in the shown time; all of it at first."""
    made = builders.QueryVariable(name).label(label).query({"query": query, "refId": name})
    made = made.datasource(SOURCE).multi(True).include_all(True).all_value(".+")
    made = made.current(dashboard.VariableOption(text="All", value="$__all"))
    return made.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(dashboard.VariableSort.ALPHABETICAL_ASC)


def label_choice(family: Family, label: str, title: str, *matchers: str) -> builders.QueryVariable:
    """The values that a label of a family has."""
    if label not in family.labels:
        raise ValueError(f"{family.name} has no label {label}")
    return choice(label, title, f"label_values({BOARD.series(family, *matchers)}, {label})")


def events() -> Sequence[builders.AnnotationQuery]:
    """Benchmarks as regions, because their load is synthetic, and alerts that fire."""
    running = f"{BOARD.series(c.BENCHMARK_RUNNING)} == 1"
    alerts = 'ALERTS{alertstate="firing", alertname=~"Tokwatt.+", job=~"$job", instance=~"$instance"}'
    return (
        _annotation("Benchmark", running, "purple", "Benchmark running", "instance"),
        _annotation("Alert", alerts, "red", "{{alertname}}", "instance,engine,model,collector"),
    )


def _annotation(name: str, expr: str, colour: str, title: str, tags: str) -> builders.AnnotationQuery:
    made = builders.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour).expr(expr)
    made = made.target(prometheus.Dataquery().expr(expr).ref_id("Anno").datasource(SOURCE).range())
    return made.title_format(title).tag_keys(tags)


def graph(title: str, description: str, unit: str, *queries: Q, empty: str, stack: bool = False) -> timeseries.Panel:
    """Series over time; stacked ones are filled, and lines beside them are dashed."""
    panel = timeseries.Panel().draw_style(common.GraphDrawStyle.LINE).line_width(1).axis_soft_min(0)
    panel = panel.fill_opacity(30 if stack else 8).show_points(common.VisibilityMode.AUTO)
    panel = panel.color_scheme(builders.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC))
    mode = common.StackingMode.NORMAL if stack else common.StackingMode.NONE
    panel = panel.stacking(common_builders.StackingConfig().mode(mode).group("A"))
    panel = panel.tooltip(
        common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
    )
    panel = panel.legend(
        common_builders.VizLegendOptions()
        .show_legend(True)
        .calcs(["lastNotNull"])
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
    )
    return _with_own_looks(_filled(panel, title, description, unit, empty, queries), queries)


def number(title: str, description: str, unit: str, *queries: Q, empty: str, digits: int | None = None) -> stat.Panel:
    """One value per machine and query, now."""
    panel = stat.Panel().graph_mode(common.BigValueGraphMode.NONE).color_mode(common.BigValueColorMode.NONE)
    panel = panel.text_mode(common.BigValueTextMode.AUTO).orientation(common.VizOrientation.AUTO)
    panel = panel.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    if digits is not None:
        panel = panel.decimals(digits)
    panel = _filled(panel, title, description, unit, empty, queries, instant=True)
    return _with_own_looks(panel, queries)


def timeline(title: str, description: str, *queries: tuple[Q, Sequence[tuple[str, str]]], empty: str) -> Any:
    """States over time; each query comes with the text and colour of 0, 1, 2…"""
    panel = statetimeline.Panel().show_value(common.VisibilityMode.NEVER).merge_values(True).row_height(0.8)
    panel = panel.legend(
        common_builders.VizLegendOptions()
        .show_legend(True)
        .calcs([])
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
    )
    panel = panel.fill_opacity(80).line_width(0)
    panel = _filled(panel, title, description, "none", empty, [query for query, _ in queries])
    for (ref, _), (_, looks) in zip(_named([query for query, _ in queries]), queries, strict=True):
        panel = panel.override_by_query(ref, [dashboard.DynamicConfigValue("mappings", [mapping(looks)])])
    return panel


def mapping(looks: Sequence[tuple[str, str]]) -> dashboard.ValueMap:
    """Text and colour of the values 0, 1, 2…"""
    return dashboard.ValueMap(
        {
            str(value): dashboard.ValueMappingResult(text=text, color=colour, index=value)
            for value, (text, colour) in enumerate(looks)
        }
    )


def states(family: States, *colours: str) -> Sequence[tuple[str, str]]:
    """The states of a family, each with its colour."""
    return list(zip(family.states, colours, strict=True))


class Column(NamedTuple):
    """A column of a table: its title, the expression, its unit. Without a title only its labels are shown."""

    title: str
    expr: str
    unit: str


def sheet(
    title: str, description: str, columns: Sequence[Column], *, keys: Sequence[tuple[str, str]], empty: str
) -> table.Panel:
    """One row per combination of the labels `keys` (label, title), a column for each expression.

    The answers are joined on all labels they have, so they must have the same ones and no name: aggregate them.
    """
    panel = table.Panel().cell_height(common.TableCellHeight.SM).show_header(True)
    panel = _filled(panel, title, description, "none", empty, [Q(column.expr, "") for column in columns], rows=True)
    values = {_value(ref, len(columns)): column for ref, column in _named(columns) if column.title}
    order = [name for name, _ in keys] + list(values)
    rename = dict(keys) | {name: column.title for name, column in values.items()}
    if len(columns) > 1:
        panel = panel.with_transformation(dashboard.DataTransformerConfig("merge", options={}))
    panel = panel.with_transformation(
        dashboard.DataTransformerConfig("filterFieldsByName", options={"include": {"names": order}})
    )
    organize = {"excludeByName": {}, "indexByName": {name: i for i, name in enumerate(order)}, "renameByName": rename}
    panel = panel.with_transformation(dashboard.DataTransformerConfig("organize", options=organize))
    for column in values.values():
        look = [dashboard.DynamicConfigValue("unit", column.unit), dashboard.DynamicConfigValue("mappings", [UNKNOWN])]
        panel = panel.override_by_name(column.title, look)
    return panel


#: How a table shows that a value is not known.
UNKNOWN = dashboard.SpecialValueMap(
    dashboard.DashboardSpecialValueMapOptions(
        match=dashboard.SpecialValueMatch.NA_N, result=dashboard.ValueMappingResult(text="not known", color="text")
    )
)


def known_or_nan(value: str, rows: str, *labels: str) -> str:
    """`value`, and NaN in the rows that lack it: without, a column that nobody has would vanish from its table."""
    on = ", ".join((*TARGET, *labels))
    return f"{value} or on ({on}) NaN * {rows}"


def _value(ref: str, queries: int) -> str:
    return f"Value #{ref}" if queries > 1 else "Value"


def _named(queries: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(chr(ord("A") + number), query) for number, query in enumerate(queries)]


def _with_own_looks(panel: P, queries: Sequence[Q]) -> P:
    for ref, query in _named(queries):
        if own := _own_look(query):
            panel.override_by_query(ref, own)
    return panel


def _own_look(query: Q) -> list[dashboard.DynamicConfigValue]:
    look: dict[str, object] = {"unit": query.unit} if query.unit else {}
    if query.line:
        look |= {
            "custom.stacking": {"mode": "none", "group": "A"},
            "custom.fillOpacity": 0,
            "custom.lineStyle": {"fill": "dash", "dash": [6, 4]},
        }
    return [dashboard.DynamicConfigValue(name, value) for name, value in look.items()]


def _filled(
    panel: P,
    title: str,
    description: str,
    unit: str,
    empty: str,
    queries: Sequence[Q],
    *,
    instant: bool = False,
    rows: bool = False,
) -> P:
    panel.title(title).description(description).unit(unit).datasource(SOURCE).no_value(empty)
    # Grafana's own default turns every value above 80 red, whatever it means.
    panel.thresholds(thresholds())
    for ref, query in _named(queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id(ref).datasource(SOURCE)
        target = target.legend_format(query.legend) if query.legend else target
        target = target.instant() if instant or rows else target.range()
        panel.with_target(target.format(PromQueryFormat.TABLE) if rows else target)
    return panel


def thresholds(*above: tuple[float, str]) -> builders.ThresholdsConfig:
    """Colours from the values on that mean something; none where none is given."""
    steps = [dashboard.Threshold(None, "text"), *(dashboard.Threshold(value, colour) for value, colour in above)]
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)
