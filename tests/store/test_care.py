"""Taking care of the history by hand: check, compact, forget, and the commands that do it."""

import json
import os
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from store.helpers import FAN_SPEED, TEMPERATURE, bench, rows_of, sql, stored
from store.test_upkeep import DAY, FOREVER, MIDNIGHT, a_day, check_roll_ups, keep, moment, tend
from tokwatt_exporter.cli import app
from tokwatt_exporter.errors import StoreError, UsageError
from tokwatt_exporter.store import care, file
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.schema import MIGRATIONS

RUN = CliRunner()


@pytest.fixture
def data(tmp_path):
    """A packed day, and one that is not."""
    data = tmp_path / "data"
    keep(data, a_day(0))
    tend(data, 1)
    keep(data, a_day(1))
    journal = Journal(data)
    journal.append(bench())
    journal.close()
    ingest(data)
    return data


def history(*words, data, code=0):
    result = RUN.invoke(app, ["history", *words, "--data-dir", str(data)])
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_sound_history_has_no_problem(data):
    facts = json.loads(history("check", "--json", data=data))
    assert facts["problems"] == [] == facts["moved_aside"]
    assert facts["rows"]["sample_row"] == sum(map(len, a_day(1))) and facts["rows"]["sample_day"] == 6
    assert facts["schema_version"] == len(MIGRATIONS)
    assert "the history is sound" in history("check", data=data)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("DELETE FROM series WHERE series_id = 1", "samples of no series"),
        ("DELETE FROM sample_tick", "without their times"),
        ("INSERT INTO sample_day SELECT * FROM sample_day LIMIT 1", "packed twice"),
        ("UPDATE sample_day SET ticks = 3 WHERE len(\"values\") > 9", "differ in number"),
        ("INSERT INTO rollup_1m SELECT * FROM rollup_1m LIMIT 1", "minutes rolled up twice"),
        ("DELETE FROM bench_run", "requests of no benchmark"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_said_and_the_command_fails(data, broken, says):
    with duckdb.connect(str(data / "history.duckdb")) as db:
        db.execute(broken)
    facts = json.loads(history("check", "--json", data=data, code=1))
    assert any(says in problem for problem in facts["problems"]), facts["problems"]
    assert says in history("check", data=data, code=1)


def test_a_damaged_file_is_a_problem_and_one_that_was_moved_aside_is_named(data):
    os.truncate(data / "history.duckdb", 300_000)
    assert "damaged" in care.check(data)["problems"][0]
    ingest(data)
    facts = care.check(data)
    assert facts["problems"] == [] and "corrupt" in facts["moved_aside"][0]
    assert file.lost_at(data) == pytest.approx((data / "history.duckdb").stat().st_mtime, abs=60)


def test_no_history_is_a_problem_and_none_is_made(tmp_path):
    assert care.check(tmp_path / "none")["problems"] == ["there is no history"]
    with pytest.raises(StoreError, match="no history"):
        care.compact(tmp_path / "none", FOREVER)
    assert list(tmp_path.iterdir()) == []


def test_compact_packs_drops_what_is_old_and_gives_the_room_back(data):
    keep(data, a_day(2))
    before = stored(data)
    done = care.compact(data, FOREVER)
    assert done["packed"] == sum(map(len, a_day(1))) + sum(map(len, a_day(2)))
    assert done["after_bytes"] == (data / "history.duckdb").stat().st_size < done["before_bytes"]
    assert stored(data) == before
    assert care.check(data)["problems"] == []
    assert sql(data, "SELECT run_id FROM bench_results") == [("run-1",)]
    # The retention is that of the daemon's settings; age is told by the newest day that there is, two days at most.
    history("compact", "--history.retention-raw", "3d", "--history.retention-1m", "1d", data=data)
    assert sql(data, "SELECT count(*) FROM rollup_1m") == [(0,)]
    assert {row[0] // 1000 // DAY for row in stored(data)} == {MIDNIGHT // DAY + 1, MIDNIGHT // DAY + 2}


def test_a_metric_is_forgotten_with_its_roll_ups_and_its_name(data):
    done = care.forget(data, TEMPERATURE.name, {"sensor": "core 0"}, None)
    assert (done["series"], done["samples"]) == (1, 240)
    kept = [row for row in rows_of([*a_day(0), *a_day(1)]) if ("sensor", "core 0") not in row[2]]
    assert stored(data) == kept
    assert sql(data, "SELECT count(*) FROM series WHERE labels['sensor'] = 'core 0'") == [(0,)]
    assert b"core 0" not in (data / "history.duckdb").read_bytes()
    assert care.check(data)["problems"] == []
    tend(data, 2)
    assert stored(data) == kept


def test_what_is_older_is_forgotten_to_the_millisecond_and_the_rest_stays(data):
    noon = (MIDNIGHT + 12 * 3600) * 1000
    done = care.forget(data, None, {}, noon)
    kept = [row for row in rows_of([*a_day(0), *a_day(1)]) if row[0] >= noon]
    assert done["samples"] == len(stored(data)) + done["samples"] - len(kept) > 0
    assert stored(data) == kept
    assert sql(data, f"SELECT count(*) FROM rollup_1m WHERE time < make_timestamp_ms({noon})") == [(0,)]
    tend(data, 2)
    assert stored(data) == kept
    assert care.check(data)["problems"] == []


def test_a_trial_changes_nothing_and_says_what_it_would_be(data):
    text = history("forget", "--metric", FAN_SPEED.name, "--dry-run", data=data)
    assert text == "240 samples of 1 series would be forgotten\n"
    assert stored(data) == rows_of([*a_day(0), *a_day(1)])


def test_forgetting_needs_to_be_told_what(data):
    with pytest.raises(UsageError, match="--metric, --label or --before"):
        care.forget(data, None, {}, None)
    result = RUN.invoke(app, ["history", "forget", "--before", "some day", "--data-dir", str(data)])
    assert isinstance(result.exception, UsageError) and "--before" in str(result.exception)


def test_copies_that_still_hold_it_are_named(data):
    name = history("backup", data=data).strip()
    done = json.loads(history("forget", "--label", "fan=left", "--json", data=data))
    assert done["copies"] == [Path(name).name]
    assert "is the history now; the one before is" in history("restore", name, data=data).replace("\n", " ")
    assert stored(data) == rows_of([*a_day(0), *a_day(1)])
    check_roll_ups(data, [list(a_day(0))])


def test_samples_of_a_day_that_was_partly_forgotten_are_packed_again(data):
    care.forget(data, None, {}, (MIDNIGHT + 12 * 3600) * 1000)
    keep(data, [moment(DAY + 5, FAN_SPEED(1, fan="left"))])
    tend(data, 2)
    assert sql(data, "SELECT count(*) FROM sample_row") == [(0,)]
