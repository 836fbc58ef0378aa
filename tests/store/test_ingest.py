"""From the journal into DuckDB: everything once, whatever was there before and whoever else is at it."""

import itertools
import os
import stat
import subprocess
import sys

import duckdb
import pytest

from store.helpers import NOON, bench, held, rows_of, segments, snapshot, sql, stored
from tokwatt_exporter.errors import StoreError, StoreLocked
from tokwatt_exporter.store import file, schema, segment
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def journal(data):
    journal = Journal(data)
    yield journal
    journal.close()


def keep(journal, numbers):
    for number in numbers:
        journal.append_snapshot(snapshot(number), "box")


def test_what_was_sampled_is_what_is_kept(data, journal):
    keep(journal, range(3))
    journal.close()
    done = ingest(data)
    assert (done.rows, done.skipped, done.moved_aside) == (18, 0, None)
    assert stored(data) == rows_of(map(snapshot, range(3)))
    assert segments(data) == []


def test_a_live_segment_is_taken_in_as_far_as_it_goes_and_stays(data, journal):
    keep(journal, range(2))
    assert ingest(data).rows == 12
    assert len(segments(data)) == 1
    assert ingest(data).rows == 0
    keep(journal, range(2, 5))
    assert ingest(data).rows == 18
    journal.close()
    assert ingest(data).rows == 0
    assert segments(data) == []
    assert stored(data) == rows_of(map(snapshot, range(5)))


def test_a_series_has_one_id_however_often_it_is_defined(data, journal):
    for number in range(4):
        keep(journal, [number])
        journal.rotate()
        if number % 2:
            ingest(data)
    assert sql(data, "SELECT count(*) FROM series") == [(6,)]
    assert stored(data) == rows_of(map(snapshot, range(4)))


def test_the_same_series_of_two_hosts_are_two(data, journal):
    journal.append_snapshot(snapshot(0), "box")
    journal.append_snapshot(snapshot(0), "attic")
    ingest(data)
    assert sql(data, "SELECT host, count(*) FROM metrics GROUP BY host ORDER BY host") == [("attic", 6), ("box", 6)]


def test_labels_that_differ_only_in_order_are_one_series(data, journal):
    for labels in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}):
        known = {"0": {"metric": "m", "labels": labels}}
        journal.append({"kind": "samples", "time_ms": NOON, "host": "box", "series": known, "values": [[0, 1]]})
    ingest(data)
    assert sql(data, "SELECT labels FROM series") == [({"a": "1", "b": "2"},)]


def test_what_is_forgotten_is_only_what_is_gone(data, journal):
    keep(journal, [0])
    ingest(data)
    assert sql(data, "SELECT name FROM journal_segment") == [(segments(data)[0].name,)]
    journal.close()
    ingest(data)
    ingest(data)
    assert sql(data, "SELECT * FROM journal_segment") == []


def test_two_writers_are_both_taken_in(data, journal):
    other = Journal(data)
    for number in range(10):
        (journal, other)[number % 2].append_snapshot(snapshot(number), "box")
        if number == 4:
            ingest(data)
    journal.close()
    ingest(data)
    assert len(segments(data)) == 1
    other.close()
    ingest(data)
    assert stored(data) == rows_of(map(snapshot, range(10)))


_INGEST = """
import pathlib, sys
from tokwatt_exporter.store.ingest import ingest
print(ingest(pathlib.Path(sys.argv[1]), wait=30).rows)
"""


