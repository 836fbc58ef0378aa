"""Snapshots as OTLP: the same names, labels, values and times, and what the specification calls each kind."""

import math
import platform

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from fakes.otlp_receiver import Point, points_of
from tokwatt_exporter import __version__
from tokwatt_exporter.catalogue import (
    CATALOGUE,
    CPU_BUSY,
    ENGINE_INFO,
    MEMORY_SIZE,
    MEMORY_USED,
    POWER_SOURCE,
    PROCESS_CPU,
    Counter,
    Histogram,
    Info,
    Kind,
    States,
)
from tokwatt_exporter.families import Distribution
from tokwatt_exporter.sinks.otlp_data import to_metrics_data
from tokwatt_exporter.snapshot import Snapshot

NOW_MS = 1_700_000_000_123
STARTED_NS = 1_600_000_000_000_000_000


def encoded(*snapshots, started_ns=STARTED_NS):
    return encode_metrics(to_metrics_data(snapshots, {"service.name": "tokwatt"}, started_ns))


def metrics(*snapshots, **options):
    [resource] = encoded(*snapshots, **options).resource_metrics
    [scope] = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


def values():
    return st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def readings(draw):
    family = draw(st.sampled_from(list(CATALOGUE.values())))
    text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
    if isinstance(family, States):
        labels = {name: draw(text) for name in family.labels if name != "state"}
        return list(family(draw(st.sampled_from(family.states)), **labels))
    labels = {name: draw(text) for name in family.labels}
    if isinstance(family, Histogram):
        counts = sorted(draw(st.lists(st.integers(0, 2**50), min_size=3, max_size=3)))
        return list(
            family(
                Distribution((*zip((0.5, 2.0), counts, strict=False), (math.inf, counts[2])), draw(values())), **labels
            )
        )
    return [family(**labels) if isinstance(family, Info) else family(draw(values()), **labels)]


@st.composite
def snapshots(draw):
    time_ms = draw(st.integers(0, 2**43))
    return Snapshot.of(time_ms, [reading for some in draw(st.lists(readings(), max_size=12)) for reading in some])


@settings(deadline=None)
@given(st.lists(snapshots(), max_size=4))
def test_otlp_carries_the_same_names_labels_values_and_times_as_the_snapshots(given):
    expected = [
        Point(reading.family.name, tuple(sorted(reading.labels)), snapshot.time_ms, reading.value)
        for snapshot in given
        for reading in snapshot
    ]
    assert sorted(points_of(encoded(*given))) == sorted(expected)


@settings(deadline=None)
@given(st.lists(snapshots(), max_size=4))
def test_a_family_is_one_metric_with_the_points_of_all_snapshots(given):
    request = encoded(*given)
    names = [m.name for resource in request.resource_metrics for scope in resource.scope_metrics for m in scope.metrics]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("family", CATALOGUE.values(), ids=str)
def test_unit_help_and_kind_are_the_catalogues(family):
    labels = {name: "x" for name in family.labels if name != "state"}
    made = {
        Kind.INFO: lambda: [family(**labels)],
        Kind.STATES: lambda: family(family.states[0], **labels),
        Kind.HISTOGRAM: lambda: family(Distribution(((1.0, 2), (math.inf, 3)), 4.5), **labels),
    }
    readings = made.get(family.kind, lambda: [family(1, **labels)])()
    metric = metrics(Snapshot.of(NOW_MS, readings))[family.name]
    assert (metric.unit, metric.description) == (family.unit, family.help)
    kinds = {Kind.GAUGE: "gauge", Kind.HISTOGRAM: "histogram"}
    assert metric.WhichOneof("data") == kinds.get(family.kind, "sum")
    if family.kind is Kind.HISTOGRAM:
        assert metric.histogram.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    elif family.kind is not Kind.GAUGE:
        assert metric.sum.is_monotonic == (family.kind is Kind.COUNTER)
        assert metric.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE


def test_counters_of_ours_start_with_the_exporter_and_those_of_others_nobody_knows_when():
    ours = next(f for f in CATALOGUE.values() if isinstance(f, Counter) and f.ours and not f.labels)
    found = metrics(Snapshot.of(NOW_MS, [ours(1), PROCESS_CPU(2), MEMORY_SIZE(3), CPU_BUSY(1, cluster="all")]))
    assert found[ours.name].sum.data_points[0].start_time_unix_nano == STARTED_NS
    assert found[PROCESS_CPU.name].sum.data_points[0].start_time_unix_nano == 0
    assert found[CPU_BUSY.name].sum.data_points[0].start_time_unix_nano == 0
    assert found[MEMORY_SIZE.name].gauge.data_points[0].start_time_unix_nano == 0


def test_a_sample_of_an_earlier_run_does_not_claim_the_start_of_this_one():
    ours = next(f for f in CATALOGUE.values() if isinstance(f, Counter) and f.ours and not f.labels)
    [point] = metrics(Snapshot.of(NOW_MS, [ours(1)]), started_ns=NOW_MS * 10**6 + 1)[ours.name].sum.data_points
    assert point.start_time_unix_nano == 0
    assert point.time_unix_nano == NOW_MS * 10**6


def test_an_info_leaves_out_what_is_not_known_instead_of_sending_it_empty():
    [point] = metrics(Snapshot.of(NOW_MS, [ENGINE_INFO(engine="a", kind="ollama", version=None)]))[
        ENGINE_INFO.name
    ].sum.data_points
    assert {pair.key for pair in point.attributes} == {"engine", "kind"}


def test_a_state_set_has_a_point_for_each_state():
    points = metrics(Snapshot.of(NOW_MS, POWER_SOURCE("ac")))[POWER_SOURCE.name].sum.data_points
    assert {p.attributes[0].value.string_value: p.as_double for p in points} == {"ac": 1.0, "battery": 0.0}


def test_a_name_of_undecodable_bytes_keeps_its_label():
    [point] = metrics(Snapshot.of(NOW_MS, [MEMORY_USED(1, kind="a\udcff")]))[MEMORY_USED.name].gauge.data_points
    assert point.attributes[0].value.string_value == "a?"


def test_scope_and_resource_say_who_measured():
    [resource] = encoded(Snapshot.of(NOW_MS, [MEMORY_USED(1, kind="anon")])).resource_metrics
    assert {pair.key: pair.value.string_value for pair in resource.resource.attributes} == {"service.name": "tokwatt"}
    assert (resource.scope_metrics[0].scope.name, resource.scope_metrics[0].scope.version) == ("tokwatt", __version__)
    assert platform.node() not in str(resource), "nothing is added behind the caller's back"
