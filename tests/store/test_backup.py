"""Copies of the history: before a migration, by hand, and back again; whatever dies on the way."""

import duckdb
import pytest

from store.helpers import bench, dying, held, rows_of, segments, snapshot, sql, stored
from tokwatt_exporter.errors import StoreError, StoreLocked, UsageError
from tokwatt_exporter.store import backup, file, schema
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal


def keep(data, numbers):
    journal = Journal(data)
    for number in numbers:
        journal.append_snapshot(snapshot(number), "box")
    journal.append(bench(f"run-{numbers[0]}"))
    journal.close()
    ingest(data)


@pytest.fixture
def data(tmp_path):
    keep(tmp_path / "data", range(3))
    return tmp_path / "data"


def old_history(data):
    """A file as schema 1 wrote it, and a journal of which it knows a part."""
    data.mkdir()
    journal = Journal(data)
    journal.append_snapshot(snapshot(0), "box")
    known = segments(data)[0].stat().st_size
    journal.append_snapshot(snapshot(1), "box")
    journal.close()
    path = data / "history.duckdb"
    with duckdb.connect(str(path), config={"storage_compatibility_version": file.STORAGE}) as db:
        schema.migrate(db, path, schema.MIGRATIONS[:1])
        for number, (time_ms, metric, labels, value) in enumerate(rows_of([snapshot(0)])):
            db.execute("INSERT INTO series VALUES (?, ?, ?, 'box')", [number, metric, dict(labels)])
            db.execute("INSERT INTO sample VALUES (?, make_timestamp_ms(?), ?)", [number, time_ms, value])
        db.execute("INSERT INTO journal_segment VALUES (?, ?)", [segments(data)[0].name, known])


def test_an_older_history_is_brought_up_to_date_after_a_copy_of_it_was_made(tmp_path):
    data = tmp_path / "data"
    old_history(data)
    assert ingest(data).rows == 6
    assert stored(data) == rows_of(map(snapshot, range(2)))
    assert sql(data, "SELECT count(*) FROM metrics") == [(12,)]
    versions = [(number,) for number in range(1, len(schema.MIGRATIONS) + 1)]
    assert sql(data, "SELECT version FROM schema_version ORDER BY 1") == versions
    [kept] = data.glob("history.duckdb.schema-*")
    assert kept.name == "history.duckdb.schema-1"
    with duckdb.connect(str(kept), read_only=True) as db:
        assert schema.version(db) == 1
        assert db.execute("SELECT count(*) FROM sample").fetchall() == [(6,)]
    assert oct(kept.stat().st_mode)[-3:] == "600"


def test_only_the_newest_copies_of_before_a_migration_stay(data):
    for version in (9, 10, 11):
        backup.before_migration(data / "history.duckdb", version, 1, lambda name: None)
    assert sorted(kept.name for kept in data.glob("*.schema-*")) == [
        "history.duckdb.schema-10",
        "history.duckdb.schema-11",
    ]


_DIE_AT = """
from tokwatt_exporter.store import backup
from tokwatt_exporter.store.ingest import ingest
data = pathlib.Path(sys.argv[1])
if sys.argv[2] == "migrate":
    ingest(data, step=step)
else:
    backup.restore(data, pathlib.Path(sys.argv[2]), step=step)
"""


@pytest.fixture(scope="module")
def die_at(tmp_path_factory):
    """The name of the step at which the process ended; empty where it got through."""
    with dying(tmp_path_factory.mktemp("warm"), _DIE_AT, "tokwatt_exporter.store.ingest") as die_at:
        yield die_at


def test_a_crash_at_any_step_of_a_migration_loses_nothing_and_doubles_nothing(tmp_path, die_at):
    names = []
    for number in range(50):
        data = tmp_path / str(number)
        old_history(data)
        names.append(die_at(data, "migrate", number))
        die_at(data, "migrate", number)
        ingest(data)
        assert stored(data) == rows_of(map(snapshot, range(2))), f"died at step {number}: {names[-1]}"
        assert [kept.name for kept in data.glob("*.schema-*")] == ["history.duckdb.schema-1"]
        assert not list(data.glob("*.new*")) or names[-1] in ("name", "copy", "migrate")
        if not names[-1]:
            break
    assert set(names) >= {"backup", "copy", "name", "migrate", "begin", "commit", ""}


def test_a_crash_at_any_step_of_a_restore_leaves_the_one_or_the_other(data, tmp_path, die_at):
    copy = backup.backup(data)
    before = stored(data)
    keep(data, range(3, 6))
    after = stored(data)
    names = []
    for number in range(20):
        names.append(die_at(data, copy, number))
        found = stored(data)
        assert found == (after if names[-1] else before), names[-1]
        if not names[-1]:
            break
    assert names == ["copy", "link", "rename", ""]


def test_a_backup_is_the_history_and_replaces_nothing(data, tmp_path):
    made = backup.backup(data, tmp_path / "copy.duckdb")
    assert made.read_bytes() == (data / "history.duckdb").read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        backup.backup(data, made)
    with pytest.raises(StoreError, match="no history"):
        backup.backup(tmp_path / "none")


def test_a_restored_history_takes_in_what_it_does_not_know_and_nothing_twice(data):
    journal = Journal(data)
    journal.append_snapshot(snapshot(10), "box")
    ingest(data)
    copy = backup.backup(data)
    journal.append_snapshot(snapshot(11), "box")
    ingest(data)
    kept = backup.restore(data, copy)
    assert kept is not None and kept.exists()
    journal.append_snapshot(snapshot(12), "box")
    journal.close()
    ingest(data)
    assert stored(data) == rows_of(map(snapshot, (0, 1, 2, 10, 11, 12)))


def test_a_damaged_history_is_moved_aside_by_a_restore(data):
    copy = backup.backup(data)
    before = stored(data)
    (data / "history.duckdb").write_bytes(b"nothing" * 9000)
    kept = backup.restore(data, copy)
    assert kept is not None and "corrupt" in kept.name
    assert stored(data) == before


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 1000, "other"])
def test_what_is_no_history_is_not_restored(data, tmp_path, content):
    source = tmp_path / "source.duckdb"
    if content == "other":
        duckdb.connect(str(source)).execute("CREATE TABLE mine (i INTEGER)").close()
    elif content is not None:
        source.write_bytes(content)
    before = stored(data)
    with pytest.raises(UsageError) as refused:
        backup.restore(data, source)
    assert "\n" not in str(refused.value)
    assert stored(data) == before


def test_copies_wait_for_who_has_the_file_and_then_say_so(data):
    with held(data / "history.duckdb") as pid, pytest.raises(StoreLocked, match=f"pid {pid}"):
        backup.backup(data, wait=0.1)
    assert not list(data.glob("*.new"))