def test_ingesters_at_the_same_time_take_each_row_in_once(data, journal):
    for number in range(60):
        keep(journal, [number])
        if number % 5 == 4:
            journal.rotate()
    running = [
        subprocess.Popen([sys.executable, "-c", _INGEST, str(data)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    keep(journal, range(60, 90))
    taken = sum(int(process.communicate(timeout=60)[0]) for process in running)
    taken += ingest(data).rows
    assert taken == 90 * 6
    assert stored(data) == rows_of(map(snapshot, range(90)))


def test_damaged_records_are_counted_and_the_later_ones_kept(data, journal, caplog):
    keep(journal, range(5))
    journal.close()
    [made] = segments(data)
    lines = made.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"values", b"VALUES")
    made.write_bytes(b"".join(lines))
    assert ingest(data).skipped == 1
    assert stored(data) == rows_of(snapshot(n) for n in (0, 1, 3, 4))
    assert "1 damaged record" in caplog.text


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "samples", "time_ms": "soon", "host": "b", "values": []},
        {"kind": "samples", "time_ms": 10**18, "host": "b", "values": [[0, 1]]},
        {"kind": "samples", "time_ms": 1, "host": "b", "series": {"8": {"metric": "m"}}, "values": [[8, 1]]},
        {"kind": "samples", "time_ms": 1, "host": "b", "series": {"8": {"metric": "m", "labels": {"a": 1}}},
         "values": [[8, 1]]},
        {"kind": "samples", "time_ms": 1, "host": "b", "series": {"8": {"metric": "m", "labels": {}}, "x": 1},
         "values": []},
        {"kind": "samples", "time_ms": 1, "host": "b", "values": [[77, 1]]},
        {"kind": "samples", "time_ms": 1, "host": "b", "values": [[0, "much"], [0], [[], 1], 5]},
        {"kind": "samples", "time_ms": 1, "host": "b", "values": [[0, 10**400]]},
        {"kind": "bench", "run": {}},
        {"kind": "bench", "run": {"run_id": "a", "runs": "many"}},
        {"kind": "bench", "run": {"run_id": "a", "runs": 2**40}},
        {"kind": "bench", "run": {"run_id": "a", "started": "yesterday"}},
        {"kind": "bench", "run": {"run_id": "a"}, "requests": [{"chunk_offsets_ns": ["x"]}]},
        {"kind": "bench", "run": {"run_id": "a"}, "requests": [7]},
        {"kind": "bench", "run": {"run_id": "a"}, "requests": 7},
        {"kind": "riddle"},
        {},
    ],
)  # fmt: skip
def test_a_record_that_makes_no_sense_never_stops_the_ones_after_it(data, journal, record):
    keep(journal, [0])
    [made] = segments(data)
    with made.open("ab") as file:
        file.write(segment.encode(record))
    keep(journal, [1])
    assert ingest(data).skipped == 1
    assert stored(data) == rows_of(map(snapshot, range(2)))
    assert sql(data, "SELECT count(*) FROM bench_run") == sql(data, "SELECT count(*) FROM bench_request") == [(0,)]


def test_a_benchmark_run_is_kept_with_its_requests_and_once(data, journal):
    journal.append(bench())
    journal.append(bench())
    assert ingest(data).bench_runs == 1
    journal.append(bench(model="another"))
    assert ingest(data).bench_runs == 0
    assert sql(
        data, "SELECT run_id, model, epoch_ms(finished), runs, settings->>'seed', max_tokens FROM bench_run"
    ) == [("run-1", "tiny", NOON + 5000, 2, "7", None)]
    assert sql(data, "SELECT phase, ok, failure, generated_tokens, chunk_offsets_ns FROM bench_request ORDER BY 1") == [
        ("measured", True, None, 3, [10, 2**40, 2**41]),
        ("warmup", False, "timeout", None, None),
    ]


def test_files_are_the_owners_only_whatever_the_mask(data, journal):
    keep(journal, [0])
    seen = {}

    def step(name):
        for path in data.rglob("*"):
            seen[path.name, path.is_dir()] = stat.S_IMODE(path.stat().st_mode)

    old = os.umask(0)
    try:
        ingest(data, step=step)
        keep(journal, [1])
        ingest(data, step=step)
    finally:
        os.umask(old)
    assert {name for name, _ in seen} >= {"history.duckdb", "history.duckdb.wal", "store.lock", "journal"}
    assert {mode for (_, folder), mode in seen.items() if not folder} == {0o600}
    assert {mode for (_, folder), mode in seen.items() if folder} == {0o700}


def test_the_format_is_one_that_grafanas_plugin_can_open(data):
    ingest(data)
    assert sql(data, "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = 'history'") == [
        ("v1.5.0+",)
    ]


def test_a_lock_that_another_program_holds_delays_and_loses_nothing(data, journal):
    ingest(data)
    taken = 0
    with held(data / "history.duckdb") as pid:
        for number in range(30):
            keep(journal, [number])
            if number % 3 == 0:
                journal.rotate()
            with pytest.raises(StoreLocked, match=f"pid {pid}"):
                ingest(data, wait=0.02)
    taken += ingest(data).rows
    assert taken == 180
    assert stored(data) == rows_of(map(snapshot, range(30)))


def test_another_tokwatt_that_holds_the_lock_is_named_as_such(data):
    ingest(data)
    with file.store_lock(data, 1), pytest.raises(StoreLocked, match="another tokwatt"):
        ingest(data, wait=0.02)


def test_a_file_of_a_newer_tokwatt_is_refused_and_not_touched(data, journal):
    ingest(data)
    with duckdb.connect(str(data / "history.duckdb")) as db:
        db.execute("INSERT INTO schema_version VALUES (99, now()::TIMESTAMP_MS)")
    before = (data / "history.duckdb").read_bytes()
    keep(journal, [0])
    with pytest.raises(StoreError, match=r"newer tokwatt \(schema 99, this one knows \d+\): upgrade") as refused:
        ingest(data)
    assert "\n" not in str(refused.value)
    assert (data / "history.duckdb").read_bytes() == before
    assert len(segments(data)) == 1


