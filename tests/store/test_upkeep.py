"""Upkeep: packed days are the same samples, roll-ups are what the samples said, and age takes what it should."""

import math
import shutil
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.helpers import NOON, dying, rows_of, sql, stored
from tokwatt_exporter.catalogue import ENERGY, FAN_SPEED, MEMORY_USED, SERIES, TEMPERATURE, Counter
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store import file, read
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.upkeep import Kept, Retention, upkeep
from tokwatt_exporter.store.views import IS_COUNTER

DAY = 86_400
#: The first second of the day of NOON.
MIDNIGHT = NOON // 1000 // DAY * DAY
FOREVER = Retention(None, None, None)


def moment(seconds, *readings):
    """A snapshot so many seconds into the day of NOON."""
    return Snapshot.of((MIDNIGHT * 1000) + round(seconds * 1000), readings)


def a_day(day=0, host_offset=0.0):
    """Snapshots of an hour around noon: constants, floats, a counter with a reset, a series that comes and goes."""
    start = day * DAY + 12 * 3600 - 1800
    for n in range(120):
        readings = [
            TEMPERATURE(40 + n / 8, device="cpu", sensor="core 0"),
            TEMPERATURE(40 + n / 7, device="cpu", sensor="core 1"),
            FAN_SPEED(1200, fan="left"),
            ENERGY(5.5 * (n if n < 70 else n - 70) + 1000 * day, device="cpu"),
            MEMORY_USED(1e300 if n == 3 else 2.0**40 + n, kind="anon"),
        ]
        if n % 50 < 7:
            readings.append(TEMPERATURE(-0.1 * n, device="ssd", sensor="now and then"))
        yield moment(start + 30 * n + host_offset, *readings)


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def keep(data, snapshots, host="box"):
    journal = Journal(data)
    for snapshot in snapshots:
        journal.append_snapshot(snapshot, host)
    journal.close()
    ingest(data)


def tend(data, day, retention=FOREVER, **more):
    """All portions that are due two hours into a day, counted from that of NOON."""
    done = [upkeep(data, retention, now=MIDNIGHT + day * DAY + 7200, **more)]
    while done[-1].more:
        done.append(upkeep(data, retention, now=MIDNIGHT + day * DAY + 7200, **more))
    return done


def test_a_packed_day_is_the_same_samples(data):
    snapshots = [*a_day(0), *a_day(1)]
    keep(data, snapshots)
    assert tend(data, 1)[-1].packed == sum(map(len, a_day(0)))
    day = str(datetime.fromtimestamp(MIDNIGHT, UTC).date())
    assert sql(data, "SELECT DISTINCT day::VARCHAR FROM sample_day") == [(day,)]
    assert stored(data) == rows_of(snapshots)
    tend(data, 2)
    assert sql(data, "SELECT count(*) FROM sample_row") == [(0,)]
    assert stored(data) == rows_of(snapshots)


def test_a_day_is_not_packed_before_it_is_closed(data):
    keep(data, a_day())
    assert upkeep(data, FOREVER, now=MIDNIGHT + DAY + 1800) == Kept()
    assert upkeep(data, FOREVER, now=MIDNIGHT + DAY + 3700).packed > 0


def test_portions_are_bounded_and_make_the_whole(data):
    keep(data, a_day())
    done = tend(data, 1, rows=150)
    assert [one.more for one in done] == [True] * (len(done) - 1) + [False]
    assert max(one.packed for one in done) <= 150 and len(done) >= 5
    assert stored(data) == rows_of(a_day())


def test_what_the_source_has_as_float32_is_kept_as_such_and_a_constant_once(data):
    keep(data, a_day())
    tend(data, 1)
    kept = dict(
        sql(data, "SELECT labels['sensor'], (len(floats), len(\"values\"))::VARCHAR FROM sample_day"
            f" JOIN series USING (series_id) WHERE metric = '{TEMPERATURE}'")
    )  # fmt: skip
    assert kept["core 0"] == "(120, NULL)" and kept["core 1"] == "(NULL, 120)"
    assert sql(
        data, f"SELECT len(floats) FROM sample_day JOIN series USING (series_id) WHERE metric = '{FAN_SPEED}'"
    ) == [(1,)]


