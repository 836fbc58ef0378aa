"""`/metrics` as text 0.0.4 and OpenMetrics 1.0."""

import gzip
import math
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from support.components import component
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.families import Distribution
from tokwatt_exporter.sinks.prometheus import Choice, Format, Renderer, negotiate
from tokwatt_exporter.snapshot import Reading, Snapshot

GOLDEN = Path(__file__).parent / "golden"
FILES = {Format.TEXT: GOLDEN / "every_family.prom", Format.OPENMETRICS: GOLDEN / "every_family.openmetrics"}
TEXT, OPENMETRICS = Choice(Format.TEXT, False), Choice(Format.OPENMETRICS, False)


def every_family() -> Snapshot:
    """A snapshot with two series of every family where its labels allow it, in an order that is not the output's."""
    readings: list[Reading] = []
    for family in reversed(c.CATALOGUE.values()):
        number = len(family.name)
        values = [{name: f"{name} {which}" for name in family.labels} for which in ("b", "a")]
        for which, labels in enumerate(values[: 2 if family.labels else 1]):
            match family:
                case c.Info():
                    readings.append(family(**labels))
                case c.States():
                    del labels["state"]
                    readings += family(family.states[which % len(family.states)], **labels)
                case c.Histogram():
                    rows = ((0.5, number), (2.5, number + which), (math.inf, number + 2))
                    readings += family(Distribution(rows, number / 4), **labels)
                case c.Gauge():
                    readings.append(family(number + which / 4, **labels))
    return Snapshot.of(1_800_000_000_000, readings)


def render(snapshot: Snapshot, choice: Choice = TEXT) -> str:
    return Renderer().render(snapshot, choice).decode()


def parsed(choice: Choice, body: str) -> dict[tuple[str, frozenset], float]:
    parse = parse_text if choice.format is Format.TEXT else parse_openmetrics
    return {(s.name, frozenset(s.labels.items())): s.value for family in parse(body) for s in family.samples}


def series(snapshot: Snapshot) -> dict[tuple[str, frozenset], float]:
    return {(r.family.name, frozenset(r.labels)): r.value for r in snapshot}


@pytest.mark.parametrize("choice", [TEXT, OPENMETRICS])
def test_every_reading_survives_the_way_through_the_parser(choice):
    snapshot = every_family()
    assert {reading.family for reading in snapshot} == set(c.SERIES.values())
    assert parsed(choice, render(snapshot, choice)) == series(snapshot)


@pytest.mark.parametrize("format", Format)
def test_every_family_looks_as_in_the_golden_file(format):
    body = render(every_family(), Choice(format, False))
    if os.environ.get("UPDATE_GOLDEN"):
        FILES[format].write_text(body)
    assert body == FILES[format].read_text(), "run with UPDATE_GOLDEN=1 where the change is meant"


def test_families_come_in_the_order_of_the_catalogue():
    types = [line.split()[2] for line in render(every_family()).splitlines() if line.startswith("# TYPE")]
    assert types == list(c.CATALOGUE)


def test_a_family_without_series_is_not_mentioned():
    assert render(Snapshot.of(0, [])) == ""
    assert render(Snapshot.of(0, []), OPENMETRICS) == "# EOF\n"


@pytest.mark.parametrize("missing", ["_sum", "_count", "_bucket"])
def test_a_histogram_that_lost_a_part_is_not_shown(missing):
    whole = c.TIME_TO_FIRST_TOKEN(Distribution(((1.0, 2), (math.inf, 3)), 4.0), engine="e", model="m")
    assert render(Snapshot.of(0, [one for one in whole if not one.family.name.endswith(missing)])) == ""


def test_the_bounds_of_a_histogram_ascend_as_numbers():
    rows = ((0.5, 1), (2.0, 2), (10.0, 3), (100.0, 4), (math.inf, 5))
    readings = [*c.TIME_TO_FIRST_TOKEN(Distribution(rows, 4.0), engine="e", model="m")]
    lines = render(Snapshot.of(0, reversed(readings)), OPENMETRICS).splitlines()
    bounds = [line.partition('le="')[2].partition('"')[0] for line in lines if "_bucket" in line]
    assert bounds == ["0.5", "2.0", "10.0", "100.0", "+Inf"]


def test_label_sets_are_sorted_however_they_were_read():
    readings = [c.FAN_SPEED(1, fan="b"), c.FAN_SPEED(2, fan="a")]
    assert render(Snapshot.of(0, readings)) == render(Snapshot.of(0, reversed(readings)))


