"""Samples as text: promtool takes them and Prometheus answers from them, and CSV and JSON say the same."""

import csv
import io
import itertools
import json
import subprocess
from datetime import UTC, datetime

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from store.helpers import NOON
from support.components import component
from support.tsdb import prometheus
from tokwatt_exporter.catalogue import BUILD_INFO, ENERGY, FAN_SPEED, TEMPERATURE, THERMAL_STATE, TIME_TO_FIRST_TOKEN
from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.families import Distribution
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.openmetrics import OpenMetrics
from tokwatt_exporter.store.text import Csv, Json, Wanted, text
from tokwatt_exporter.store.upkeep import Retention, upkeep

NASTY = 'a "b"\\, c\nd'
ALL = Wanted(0, NOON * 2)


def readings(number):
    yield TEMPERATURE(40 + number / 7, device="cpu", sensor="core 0")
    yield TEMPERATURE(-1e-7 * number, device="cpu", sensor=NASTY)
    yield ENERGY(5.5 * number, device="cpu")
    yield FAN_SPEED(1e300 if number == 3 else 1200, fan="left")
    yield BUILD_INFO(version="1", revision="abc", python_version="3.11")
    yield from THERMAL_STATE("fair")
    buckets = ((0.25, number), (10.0, number), (float("inf"), 2.0 * number))
    yield from TIME_TO_FIRST_TOKEN(Distribution(buckets, number / 3), engine="ollama", model="tiny")


SNAPSHOTS = [Snapshot.of(NOON + 5000 * number + 123, readings(number)) for number in range(1, 60)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A history, half of it packed; and a series of an older tokwatt, whose metric is in no catalogue any more."""
    folder = tmp_path_factory.mktemp("data")
    journal = Journal(folder)
    for snapshot in SNAPSHOTS[::2]:
        journal.append_snapshot(snapshot, "box")
    journal.rotate()
    ingest(folder)
    upkeep(folder, Retention(None, None, None), now=NOON / 1000 + 2 * 86_400)
    for snapshot in SNAPSHOTS[1::2]:
        journal.append_snapshot(snapshot, "box")
    old = {"kind": "samples", "host": "box", "series": {"0": {"metric": "tokwatt_gone", "labels": {}}}}
    for n in (1, 2):
        journal.append({**old, "time_ms": NOON + n, "values": [(0, n)]})
    journal.close()
    ingest(folder)
    return folder


def said(data, format, wanted=ALL):
    return "".join(text(data, wanted, format))


def expected():
    rows = {(s.time_ms, f.name, tuple(sorted(labels)), value) for s in SNAPSHOTS for f, labels, value in s}
    return rows | {(NOON + n, "tokwatt_gone", (), float(n)) for n in (1, 2)}


def parsed(data, wanted=ALL):
    families = list(text_string_to_metric_families(said(data, OpenMetrics({}), wanted)))
    rows = {
        (round(float(sample.timestamp) * 1000), sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in families for sample in family.samples
    }  # fmt: skip
    return {family.name: family.type for family in families}, rows


def test_openmetrics_is_what_the_strict_parser_takes(data):
    others = {row for row in expected() if not row[1].startswith(TIME_TO_FIRST_TOKEN.name)}
    assert parsed(data, ALL._replace(metrics=tuple({name for _, name, _, _ in others}))) == (
        {
            "tokwatt_build": "info", "tokwatt_device_energy_joules": "counter", "tokwatt_fan_speed_rpm": "gauge",
            "tokwatt_gone": "unknown", "tokwatt_temperature_celsius": "gauge", "tokwatt_thermal_state": "gauge",
        },
        others,
    )  # fmt: skip
    # At one time: of a histogram over several the parser takes only the first whole.
    moment = SNAPSHOTS[7].time_ms
    kinds, rows = parsed(data, Wanted(moment, moment))
    assert kinds[TIME_TO_FIRST_TOKEN.name] == "histogram" and rows == {row for row in expected() if row[0] == moment}


@pytest.mark.e2e
def test_promtool_makes_blocks_of_it_and_prometheus_answers_from_them(data, tmp_path):
    source = tmp_path / "samples.om"
    source.write_text(said(data, OpenMetrics({"job": "tokwatt"}, port=10021)))
    done = subprocess.run(
        [component("promtool"), "tsdb", "create-blocks-from", "openmetrics", source, tmp_path / "data"],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    of_it = 'job="tokwatt",instance="box:10021"'
    with prometheus(tmp_path, {}, options=["--storage.tsdb.retention.time=50y"]) as running:
        found = running.query(f"{{{of_it}}}[1h]", at=NOON / 1000 + 600)
        rows = {
            (round(time * 1000), one["metric"]["__name__"], _labels(one["metric"]), float(value))
            for one in found for time, value in one["values"]
        }  # fmt: skip
        [p50] = running.query(
            f"histogram_quantile(0.5, {TIME_TO_FIRST_TOKEN}_bucket{{{of_it}}})", at=NOON / 1000 + 200
        )  # fmt: skip
    assert rows == expected()
    assert float(p50["value"][1]) == 0.25


def _labels(metric):
    return tuple(sorted((k, v) for k, v in metric.items() if k not in ("__name__", "job", "instance")))


def test_csv_has_a_column_a_label(data):
    rows = list(csv.DictReader(io.StringIO(said(data, Csv()), newline="")))
    assert list(rows[0])[:3] == ["time", "host", "metric"] and list(rows[0])[-1] == "value"
    named = set(itertools.chain(*({name for name, _ in labels} for _, _, labels, _ in expected())))
    assert set(list(rows[0])[3:-1]) == named and {row["host"] for row in rows} == {"box"}
    assert {
        (_ms(row["time"]), row["metric"], tuple((n, row[n]) for n in sorted(named) if row[n]), float(row["value"]))
        for row in rows
    } == expected()


def test_json_has_the_same(data):
    samples = json.loads(said(data, Json()))["samples"]
    assert {
        (_ms(one["time"]), one["metric"], tuple(sorted(one["labels"].items())), one["value"]) for one in samples
    } == expected()
    assert {one["host"] for one in samples} == {"box"}


def _ms(iso):
    return round(datetime.fromisoformat(iso).astimezone(UTC).timestamp() * 1000)


def test_only_what_was_asked_for_is_written_and_both_times_belong_to_it(data):
    first, last = SNAPSHOTS[10].time_ms, SNAPSHOTS[13].time_ms
    wanted = Wanted(first, last, (TEMPERATURE.name, ENERGY.name), {"device": "cpu"})
    samples = json.loads(said(data, Json(), wanted))["samples"]
    assert len(samples) == 4 * 3 and {one["metric"] for one in samples} == {TEMPERATURE.name, ENERGY.name}
    assert (samples[0]["time"], samples[3]["time"]) == (_iso(first), _iso(last))
    nothing = Wanted(first, last, (TEMPERATURE.name,), {"device": "gpu"})
    assert said(data, OpenMetrics({}), nothing) == "# EOF\n"
    assert json.loads(said(data, Json(), nothing)) == {"samples": []}
    assert said(data, Csv(), nothing) == "time,host,metric,value\n"


def _iso(ms):
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_an_instance_that_is_given_goes_before_the_port(data):
    lines = said(data, OpenMetrics({"instance": "x:1"}, port=5), ALL._replace(metrics=(ENERGY.name,))).splitlines()
    assert lines[2] == 'tokwatt_device_energy_joules_total{instance="x:1",device="cpu"} 5.5 1790000005.123'


def test_without_a_history_there_is_nothing_to_write(tmp_path):
    with pytest.raises(StoreError, match="there is no history"):
        said(tmp_path, Json())