def test_a_file_of_another_program_is_refused_and_not_touched(data, journal):
    data.mkdir()
    with duckdb.connect(str(data / "history.duckdb")) as db:
        db.execute("CREATE TABLE sample (mine INTEGER)")
    keep(journal, [0])
    with pytest.raises(StoreError, match="something else"):
        ingest(data)
    assert sql(data, "SELECT table_name FROM duckdb_tables()") == [("sample",)]


def test_migrations_go_forward_one_by_one_and_whole(tmp_path):
    steps = ["CREATE TABLE a (i INTEGER)", "ALTER TABLE a ADD COLUMN j INTEGER", "CREATE TABLE b (i INTEGER); nonsense"]
    path = tmp_path / "x.duckdb"
    with duckdb.connect(str(path)) as db:
        schema.migrate(db, path, steps[:1])
        schema.migrate(db, path, steps[:2])
        schema.migrate(db, path, steps[:2])
        assert schema.version(db) == 2
        with pytest.raises(duckdb.Error):
            schema.migrate(db, path, steps)
        db.execute("ROLLBACK")
        assert schema.version(db) == 2
        columns = db.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal").fetchall()
        assert {column for column in columns if column[0] != "schema_version"} == {("a", "i"), ("a", "j")}


def damage_whole(path):
    path.write_bytes(b"not a database at all" * 1000)


def damage_empty(path):
    path.write_bytes(b"")


def damage_short(path):
    os.truncate(path, path.stat().st_size // 2)


def damage_header(path):
    with path.open("r+b") as opened:
        for header in (4096, 8192):
            opened.seek(header + 20)
            opened.write(b"\xff\xff\xff")


def damage_block(path):
    with path.open("r+b") as opened:
        for block in range(12288, path.stat().st_size, 4096):
            opened.seek(block + 100)
            opened.write(b"\xff\xfe\xfd")


@pytest.mark.parametrize("damage", [damage_whole, damage_empty, damage_short, damage_header, damage_block])
def test_a_damaged_file_is_moved_aside_and_the_journal_goes_into_a_new_one(data, journal, caplog, damage):
    keep(journal, [0])
    journal.rotate()
    ingest(data)
    damage(data / "history.duckdb")
    damaged = (data / "history.duckdb").read_bytes()
    keep(journal, [1])
    done = ingest(data)
    [kept] = data.glob("history.duckdb.corrupt-*")
    assert done.moved_aside == str(kept)
    assert kept.read_bytes() == damaged
    assert kept.name in caplog.text
    assert stored(data) == rows_of([snapshot(1)])


def test_a_log_without_its_file_never_joins_a_new_one(data, journal):
    keep(journal, [0])
    ingest(data)
    crash_before_checkpoint(data)
    assert (data / "history.duckdb.wal").exists()
    (data / "history.duckdb").unlink()
    keep(journal, [1])
    journal.close()
    ingest(data)
    assert set(stored(data)) >= set(rows_of([snapshot(1)]))
    assert not any(row[3] == 99 for row in stored(data))


def crash_before_checkpoint(data):
    code = (
        "import duckdb, os, sys; db = duckdb.connect(sys.argv[1]);"
        "db.execute('INSERT INTO sample_row SELECT 1, now()::TIMESTAMP_MS, 99'); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, str(data / "history.duckdb")], check=False, timeout=30)


def test_a_great_backlog_goes_in_by_portions(data, journal, monkeypatch):
    from tokwatt_exporter.store import ingest as module

    monkeypatch.setattr(module, "ROWS_PER_COMMIT", 20)
    monkeypatch.setattr(module, "SEGMENTS_PER_COMMIT", 3)
    for number in range(20):
        keep(journal, [number])
        if number % 3:
            journal.rotate()
    commits = itertools.count()
    ingest(data, step=lambda name: name == "commit" and next(commits))
    assert next(commits) >= 5
    assert stored(data) == rows_of(map(snapshot, range(20)))


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StoreError, match="data"):
        ingest(tmp_path / "data")


def test_a_segment_that_cannot_be_read_does_not_stop_the_others(data, journal, caplog):
    keep(journal, [0])
    (data / "journal" / "00000000000000000001-1-root.journal").symlink_to("00000000000000000001-1-root.journal")
    assert ingest(data).rows == 6
    assert "00000000000000000001-1-root.journal" in caplog.text


def test_a_segment_is_forgotten_only_when_its_deletion_would_survive_a_power_failure(data, journal, monkeypatch):
    keep(journal, [0])
    journal.close()
    ingest(data)
    events = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), real(fd)))
    ingest(data, step=events.append)
    assert events[: events.index("forget")][-1] == "fsync"