def test_hosts_have_ticks_of_their_own(data):
    keep(data, a_day(), "box")
    keep(data, a_day(host_offset=1.25), "attic")
    tend(data, 1)
    assert sql(data, "SELECT len(times) FROM sample_tick") == [(120,), (120,)]
    assert stored(data) == sorted([*rows_of(a_day()), *rows_of(a_day(host_offset=1.25))])


def test_samples_that_come_late_join_their_day(data):
    early, late = list(a_day())[::2], list(a_day())[1::2]
    keep(data, early)
    tend(data, 1)
    keep(data, late)
    assert stored(data) == rows_of(a_day())
    tend(data, 1)
    assert stored(data) == rows_of(a_day())
    assert sql(data, "SELECT count(*), count(DISTINCT series_id) FROM sample_day") == [(6, 6)]
    check_roll_ups(data, [list(a_day())])


def test_of_two_values_at_one_time_the_newer_one_stays(data):
    keep(data, [moment(5, FAN_SPEED(1, fan="left"))])
    keep(data, [moment(5, FAN_SPEED(2, fan="left"))])
    tend(data, 1)
    assert [row[3] for row in stored(data)] == [2.0]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2 * DAY - 1),
            st.integers(0, 3),
            st.floats(allow_nan=False, allow_infinity=False)
            | st.floats(width=32, allow_nan=False, allow_infinity=False)
            | st.integers(-3, 3).map(float),
        ),
        max_size=40, unique_by=lambda row: row[:2],
    )
)  # fmt: skip
@settings(max_examples=10, deadline=None, derandomize=True)
def test_whatever_the_samples_are_packing_gives_them_back(tmp_path_factory, rows):
    data = tmp_path_factory.mktemp("any") / "data"
    snapshots = [moment(at, FAN_SPEED(value, fan=f"fan {number}")) for at, number, value in rows]
    keep(data, snapshots[::2])
    tend(data, 1)
    keep(data, snapshots[1::2])
    tend(data, 2)
    assert sql(data, "SELECT count(*) FROM sample_row") == [(0,)]
    assert stored(data) == rows_of(snapshots)


def expected_roll_ups(days, seconds):
    """What one does by hand: (metric, labels, start) to (min, max, mean, last, count, increase)."""
    buckets, before = {}, {}
    for snapshot in (one for day in days for one in day):
        for family, labels, value in snapshot:
            key = family.name, labels, snapshot.time_ms // (1000 * seconds) * 1000 * seconds
            last = before.get(key[:2], value)
            grown = value if value < last else value - last
            before[key[:2]] = value
            found = buckets.setdefault(key, ([], []))
            found[0].append(value)
            found[1].append(grown)
    return {
        key: (None, None, None, values[-1], len(values), math.fsum(grown))
        if isinstance(SERIES[key[0]], Counter)
        else (min(values), max(values), math.fsum(values) / len(values), values[-1], len(values), None)
        for key, (values, grown) in buckets.items()
    }


def check_roll_ups(data, days, of="rollup_"):
    source = "{} JOIN series USING (series_id)" if of == "rollup_" else "{}"
    for seconds, name in ((60, "1m"), (3600, "1h")):
        found = {
            (metric, tuple(labels.items()), start): tuple(rest)
            for metric, labels, start, *rest in sql(
                data, "SELECT metric, labels, epoch_ms(time), min, max, mean, last, count, increase FROM "
                + source.format(of + name)
            )
        }  # fmt: skip
        expected = expected_roll_ups(days, seconds)
        assert found.keys() == expected.keys()
        for key, numbers in found.items():
            for number, wanted in zip(numbers, expected[key], strict=True):
                # Sums of many numbers differ in their last digits by the order in which they are added.
                assert number == (wanted if wanted is None else pytest.approx(wanted, rel=1e-12, abs=1e-9)), key


def test_roll_ups_say_what_the_samples_said_and_counters_survive_resets_and_midnight(data):
    days = [list(a_day(0)), list(a_day(1)), list(a_day(2))]
    for number, day in enumerate(days):
        keep(data, day)
        tend(data, number + 1)
    check_roll_ups(data, days)


def test_the_views_of_roll_ups_reach_up_to_now(data):
    days = [list(a_day(0)), list(a_day(1))]
    keep(data, days[0])
    check_roll_ups(data, days[:1], of="metrics_")
    tend(data, 1)
    check_roll_ups(data, days[:1], of="metrics_")


