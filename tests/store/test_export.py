"""Parquet out of the history: whole, in order, written again only where there is more, and never a part of a file."""

import os
import sys

import duckdb
import fsspec
import pytest

from store.helpers import NOON, bench, rows_of, snapshot
from tokwatt_exporter.errors import StoreError, StoreLocked, UsageError
from tokwatt_exporter.store import export as exports
from tokwatt_exporter.store import parquet, target
from tokwatt_exporter.store.export import export
from tokwatt_exporter.store.extract import scratch
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.upkeep import Retention, upkeep

DAY = 86_400
FOREVER = Retention(None, None, None)
DATE = "2026-09-21"


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def keep(data, numbers, host="box", *records):
    journal = Journal(data)
    for number in numbers:
        journal.append_snapshot(snapshot(number), host)
    for record in records:
        journal.append(record)
    journal.close()
    ingest(data)


def pack(data):
    return upkeep(data, FOREVER, now=NOON / 1000 + 2 * DAY)


def read(files, what="epoch_ms(time), metric, labels, value"):
    return duckdb.connect().execute(f"SELECT {what} FROM read_parquet('{files}', hive_partitioning = true)").fetchall()


def samples(out, host="box"):
    rows = read(out / f"host={host}/date=*/sample.parquet")
    return sorted((time, metric, tuple(labels.items()), value) for time, metric, labels, value in rows)


def files(out):
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_a_history_becomes_a_file_a_table_host_and_day(data, out):
    keep(data, [*range(5), 2 * DAY], "box", bench())
    keep(data, range(3), "an attic/../")
    done = export(data, str(out))
    assert files(out) == [
        f"_bench_request/host=box/date={DATE}/bench_request.parquet",
        f"_bench_run/host=box/date={DATE}/bench_run.parquet",
        f"host=an%20attic%2F..%2F/date={DATE}/sample.parquet",
        "host=box/date=2026-09-21/sample.parquet",
        "host=box/date=2026-09-23/sample.parquet",
    ]
    assert samples(out) == rows_of(map(snapshot, [*range(5), 2 * DAY]))
    assert samples(out, "an*") == rows_of(map(snapshot, range(3)))
    assert done.written == 5 and done.rows == 9 * 6 + 1 + 2
    assert sorted(read(out / "host=*/*/sample.parquet", "DISTINCT host, date::VARCHAR")) == [
        ("an attic/../", DATE), ("box", DATE), ("box", "2026-09-23"),
    ]  # fmt: skip
    assert read(out / "_bench_run/*/*/*", "run_id, host, result.p50::DOUBLE") == [("run-1", "box", 12.5)]
    assert read(out / "_bench_request/*/*/*", "phase, chunk_offsets_ns") == [
        ("warmup", None), ("measured", [10, 2**40, 2**41]),
    ]  # fmt: skip


def test_rows_are_in_the_order_of_metric_labels_and_time_and_packed_by_zstd(data, out):
    keep(data, reversed(range(50)))
    pack(data)
    export(data, str(out))
    [file] = out.rglob("*.parquet")
    rows = read(file, "metric, labels::VARCHAR, time")
    assert rows == sorted(rows) and len(rows) == 300
    assert {row[0] for row in duckdb.connect().execute(
        f"SELECT DISTINCT compression FROM parquet_metadata('{file}')").fetchall()} == {"ZSTD"}  # fmt: skip


def test_a_packed_day_is_written_once_and_a_day_that_grows_again(data, out):
    keep(data, range(5))
    assert export(data, str(out)).written == 1
    assert export(data, str(out)).kept == 1
    keep(data, [5])
    assert export(data, str(out)).written == 1
    pack(data)
    # Once more with the mark that it keeps.
    assert export(data, str(out)).written == 1
    [file] = out.rglob("*.parquet")
    written = file.stat()
    assert (export(data, str(out)).kept, file.stat().st_ino) == (1, written.st_ino)
    assert samples(out) == rows_of(map(snapshot, range(6)))
    # What came late joins its day.
    keep(data, [6])
    pack(data)
    assert export(data, str(out)).written == 1
    assert samples(out) == rows_of(map(snapshot, range(7)))


