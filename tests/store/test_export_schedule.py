"""The scheduled export: by a child of the daemon, said once where it fails, and ended with the daemon."""

import logging
import queue
import time

import pytest

from e2e.daemon import daemon
from store.helpers import rows_of, snapshot
from store.test_export import samples
from support.net import wait_for
from tokwatt_exporter.catalogue import STORE_EXPORT_FAILURES, STORE_LAST_EXPORT
from tokwatt_exporter.errors import StoreError, UsageError
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.sinks import export as schedule
from tokwatt_exporter.sinks.export import ScheduledExport
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store.client import Store
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal


class Scripted:
    """A store whose exports end as they are told, one after the other."""

    def __init__(self):
        self.ends = queue.Queue()
        self.done = self.waits = 0
        self.interrupted = False

    def export(self, order):
        self.waits += 1
        end = self.ends.get(timeout=20)
        self.done += 1
        if end:
            raise end
        return [order]

    def interrupt(self):
        self.interrupted = True
        self.ends.put(StoreError("the history's export ended with exit status -9"))


def test_a_failure_is_said_once_and_so_is_its_end(caplog):
    caplog.set_level(logging.INFO)
    store = Scripted()
    exports = ScheduledExport(store, {}, SelfMetrics(), 0.001)
    ends = [None, StoreError("full"), StoreError("full"), ValueError("x"), UsageError("no fsspec"), None, None]
    for end in ends:
        store.ends.put(end)
    wait_for(lambda: store.done == len(ends), 20, "every export")
    exports.close()
    said = [(record.levelname, record.message) for record in caplog.records if record.name == schedule.__name__]
    assert said == [
        ("WARNING", "full; the history is exported later"),
        ("ERROR", "exporting the history failed"),
        ("WARNING", "no fsspec; the history is exported later"),
        ("INFO", "the history is exported again"),
    ]
    assert store.interrupted


def test_a_failure_is_counted_and_the_last_success_has_a_time():
    store, metrics = Scripted(), SelfMetrics()

    def after(*ends):
        done = store.done + len(ends)
        for end in ends:
            store.ends.put(end)
        wait_for(lambda: store.done == done, 20, "every export")
        # The thread waits for the next one only when it has counted this one.
        wait_for(lambda: store.waits == done + 1, 20, "the next export")
        said = Snapshot.of(0, metrics.readings())
        return said.get(STORE_EXPORT_FAILURES(0)), said.get(STORE_LAST_EXPORT(0))

    exports = ScheduledExport(store, {}, metrics, 0.001)
    assert after() == (0, None)
    assert after(StoreError("full"), ValueError("x")) == (2, None)
    failures, at = after(None)
    assert failures == 2 and at == pytest.approx(time.time(), abs=60)
    assert after(StoreError("full")) == (3, at)
    exports.close()


def keep(data, *numbers):
    journal = Journal(data)
    for number in numbers:
        journal.append_snapshot(snapshot(number), "box")
    journal.close()
    ingest(data)


def test_a_child_exports_to_each_target_and_one_that_fails_does_not_hold_up_the_other(tmp_path):
    data, out, file = tmp_path / "data", tmp_path / "out", tmp_path / "file"
    file.write_text("")
    keep(data, 0, 1)
    order = {"targets": [str(file), "ducklake:nowhere.ducklake", str(out)], "data_path": None, "python": "/nowhere"}
    with pytest.raises(StoreError, match=r"Not a directory; history.attach-python: /nowhere: No such file"):
        Store(data).export(order)
    assert samples(out) == rows_of(map(snapshot, (0, 1)))


def test_an_export_under_way_ends_with_the_daemon(tmp_path):
    keep(tmp_path / "data", 0)
    # A Python that never answers stands for a storage that hangs.
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexec sleep 100\n")
    python.chmod(0o755)
    order = {"targets": ["ducklake:nowhere.ducklake"], "data_path": None, "python": str(python)}
    exports = ScheduledExport(Store(tmp_path / "data"), order, SelfMetrics(), 0.001)
    wait_for((tmp_path / "started").exists, 30, "the export to be under way")
    began = time.monotonic()
    exports.close()
    assert not exports._thread.is_alive() and time.monotonic() - began < 9
    keep(tmp_path / "data", 1)


@pytest.mark.e2e
def test_the_daemon_exports_as_it_is_configured(tmp_path):
    out, lake = tmp_path / "out", tmp_path / "lake"
    with daemon(
        tmp_path / "data", "--history.export", str(out), "--history.attach", str(lake), "--history.export-interval",
        "200ms",
    ) as running:  # fmt: skip
        for folder in (out, lake):
            wait_for(lambda folder=folder: list(folder.glob("host=*/date=*/sample.parquet")), 60, "an export")
        assert running.stop() == 0
    assert samples(out, "*")