@pytest.mark.parametrize("choice", [TEXT, OPENMETRICS])
@given(st.text(), st.floats(allow_nan=False))
def test_any_label_value_and_number_survives(choice, text, value):
    snapshot = Snapshot.of(0, [c.POWER(value, device=text)])
    assert parsed(choice, render(snapshot, choice)) == series(snapshot)


def test_a_label_that_is_no_utf8_does_not_cost_the_scrape():
    name = b"fan\xff".decode("utf-8", "surrogateescape")
    assert parsed(TEXT, render(Snapshot.of(0, [c.FAN_SPEED(900, fan=name)]))) == {
        (c.FAN_SPEED.name, frozenset({("fan", "fan?")})): 900
    }


def test_openmetrics_says_a_unit_only_where_the_name_carries_it():
    lines = render(every_family(), OPENMETRICS).splitlines()
    assert f"# UNIT {c.ENERGY.name.removesuffix('_total')} joules" in lines
    units = [line.split()[2:] for line in lines if line.startswith("# UNIT")]
    assert units
    assert all(name.endswith(f"_{unit}") for name, unit in units)
    assert not [name for name, _ in units if name == c.ENGINE_UP.name]


def test_a_body_is_rendered_once_per_snapshot_format_and_coding():
    renderer, snapshot = Renderer(), every_family()
    first = {
        choice: renderer.render(snapshot, choice) for choice in map(Choice, [*Format] * 2, [False] * 2 + [True] * 2)
    }
    assert all(renderer.render(snapshot, choice) is body for choice, body in first.items())
    assert gzip.decompress(first[Choice(Format.TEXT, True)]) == first[TEXT]
    newer = Snapshot.of(1, [c.ENGINE_UP(1, engine="ollama")])
    assert renderer.render(newer, TEXT) != first[TEXT]


@pytest.mark.e2e
def test_promtool_has_nothing_to_say_about_any_family():
    done = subprocess.run(
        [component("promtool"), "check", "metrics"], input=render(every_family()), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Format.TEXT),
        ("application/json", Format.TEXT),
        ("application/openmetrics-text", Format.OPENMETRICS),
        ("Application/OpenMetrics-Text; Version=1.0.0", Format.OPENMETRICS),
        ('application/openmetrics-text;version="1.0.0"', Format.OPENMETRICS),
        (PROMETHEUS_3, Format.OPENMETRICS),
        ("text/plain;q=0.5,application/openmetrics-text;version=1.0.0", Format.OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.1,text/plain;q=0.9", Format.TEXT),
        ("application/openmetrics-text;version=1.0.0;q=0,text/plain;q=0.1", Format.TEXT),
        ("*/*,application/openmetrics-text", Format.OPENMETRICS),
        ("text/plain,application/openmetrics-text", Format.TEXT),
        ("application/openmetrics-text;version=abc", Format.TEXT),
        ("application/openmetrics-text;version=9.9.9", Format.TEXT),
        ("application/openmetrics-text;version=2.0.0", Format.TEXT),
        ("application/openmetrics-text;version=0.0.1", Format.TEXT),
        ("application/openmetrics-text;version=", Format.TEXT),
        ("application/openmetrics-text;q=high", Format.TEXT),
        ("application/openmetrics-text;q=nan", Format.TEXT),
        ("application/openmetrics-text;q=-1", Format.TEXT),
        (";;;,,,=;q=", Format.TEXT),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily", Format.TEXT),
    ],
)
def test_the_accept_header_chooses_the_format(accept, format):
    assert negotiate(accept, "").format is format


@pytest.mark.parametrize(
    ("accept_encoding", "wanted"),
    [
        ("", False),
        ("identity", False),
        ("gzip", True),
        ("GZIP;q=0.1", True),
        ("br, gzip;q=0.8, *;q=0.1", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=many", False),
        ("zstd", False),
    ],
)
def test_the_body_is_gzipped_only_for_who_takes_it(accept_encoding, wanted):
    assert negotiate("", accept_encoding).gzip is wanted


PIECES = st.sampled_from(
    [
        "application/openmetrics-text",
        "text/plain",
        "*/*",
        ";",
        ",",
        "=",
        "q",
        "version",
        "1.0.0",
        '"',
        " ",
        "nan",
        "1e999",
    ]
)


@given(st.text() | st.lists(PIECES).map("".join), st.text() | st.lists(PIECES).map("".join))
def test_no_header_makes_negotiation_fail(accept, accept_encoding):
    assert negotiate(accept, accept_encoding).format in Format
