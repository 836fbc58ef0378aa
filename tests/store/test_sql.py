"""`tokwatt history query` and `sql` at the shell: what is answered, in which form, and what is refused."""

import csv
import io
import json
import sys

import pytest
import typer

from store.helpers import NOON, snapshot, taken_in
from tokwatt_exporter.catalogue import FAN_SPEED, TEMPERATURE
from tokwatt_exporter.history_cli import app as history
from tokwatt_exporter.shell import run_app
from tokwatt_exporter.store.journal import Journal

app = typer.Typer()
app.add_typer(history, name="history")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ten snapshots and a benchmark."""
    return taken_in(tmp_path_factory.mktemp("asked"))


@pytest.fixture
def run(data, monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["tokwatt", "history", *map(str, words), "--data-dir", str(data)])
        code = run_app(app, "tokwatt")
        return code, *capsys.readouterr()

    return run


def test_sql_gives_rows_as_json(run):
    code, out, err = run(
        "sql", "SELECT time, value, labels, host, NULL AS nothing FROM metrics WHERE metric = 'tokwatt_fan_speed_rpm'"
        " ORDER BY time LIMIT 1", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "columns": ["time", "value", "labels", "host", "nothing"],
        "rows": [{"time": "2026-09-21T14:13:20.000Z", "value": 1200.0, "labels": {"fan": "left"}, "host": "box",
                  "nothing": None}],
    }  # fmt: skip


def test_every_type_of_a_cell_is_something_in_json(run):
    statement = """SELECT 1::HUGEINT AS i, 1.50::DECIMAL(4, 2) AS d, 'nan'::DOUBLE AS nan, DATE '2026-01-31' AS day,
        TIMESTAMPTZ '2026-01-31 12:00+01' AS zone, [1, NULL] AS list, {'a': TIME '12:00'} AS struct, '\\xFF'::BLOB AS b,
        INTERVAL 1 DAY AS gap, true AS yes, 1 AS i"""
    [row] = json.loads(run("sql", statement, "--json")[1])["rows"]
    assert row == {
        "i": 1, "d": 1.5, "nan": None, "day": "2026-01-31", "zone": "2026-01-31T11:00:00.000Z", "list": [1, None],
        "struct": {"a": "12:00:00"}, "b": "ff", "gap": "1 day, 0:00:00", "yes": True, "i_1": 1,
    }  # fmt: skip


def test_sql_gives_csv_and_a_table(run):
    statement = "SELECT metric, labels, count(*) AS samples FROM metrics GROUP BY ALL ORDER BY ALL LIMIT 1"
    [head, row] = csv.reader(io.StringIO(run("sql", statement, "--csv")[1]))
    assert (head, row) == (["metric", "labels", "samples"], [FAN_SPEED.name, '{"fan": "left"}', "10"])
    assert run("sql", statement)[1].split()[:4] == ["metric", "labels", "samples", FAN_SPEED.name]


def test_sql_is_read_from_stdin(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 7 AS x;"))
    assert json.loads(run("sql", "-", "--json")[1])["rows"] == [{"x": 7}]


@pytest.mark.parametrize(
    "statement",
    ["FROM series", "SHOW TABLES", "DESCRIBE sample", "SUMMARIZE series", "EXPLAIN SELECT * FROM sample",
     "WITH x AS (SELECT 1) SELECT * FROM x", "VALUES (1)", "SELECT 1;", "SELECT 1 -- the end"],
)  # fmt: skip
def test_all_that_reads_is_answered(run, statement):
    code, out, err = run("sql", statement, "--json")
    assert (code, err) == (0, "") and json.loads(out)["rows"]


NOT_READING = "is not for reading"
ONLY_HERE = "only the history is read here"


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM sample_row", f"DELETE {NOT_READING}"),
        ("INSERT INTO series VALUES (1, 'x', MAP {}, 'y')", f"INSERT {NOT_READING}"),
        ("UPDATE series SET host = 'x'", f"UPDATE {NOT_READING}"),
        ("CREATE TABLE x (i INTEGER)", f"CREATE {NOT_READING}"),
        ("CREATE TEMP TABLE x AS SELECT 1", f"CREATE {NOT_READING}"),
        ("DROP TABLE series", f"DROP {NOT_READING}"),
        ("ALTER TABLE series ADD COLUMN x INTEGER", f"ALTER {NOT_READING}"),
        ("CHECKPOINT", NOT_READING),
        ("VACUUM", f"VACUUM {NOT_READING}"),
        ("ATTACH '/tmp/other.duckdb'", f"ATTACH {NOT_READING}"),
        ("COPY sample TO '/tmp/out.csv'", f"COPY {NOT_READING}"),
        ("EXPORT DATABASE '/tmp/out'", f"EXPORT {NOT_READING}"),
        ("INSTALL httpfs", f"LOAD {NOT_READING}"),
        ("LOAD httpfs", f"LOAD {NOT_READING}"),
        ("SET enable_external_access = true", f"SET {NOT_READING}"),
        ("RESET memory_limit", NOT_READING),
        ("PRAGMA enable_profiling", NOT_READING),
        ("USE memory", NOT_READING),
        ("BEGIN", f"TRANSACTION {NOT_READING}"),
        ("PREPARE x AS SELECT 1", f"PREPARE {NOT_READING}"),
        ("CALL pragma_version()", f"CALL {NOT_READING}"),
        ("EXPLAIN ANALYZE DELETE FROM sample_row", "read-only"),
        ("SELECT * FROM read_csv('/etc/passwd')", ONLY_HERE),
        ("SELECT * FROM read_text('/etc/passwd')", ONLY_HERE),
        ("SELECT * FROM read_blob('/etc/passwd')", ONLY_HERE),
        ("SELECT * FROM glob('/etc/*')", ONLY_HERE),
        ("SELECT * FROM sniff_csv('/etc/passwd')", ONLY_HERE),
        ("FROM '/etc/passwd.csv'", "passwd.csv"),
        ("SELECT * FROM query('DELETE FROM sample_row')", "the SQL is wrong"),
        ("SELECT 1; DELETE FROM sample_row", "one SQL statement is taken, and there are 2"),
        ("", "there are none"),
        ("/* nothing */", "there are none"),
        ("SELEC 1", 'the SQL is wrong: syntax error at or near "SELEC"'),
        ("SELECT x FROM sample", 'the SQL is wrong: Referenced column "x" not found'),
        ("SELECT * FROM statement", "Table with name statement does not exist"),
        ("SELECT $1", "the SQL is wrong"),
        ("SELECT error('a\nb')", "the SQL is wrong: a b"),
        ("SELECT 1/0, 'x'::INTEGER", "the SQL is wrong: Could not convert string 'x'"),
    ],
)
def test_what_does_not_only_read_the_history_is_refused_in_one_line(run, data, statement, says):
    before = (data / "history.duckdb").read_bytes()
    code, out, err = run("sql", statement)
    assert (code, out) == (2, "")
    assert says in err
    assert err.startswith("tokwatt: ") and err.count("\n") == 1
    assert (data / "history.duckdb").read_bytes() == before


def test_more_rows_than_the_limit_are_refused(run):
    assert run("sql", "FROM range(3)", "--limit", 3)[0] == 0
    assert run("sql", "FROM range(4)", "--limit", 3) == (
        2, "", "tokwatt: there are more than 3 rows; LIMIT in the SQL takes a part, --limit allows more\n"
    )  # fmt: skip


def test_what_takes_too_long_is_refused(run):
    slow = "SELECT count(*) FROM range(1000000000) a, range(1000) b WHERE a.range * b.range % 7 = 3"
    assert run("sql", slow, "--timeout", "200ms") == (
        2, "", "tokwatt: the statement took longer than 0.2 s; ask for less, or allow more time\n"
    )  # fmt: skip
    assert run("sql", "SELECT 1", "--timeout", "soon")[0] == 2


def test_what_needs_too_much_memory_is_refused(run):
    code, out, err = run("sql", "SELECT list(a.range) FROM range(100000000) a")
    assert (code, out) == (2, "")
    assert "needs more memory than a reader may use" in err


def test_samples_that_are_not_taken_in_yet_are_there(run, tmp_path, monkeypatch, capsys):
    journal = Journal(tmp_path)
    journal.append_snapshot(snapshot(0), "box")
    monkeypatch.setattr(sys, "argv", ["tokwatt", "history", "sql", "SELECT count(*) AS n FROM sample", "--json",
                                      "--data-dir", str(tmp_path)])  # fmt: skip
    assert run_app(app, "tokwatt") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [{"n": 6}]
    journal.close()


FAN = ("--since", str(NOON), "--until", str(NOON + 9000))


def test_an_expression_says_how_it_was_told(run):
    code, out, err = run("query", f"max({TEMPERATURE.name})", *FAN, "--step", "5s", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "resolution": "raw", "step_seconds": 5.0,
        "samples": [{"time": "2026-09-21T14:13:20.000Z", "labels": {}, "value": 0.375},
                    {"time": "2026-09-21T14:13:25.000Z", "labels": {}, "value": 5.375}],
    }  # fmt: skip
    code, out, err = run("query", f"max({TEMPERATURE.name})", *FAN, "--step", "5s")
    assert (code, err) == (0, "a value every 5 s, from every sample\n")
    assert out.split()[:3] == ["time", "labels", "value"]
    assert run("query", f"max({TEMPERATURE.name})", *FAN, "--step", "5s", "--csv")[1].splitlines() == [
        "time,value", "2026-09-21T14:13:20.000Z,0.375", "2026-09-21T14:13:25.000Z,5.375",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "missing option '--metric', or an expression"),
        (("rate(x[5m])",), "expr: there is no metric x"),
        ((f"{FAN_SPEED.name} * 60",), "there is '*' instead of the end; for more than one metric there is SQL"),
        ((FAN_SPEED.name, "--metric", FAN_SPEED.name), "leave out --metric and --label"),
        ((FAN_SPEED.name, "--label", "fan=left"), "leave out --metric and --label"),
        ((FAN_SPEED.name, "--json", "--csv"), "exclude each other"),
        ((FAN_SPEED.name, "--step", "1ms", "--since", "30d"), "more than 100000 steps"),
    ],
)
def test_what_is_not_an_expression_is_refused_in_one_line(run, words, says):
    code, out, err = run("query", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
