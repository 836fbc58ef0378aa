"""The panels boards are made of, each with everything a reader needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from promql import TARGET
from tokwatt_exporter.catalogue import States

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
    """A column of a table: its title, the expression, its unit, and the text and colour of 0, 1, 2… where it has any.

    Without a title only its labels are shown.
    """

    title: str
    expr: str
    unit: str
    looks: Sequence[tuple[str, str]] = ()


def sheet(
    title: str,
    description: str,
    columns: Sequence[Column],
    *,
    keys: Sequence[tuple[str, str]],
    empty: str,
    links: Mapping[str, tuple[str, str]] | None = None,
    wide: Sequence[str] = (),
) -> table.Panel:
    """One row per combination of the labels `keys` (label, title), a column for each expression.

    The answers are joined on all labels they have, so they must have the same ones and no name: aggregate them.
    `links` are title and address of where a column leads, by its title; columns in `wide` have long words.
    """
    panel = table.Panel().cell_height(common.TableCellHeight.SM).show_header(True).min_width(60)
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
        panel = panel.override_by_name(column.title, _cells(column))
    for name, (text, address) in (links or {}).items():
        link = dashboard.DynamicConfigValue("links", [{"title": text, "url": address}])
        panel = panel.override_by_name(name, [link])
    for name in wide:
        panel = panel.override_by_name(name, [dashboard.DynamicConfigValue("custom.width", 210)])
    return panel


def _cells(column: Column) -> list[dashboard.DynamicConfigValue]:
    mappings = [mapping(column.looks), UNKNOWN] if column.looks else [UNKNOWN]
    look = [dashboard.DynamicConfigValue("unit", column.unit), dashboard.DynamicConfigValue("mappings", mappings)]
    if column.looks:
        look.append(dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    return look


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
