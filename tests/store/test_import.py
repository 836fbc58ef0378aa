"""Another machine's export in the history: each row once, however often and in whatever pieces it comes."""

import shutil

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.helpers import NOON, bench, dying, rows_of, snapshot, sql, stored
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.store import care
from tokwatt_exporter.store.export import export
from tokwatt_exporter.store.importing import import_
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.upkeep import Retention, upkeep

DAY = 86_400
FOREVER = Retention(None, None, None)


def keep(data, numbers, host="box", *records):
    journal = Journal(data)
    for number in numbers:
        journal.append_snapshot(snapshot(number), host)
    for record in records:
        journal.append(record)
    journal.close()
    ingest(data)


def pack(data):
    return upkeep(data, FOREVER, now=NOON / 1000 + 9 * DAY)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The export of `attic`: two days and a benchmark run."""
    folder = tmp_path_factory.mktemp("attic")
    keep(folder / "data", [*range(20), DAY], "attic", bench())
    export(folder / "data", str(folder / "out"))
    return folder / "out"


ATTIC = rows_of(map(snapshot, [*range(20), DAY]))


def test_an_export_comes_in_whole_and_once(tmp_path, out):
    keep(tmp_path, range(3), "box", bench("run-2"))
    done = import_(tmp_path, [out])
    assert (done.files, done.rows, done.known_rows, done.bench_runs) == (4, 21 * 6 + 1 + 2, 0, 1)
    again = import_(tmp_path, [out, *out.rglob("sample.parquet")])
    assert (again.files, again.rows, again.known_rows) == (6, 0, 2 * 21 * 6 + 3)
    assert stored(tmp_path) == sorted([*ATTIC, *rows_of(map(snapshot, range(3)))])
    assert sql(tmp_path, "SELECT host, count(*) FROM metrics GROUP BY ALL ORDER BY ALL") == [
        ("attic", 126),
        ("box", 18),
    ]
    assert sql(tmp_path, "SELECT run_id, host, result->>'p50' FROM bench_run ORDER BY ALL") == [
        ("run-1", "box", "12.5"), ("run-2", "box", "12.5"),
    ]  # fmt: skip
    assert sql(tmp_path, "SELECT phase, chunk_offsets_ns FROM bench_request WHERE run_id = 'run-1' ORDER BY ALL") == [
        ("measured", [10, 2**40, 2**41]), ("warmup", None),
    ]  # fmt: skip
    pack(tmp_path)
    assert import_(tmp_path, [out]).rows == 0
    assert stored(tmp_path) == sorted([*ATTIC, *rows_of(map(snapshot, range(3)))])
    assert care.check(tmp_path)["problems"] == []


def test_into_no_history_it_makes_one(tmp_path, out):
    import_(tmp_path / "new", [out])
    assert stored(tmp_path / "new") == ATTIC


def test_what_a_history_lost_of_its_own_comes_back_and_the_rest_stays(tmp_path, out):
    keep(tmp_path, [*range(5), *range(12, 25)], "attic")
    pack(tmp_path)
    keep(tmp_path, [DAY + 7], "attic")
    assert import_(tmp_path, [out]).rows == 8 * 6 + 3
    assert stored(tmp_path) == rows_of(map(snapshot, [*range(25), DAY, DAY + 7]))


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    present=st.sets(st.integers(0, 19)), packed=st.booleans(), rows=st.integers(40, 130),
    order=st.lists(st.sampled_from(["sample", "bench"]), min_size=1, max_size=3),
)  # fmt: skip
def test_whatever_is_there_already_and_in_whatever_portions(tmp_path_factory, out, present, packed, rows, order):
    data = tmp_path_factory.mktemp("data")
    keep(data, present, "attic")
    if packed and present:
        pack(data)
    for which in order:
        import_(data, sorted(out.rglob(f"{which}*.parquet")), rows=rows)
    import_(data, [out], rows=rows)
    assert stored(data) == ATTIC
    assert sql(data, "SELECT count(*), (SELECT count(*) FROM bench_request) FROM bench_run") == [(1, 2)]


_DIE_AT = """
from tokwatt_exporter.store.importing import import_
import_(pathlib.Path(sys.argv[1]), [pathlib.Path(sys.argv[2])], rows=100, step=step)
"""


@pytest.mark.slow
def test_a_crash_at_any_step_loses_nothing_and_doubles_nothing(tmp_path, out):
    names = []
    keep(tmp_path / "before", range(3), "attic")
    with dying(tmp_path, _DIE_AT, "tokwatt_exporter.store.importing") as die_at:
        for number in range(100):
            data = tmp_path / str(number)
            shutil.copytree(tmp_path / "before", data)
            names.append(die_at(data, out, number))
            import_(data, [out])
            assert stored(data) == ATTIC, f"died at step {number}: {names[-1]}"
            assert sql(data, "SELECT count(*), (SELECT count(*) FROM bench_request) FROM bench_run") == [(1, 2)]
            if not names[-1]:
                break
    assert set(names) == {"begin", "series", "samples", "commit", "bench", ""} and names.count("commit") >= 3


def test_what_is_no_export_costs_one_line_and_nothing_comes_in(tmp_path, out):
    text, plain, torn, lies = (tmp_path / f"{name}.parquet" for name in ("text", "plain", "torn", "lies"))
    text.write_text("PAR1 nothing of the kind PAR1")
    [whole] = out.glob("host=*/date=2026-09-21/*")
    torn.write_bytes(whole.read_bytes()[:-9])
    db = duckdb.connect()
    db.execute(f"COPY (SELECT 1 AS a) TO '{plain}'")
    said = "{tokwatt: '1', 'table': 'sample', host: 'x', mark: '', 'rows': '5'}"
    db.execute(f"COPY (SELECT 1 AS a) TO '{lies}' (KV_METADATA {said})")
    (tmp_path / "empty").mkdir()
    for path, why in (
        (text, "is no Parquet file of `tokwatt history export`"),
        (plain, "is no Parquet file of `tokwatt history export`"),
        (torn, "is no Parquet file of `tokwatt history export`"),
        (lies, "says that it is an export of tokwatt, and has other columns"),
        (tmp_path / "empty", "holds no Parquet files"),
        (tmp_path / "nowhere", "there is no such file or folder"),
    ):
        with pytest.raises(UsageError) as error:
            import_(tmp_path / "data", [out, path])
        assert why in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "data").exists()


def test_a_file_whose_inside_is_damaged_is_named(tmp_path, out):
    [whole] = out.glob("host=*/date=2026-09-21/*")
    damaged = tmp_path / "damaged.parquet"
    content = bytearray(whole.read_bytes())
    content[10:200] = bytes(190)
    damaged.write_bytes(content)
    with pytest.raises(UsageError, match=r"damaged\.parquet cannot be read"):
        import_(tmp_path / "data", [damaged])
    import_(tmp_path / "data", [out])
    assert stored(tmp_path / "data") == ATTIC


def test_rows_that_ingestion_would_refuse_are_left_out(tmp_path):
    path = tmp_path / "sample.parquet"
    said = "{tokwatt: '1', 'table': 'sample', host: 'x', mark: '', 'rows': '7'}"
    at = f"make_timestamp_ms({NOON})"
    duckdb.connect().execute(
        f"""COPY (SELECT * FROM (VALUES ({at}, 'm', MAP{{'b': '1', 'a': '2'}}, 1.5::DOUBLE),
        ({at}, 'm', MAP{{}}, 'nan'), ({at}, 'm', MAP{{}}, 'inf'), ({at}, NULL, MAP{{}}, 1), (NULL, 'm', MAP{{}}, 1),
        (TIMESTAMP '1969-01-01', 'm', MAP{{}}, 1), ({at}, 'm', MAP{{'a': NULL}}, 1)) AS v(time, metric, labels, value))
        TO '{path}' (FORMAT parquet, KV_METADATA {said})"""
    )
    done = import_(tmp_path / "data", [path])
    assert (done.rows, done.refused_rows) == (1, 6)
    assert stored(tmp_path / "data") == [(NOON, "m", (("a", "2"), ("b", "1")), 1.5)]