def test_what_is_no_longer_in_the_history_stays_in_the_export(data, out, tmp_path):
    keep(data, range(5))
    export(data, str(out))
    keep(tmp_path / "other", range(2))
    assert export(tmp_path / "other", str(out)).written == 0
    upkeep(data, Retention(raw=DAY), now=NOON / 1000 + 9 * DAY)
    export(data, str(out))
    assert samples(out) == rows_of(map(snapshot, range(5)))


def test_a_history_that_was_lost_costs_the_export_nothing_and_adds_what_is_new(data, out, tmp_path):
    keep(data, range(20), "box", bench())
    export(data, str(out))
    new = tmp_path / "new"
    for numbers, had in ((range(15, 25), 25), (range(25, 60), 60)):
        keep(new, numbers, "box", bench("run-2"))
        export(new, str(out))
        assert samples(out) == rows_of(map(snapshot, range(had)))
    pack(new)
    export(new, str(out))
    assert samples(out) == rows_of(map(snapshot, range(60)))
    assert read(out / "_bench_run/*/*/*", "run_id") == [("run-2",), ("run-1",)]
    assert len(read(out / "_bench_request/*/*/*", "run_id")) == 4


def test_of_two_values_at_one_time_the_newer_one_is_written_as_packing_does(data, out):
    keep(data, [0, 1])
    keep(data, [1])
    export(data, str(out))
    assert samples(out) == rows_of(map(snapshot, [0, 1]))


def test_an_export_that_dies_leaves_whole_files_and_the_next_one_ends_it(data, out, monkeypatch):
    keep(data, [0, DAY, 2 * DAY])
    real, calls = target.os.fsync, []

    def dies(descriptor):
        calls.append(descriptor)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(descriptor)

    # The first file with its folder is whole by then, the second one has no name yet.
    monkeypatch.setattr(target.os, "fsync", dies)
    with pytest.raises(KeyboardInterrupt):
        export(data, str(out))
    monkeypatch.undo()
    assert len(files(out)) == 2 and len(list(out.rglob("sample.parquet"))) == 1
    assert export(data, str(out)).written == 2
    assert len(files(out)) == 3 and samples(out) == rows_of(map(snapshot, [0, DAY, 2 * DAY]))
    assert not (data / "export").exists()


def test_the_history_is_free_while_a_file_is_written(data, out, monkeypatch):
    keep(data, range(3))
    wrote = []

    def write(db, part, rows, path):
        keep(data, [7])
        wrote.append(part)
        real(db, part, rows, path)

    real = parquet.write
    monkeypatch.setattr(exports.parquet, "write", write)
    export(data, str(out))
    assert len(wrote) == 1


def test_a_second_export_at_the_same_time_is_refused(data, out):
    keep(data, range(3))
    with scratch(data), pytest.raises(StoreLocked, match=r"another export of .* is under way"):
        export(data, str(out))


def test_a_storage_of_fsspec_gets_the_same_files(data, out):
    keep(data, range(5), "box", bench())
    store = fsspec.filesystem("memory")
    url = f"memory://export-{os.getpid()}"
    try:
        assert export(data, url).written == 3
        assert export(data, url).kept == 3
        keep(data, [5])
        assert export(data, url).written == 1
        found = [path for path in store.find(url) if path.endswith("parquet")]
        assert len(found) == len(store.find(url)) == 3
        store.get(url, str(out), recursive=True)
    finally:
        store.rm(url, recursive=True)
    assert samples(out) == rows_of(map(snapshot, range(6)))


def test_a_url_of_a_file_is_a_folder(data, out):
    keep(data, range(2))
    export(data, f"file://{out}")
    assert samples(out) == rows_of(map(snapshot, range(2)))


def test_without_fsspec_one_line_says_what_to_install(data, monkeypatch):
    keep(data, range(2))
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError, match="memory://x needs fsspec, which is not here: pip install fsspec"):
        export(data, "memory://x")


def test_a_storage_that_nobody_knows_is_wrong_usage_and_one_that_fails_is_not(data, tmp_path):
    keep(data, range(2))
    with pytest.raises(UsageError, match="nowhere://x: Protocol not known"):
        export(data, "nowhere://x")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written: Not a directory"):
        export(data, str(tmp_path / "file"))


def test_without_a_history_there_is_nothing_to_export(data, out):
    with pytest.raises(StoreError, match="there is no history"):
        export(data, str(out))