def test_what_is_a_counter_is_told_by_its_name_as_the_catalogue_tells_it(data):
    ingest(data)
    for name, family in SERIES.items():
        [(counter,)] = sql(data, f"SELECT {IS_COUNTER} FROM (SELECT ?::VARCHAR AS metric)", name)
        assert counter == isinstance(family, Counter), name


def test_age_takes_samples_first_then_minutes_then_hours(data):
    retention = Retention(raw=3 * DAY, minutes=6 * DAY, hours=9 * DAY)
    for day in range(12):
        keep(data, a_day(day))
        tend(data, day + 1, retention)
        first = {
            table: sql(data, f"SELECT count(DISTINCT time::DATE), date_diff('day', make_timestamp_ms({MIDNIGHT}000),"
                             f" min(time)::DATE) FROM {table}")[0]
            for table in ("sample", "rollup_1m", "rollup_1h")
        }  # fmt: skip
        for table, days in (("sample", 3), ("rollup_1m", 6), ("rollup_1h", 9)):
            kept = min(day + 1, days)
            assert first[table] == (kept, day + 1 - kept), (table, day)
    assert stored(data) == rows_of(s for day in (9, 10, 11) for s in a_day(day))
    assert sql(data, "SELECT count(*) FROM sample_tick") == [(3,)]


def test_roll_ups_of_a_day_whose_samples_are_gone_are_not_replaced_by_a_late_rest(data):
    keep(data, a_day())
    tend(data, 1)
    keep(data, a_day(9))
    retention = Retention(3 * DAY, None, None)
    tend(data, 10, retention)
    keep(data, [moment(12 * 3600, FAN_SPEED(7, fan="left"), FAN_SPEED(9, fan="new"))])
    tend(data, 10, retention)
    hours = sql(data, "SELECT labels['fan'], count FROM rollup_1h JOIN series USING (series_id)"
                      f" WHERE metric = '{FAN_SPEED}' AND time < make_timestamp_ms(?) ORDER BY ALL",
                (MIDNIGHT + DAY) * 1000)  # fmt: skip
    assert hours == [("left", 60), ("left", 60), ("new", 1)]


