"""`tokwatt history export` and `import` at the shell."""

import json
import sys

import pytest
import typer

from store.helpers import NOON, rows_of, snapshot, stored
from tokwatt_exporter.catalogue import FAN_SPEED, TIME_TO_FIRST_TOKEN
from tokwatt_exporter.families import Distribution
from tokwatt_exporter.history_leave_cli import export, import_
from tokwatt_exporter.shell import run_app
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store.journal import Journal

app = typer.Typer()
app.command("export")(export)
app.command("import")(import_)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["tokwatt", *map(str, words), "--data-dir", str(tmp_path / "data")])
        code = run_app(app, "tokwatt")
        out, err = capsys.readouterr()
        return code, out, err

    journal = Journal(tmp_path / "data")
    for number in range(3):
        journal.append_snapshot(snapshot(number), "box")
    buckets = Distribution(((1.0, 2.0), (float("inf"), 3.0)), 1.5)
    journal.append_snapshot(Snapshot.of(NOON, [*TIME_TO_FIRST_TOKEN(buckets, engine="ollama", model="tiny")]), "box")
    journal.close()
    return run


def test_parquet_goes_out_and_comes_in(run, tmp_path):
    code, out, _ = run("export", "--to", tmp_path / "out", "--json")
    [done] = json.loads(out)["exports"]
    assert (code, done["written"], done["rows"]) == (0, 1, 3 * 6 + 4)
    assert run("export", "--to", tmp_path / "out")[1] == (
        "0 files written with 0 rows and 0 bytes; 1 were good\n"
    )  # fmt: skip
    (tmp_path / "data").rename(tmp_path / "old")
    assert json.loads(run("import", tmp_path / "out", "--json")[1])["rows"] == 22
    assert run("import", tmp_path / "out")[1] == "0 rows of 1 files are new, 22 were there already\n"
    assert [row for row in stored(tmp_path / "data") if "first_token" not in row[1]] == rows_of(
        map(snapshot, range(3))
    )  # fmt: skip


def test_where_to_is_in_the_configuration_too(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TOKWATT_HISTORY_EXPORT", str(tmp_path / "one"))
    monkeypatch.setenv("TOKWATT_HISTORY_ATTACH", str(tmp_path / "two"))
    assert run("export")[0] == 0
    assert len(list(tmp_path.glob("*/host=box/date=*/sample.parquet"))) == 2


def test_text_goes_to_stdout_or_a_file(run, tmp_path):
    ago = ("--since", "2026-01-01")
    code, out, _ = run("export", "--format", "openmetrics", "--metric", FAN_SPEED.name, *ago)
    assert code == 0 and out.splitlines()[2] == (
        f'{FAN_SPEED.name}{{job="tokwatt",fan="left",instance="box:10021"}} 1200.0 {NOON // 1000}.000'
    )
    whole = run("export", "--format", "json", "--metric", TIME_TO_FIRST_TOKEN.name, *ago)[1]
    assert len(json.loads(whole)["samples"]) == 4
    assert run("export", "--format", "csv", "--to", tmp_path / "x.csv", *ago, "--label", "fan=left")[1] == ""
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert lines[0] == "time,host,metric,fan,value" and len(lines) == 4
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".new")] == []
    assert run("export", "--format", "csv", "--to", tmp_path / "no/x.csv", *ago)[0] == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("export",), "say where to with --to, or set history.export"),
        (("export", "--to", "x", "--since", "1h"), "--since is not for Parquet, which is all of the history"),
        (("export", "--to", "s3://me:pw@box"), "--to: has a password in the URL"),
        (("export", "--format", "xml"), "--format: 'xml' is not one of parquet, openmetrics, csv, json"),
        (("export", "--format", "csv", "--json"), "--json is for Parquet; samples as JSON are --format json"),
        (("export", "--format", "csv", "--external-label", "a=b"), "--external-label is for --format openmetrics"),
        (("export", "--format", "csv", "--metric", "nonsense"), "--metric: there is no metric nonsense"),
        (("export", "--format", "csv", "--since", "soon"), "--since: 'soon' is neither a duration"),
        (("import",), "missing argument"),
        (("import", "/nowhere"), "/nowhere: there is no such file or folder"),
        (("import", __file__), "is no Parquet file of `tokwatt history export`"),
    ],
)
def test_wrong_usage_costs_one_line(run, words, why):
    code, out, err = run(*words)
    assert (code, out) == (2, "") and why in err and err.count("\n") == 1
