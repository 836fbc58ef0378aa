"""The same data in two real receivers, VictoriaMetrics and Rotel, also after they were down for ten minutes."""

import contextlib
import itertools
import json
import math
import subprocess
import time

import pytest

from sinks.test_otlp_backfill import TEN_MINUTES, now_ms, outage, points, running, watermark
from support.components import component
from support.net import free_port, get, wait_for
from tokwatt_exporter.catalogue import CATALOGUE, Histogram, Info, States
from tokwatt_exporter.families import Distribution
from tokwatt_exporter.sinks.otlp_pending import Pending
from tokwatt_exporter.snapshot import Snapshot

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

RESOURCE = {"service.name": "tokwatt", "service.instance.id": "here:10021"}


@contextlib.contextmanager
def victoria_metrics(folder, port):
    """VictoriaMetrics on `port`, with its data in `folder`; the base URL."""
    folder.mkdir(exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [str(component("victoria-metrics")), f"-storageDataPath={folder / 'data'}",
             f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=7d", "-search.latencyOffset=0s"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_for(lambda: get(url + "/health").status_code == 200, 60, "VictoriaMetrics to be ready")
        yield url
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def rotel(folder, port, forward_to):
    """Rotel receives on `port` and hands on to VictoriaMetrics."""
    with (folder / "rotel.log").open("ab") as log:
        process = subprocess.Popen(
            [str(component("rotel")), "start", "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}",
             "--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-receiver-traces-disabled",
             "--otlp-receiver-logs-disabled", "--exporter", "otlp", "--otlp-exporter-protocol", "http",
             "--otlp-exporter-endpoint", f"{forward_to}/opentelemetry",
             "--otlp-exporter-metrics-endpoint", f"{forward_to}/opentelemetry/v1/metrics", "--batch-timeout", "200ms"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_for(lambda: get(f"http://127.0.0.1:{port}/").status_code, 30, "Rotel to listen")
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def nothing(*_):
    yield


def stored(vm):
    """Every point in VictoriaMetrics as (name, labels, time, value), as often as it is there."""
    get(vm + "/internal/force_flush")
    found = []
    for line in get(vm + "/api/v1/export", params={"match[]": '{__name__!=""}'}).text.splitlines():
        row = json.loads(line)
        labels = {k: v for k, v in row["metric"].items() if k not in ("__name__", *RESOURCE, "job", "instance")}
        if labels.get("le", "+Inf") != "+Inf":
            # The bound is a number on the wire, and each receiver writes it its own way.
            labels["le"] = str(float(labels["le"]))
        key = row["metric"]["__name__"], tuple(sorted(labels.items()))
        found += [(*key, *sample) for sample in zip(row["timestamps"], row["values"], strict=True)]
    return sorted(found)


def everything(time_ms):
    """A reading of every family of the catalogue."""
    number = itertools.count(1)
    for family in CATALOGUE.values():
        labels = {name: f"{name} {next(number)}" for name in family.labels if name != "state"}
        if isinstance(family, States):
            yield from family(family.states[-1], **labels)
        elif isinstance(family, Histogram):
            rows = ((0.25, next(number)), (1.0, next(number)), (math.inf, next(number)))
            yield from family(Distribution(rows, next(number) / 8), **labels)
        else:
            yield family(**labels) if isinstance(family, Info) else family(next(number) / 8, **labels)


class Pair:
    """VictoriaMetrics and, behind Rotel, a second one: what each got, and where to send."""

    def __init__(self, tmp_path, name):
        self.folder = tmp_path / name
        self.folder.mkdir()
        self.vm_port, self.otlp_port = free_port(), free_port()
        path = "/v1/metrics" if name == "rotel" else "/opentelemetry/v1/metrics"
        self.front = rotel if name == "rotel" else nothing
        self.url = f"http://127.0.0.1:{self.otlp_port if name == 'rotel' else self.vm_port}{path}"

    @contextlib.contextmanager
    def up(self):
        with victoria_metrics(self.folder / "vm", self.vm_port) as vm, self.front(self.folder, self.otlp_port, vm):
            yield vm


@pytest.fixture(params=["victoria-metrics", "rotel"])
def pair(request, tmp_path):
    return Pair(tmp_path, request.param)


def test_names_labels_and_values_arrive_as_they_are_in_the_catalogue(tmp_path, pair):
    with pair.up() as vm, running(tmp_path / "data", pair.url, resource=RESOURCE, history=False) as daemon:
        taken = Snapshot.of(now_ms(), everything(0))
        daemon.push(taken)
        wait_for(lambda: len(stored(vm)) >= len(taken), 30, "all points to be stored")
        assert stored(vm) == points(taken)


def test_a_receiver_that_was_down_for_ten_minutes_has_every_sample_once(tmp_path, pair):
    data = tmp_path / "data"
    missed = outage(data)
    watermark(data, pair.url, missed[0].time_ms - 1)
    few = Pending(3 * len(missed[0]))
    with running(data, pair.url, resource=RESOURCE, pending=few) as daemon:
        for _ in range(10):
            daemon.sample()
            time.sleep(0.05)
        with pair.up() as vm:
            wait_for(daemon.acknowledged, 60, "the newest sample to be acknowledged")
            daemon.sample()
            wait_for(daemon.acknowledged, 30, "the live sample to be acknowledged")
            expected = points(*missed, *daemon.taken)
            wait_for(lambda: len(stored(vm)) >= len(expected), 60, "all points to be stored")
            assert stored(vm) == expected, "each series at each time exactly once"
    assert missed[-1].time_ms - missed[0].time_ms >= TEN_MINUTES - 10_000


def test_a_receiver_that_comes_and_goes_has_every_sample_once(tmp_path, pair):
    data = tmp_path / "data"
    with running(data, pair.url, resource=RESOURCE, pending=Pending(20 * 8), timeout=1.0) as daemon:
        for up in (True, False, True, False):
            with pair.up() if up else nothing():
                for _ in range(30):
                    daemon.sample()
                    time.sleep(0.03)
                if up:
                    wait_for(daemon.acknowledged, 60, "the newest sample to be acknowledged")
                    # Rotel says yes before it has handed on; a stop may lose what it holds.
                    time.sleep(1.5)
        with pair.up() as vm:
            daemon.sample()
            wait_for(daemon.acknowledged, 60, "the newest sample to be acknowledged")
            expected = points(*daemon.taken)
            wait_for(lambda: len(stored(vm)) >= len(expected), 60, "all points to be stored")
            assert stored(vm) == expected