def test_what_is_younger_than_is_kept_stays_whatever_the_hour(data):
    for day in range(3):
        keep(data, a_day(day))
        tend(data, day + 1, FOREVER)
    # At two o'clock of day 3, 37 hours ago is in the afternoon of day 1.
    tend(data, 3, Retention(raw=37 * 3600))
    assert {row[0] // 1000 // DAY - MIDNIGHT // DAY for row in stored(data)} == {1, 2}


def test_lists_that_were_deleted_leave_the_file(data):
    retention = Retention(raw=2 * DAY, minutes=2 * DAY, hours=None)
    for day in range(8):
        keep(data, a_day(day))
        tend(data, day + 1, retention)
        [(places, live)] = sql(data, "SELECT max(rowid) + 1, count(*) FROM sample_day")
        assert places <= 1.5 * live
    assert sql(data, "SELECT index_name FROM duckdb_indexes() WHERE table_name = 'sample_day'") == [
        ("sample_day_series",)
    ]


def test_a_clock_that_is_a_year_ahead_for_an_hour_costs_no_sample(data):
    keep(data, a_day(0))
    keep(data, [moment(365 * DAY, FAN_SPEED(1, fan="left"))])
    tend(data, 365, Retention(3 * DAY, 3 * DAY, 3 * DAY))
    keep(data, a_day(1))
    tend(data, 2, Retention(3 * DAY, 3 * DAY, 3 * DAY))
    kept = [*a_day(0), *a_day(1), moment(365 * DAY, FAN_SPEED(1, fan="left"))]
    assert stored(data) == rows_of(kept)


@pytest.mark.parametrize("jump", [-3600, DAY])
def test_a_clock_that_jumps_back_an_hour_or_forward_a_day_loses_nothing_and_doubles_nothing(data, jump):
    before = list(a_day(0))
    shifted = [Snapshot(s.time_ms + 1000 * jump + 7, s.values) for s in a_day(0)]
    keep(data, before)
    tend(data, 0.5)
    keep(data, shifted)
    tend(data, 1.01 if jump < 0 else 2)
    assert stored(data) == rows_of([*before, *shifted])
    keep(data, a_day(1))
    tend(data, 3)
    assert stored(data) == rows_of([*before, *shifted, *a_day(1)])


def test_without_a_history_there_is_nothing_to_do_and_none_is_made(data):
    assert upkeep(data, FOREVER) == Kept()
    assert not file.path_of(data).exists()


_DIE_AT = f"""
from tokwatt_exporter.store import upkeep as module
from tokwatt_exporter.store.upkeep import Retention, upkeep
module._WASTE_BYTES = -1
module._wasted = lambda db: True
data, retention = pathlib.Path(sys.argv[1]), Retention({DAY}, {DAY}, None)
while upkeep(data, retention, now={MIDNIGHT + 3 * DAY + 7200}, rows=1000, step=step).more:
    pass
"""


@pytest.fixture(scope="module")
def die_at(tmp_path_factory):
    """Upkeep in a process that ends without a word at the given step; the step's name, empty where it got through."""
    with dying(tmp_path_factory.mktemp("warm"), _DIE_AT, "tokwatt_exporter.store.upkeep") as die_at:
        yield die_at


def test_a_crash_at_any_step_of_upkeep_loses_nothing_and_doubles_nothing(tmp_path, die_at):
    """Packing, roll-ups, age, writing lists and file anew: died at every step, twice at the same, then done in full."""
    names = []
    days = [list(a_day(day))[::6] for day in range(3)]
    keep(tmp_path / "begun", [*days[0], *days[1], *days[2]])
    for number in range(100):
        data = tmp_path / str(number)
        shutil.copytree(tmp_path / "begun", data)
        names.append(die_at(data, number))
        again = die_at(data, number)
        # In between samples come in, as they do.
        keep(data, [moment(3 * DAY, FAN_SPEED(5, fan="left"))])
        kept = stored(data)
        expected = rows_of([*days[0], *days[1], *days[2], moment(3 * DAY, FAN_SPEED(5, fan="left"))])
        old = rows_of([*days[0], *days[1]])
        assert kept == expected or kept == [row for row in expected if row not in old], f"at {number}: {names[-1]}"
        assert die_at(data, 1000) == ""
        assert stored(data) == [row for row in expected if row not in old]
        check_hours(data, days)
        assert not list(data.glob("*.new*")) and not list(data.glob("*corrupt*"))
        if not names[-1] and not again:
            break
    assert set(names) >= {
        "pack", "lists", "roll-ups", "rows", "commit", "expire", "rollup_1m", "lists anew", "checkpoint", "rewrite",
        "rename", "",
    }  # fmt: skip


def check_hours(data, days):
    expected = expected_roll_ups(days, 3600)
    found = sql(data, "SELECT metric, labels, epoch_ms(time), last, count FROM rollup_1h JOIN series USING (series_id)")
    assert {(m, tuple(labels.items()), t): (last, count) for m, labels, t, last, count in found} == {
        key: (row[3], row[4]) for key, row in expected.items()
    }
    assert len(found) == len(expected)


def test_a_query_chooses_the_coarsest_rows_that_tell_it(data):
    for day in range(3):
        keep(data, a_day(day))
        tend(data, day + 1, Retention(raw=2 * DAY, minutes=2 * DAY))
    whole = {"since": (MIDNIGHT - DAY) * 1000, "labels": {"sensor": "core 0"}, "metric": TEMPERATURE.name}

    def values(**more):
        return [(row["time"][8:16], row["value"]) for row in read.query(data, "samples", whole | more)]

    assert values(step="1h") == [
        (f"{21 + day}T{hour}:00", value) for day in range(3) for hour, value in ((11, 47.375), (12, 54.875))
    ]
    # The first day has only hours left.
    assert values(step="30m") == [("21T11:00", 47.375), ("21T12:00", 54.875)] + [
        (f"{22 + day}T{time}", value) for day in range(2) for time, value in (("11:59", 47.375), ("12:29", 54.875))
    ]
    assert len(values(step="10s")) == len(values()) == 240
    assert values(step="1h", since=(MIDNIGHT + 2 * DAY + 12 * 3600 + 60) * 1000) == [("23T12:00", 54.875)]
