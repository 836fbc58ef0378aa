"""Expressions over the history: what is understood, and what comes out of samples and roll-ups."""

import pytest

from store.helpers import NOON
from tokwatt_exporter.catalogue import ENERGY, MEMORY_USED, REQUEST_DURATION, TEMPERATURE
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store import read
from tokwatt_exporter.store.expression import Expression, Matcher, parsed
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.queries import prepare
from tokwatt_exporter.store.upkeep import Retention, upkeep

COUNTER, GAUGE = ENERGY.name, TEMPERATURE.name
DAY = 86_400_000
#: Midnight of a day in 2026, and what is asked there.
MIDNIGHT = NOON // DAY * DAY


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        (COUNTER, Expression(ENERGY)),
        (f" {GAUGE} {{ device = 'cpu' , sensor !~ `core [0-9]`, }} ",
         Expression(TEMPERATURE, (Matcher("device", "=", "cpu"), Matcher("sensor", "!~", "core [0-9]")))),
        (f'{GAUGE}{{host!="a\\"b\\n\\u0041"}}', Expression(TEMPERATURE, (Matcher("host", "!=", 'a"b\nA'),))),
        (f"{GAUGE}{{}}", Expression(TEMPERATURE)),
        (f"rate({COUNTER}[1h30m])", Expression(ENERGY, (), "rate", 5_400_000)),
        (f"increase({REQUEST_DURATION.name}_count[1d])",
         Expression(REQUEST_DURATION.count, (), "increase", DAY)),
        (f"max_over_time({GAUGE}[5m])", Expression(TEMPERATURE, (), "max_over_time", 300_000)),
        (f"sum(rate({COUNTER}[5m]))", Expression(ENERGY, (), "rate", 300_000, "sum")),
        (f"sum by (device, host) ({COUNTER})", Expression(ENERGY, (), None, None, "sum", ("device", "host"))),
        (f"avg({GAUGE}) by (device,)", Expression(TEMPERATURE, (), None, None, "avg", ("device",))),
    ],
)  # fmt: skip
def test_what_is_understood(text, expression):
    assert parsed(text) == expression


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is 'the end' instead of the name of a metric"),
        ("5", "there is '5' instead of the name of a metric"),
        (GAUGE[:-2], f"did you mean {GAUGE}"),
        (f"{COUNTER} / {COUNTER}", f"at character {len(COUNTER) + 2}: there is '/' instead of the end; .* SQL"),
        (f"{COUNTER} offset 5m", "'offset' instead of the end"),
        (f"{COUNTER}[5m]", r"'\[' instead of the end; a window is for rate"),
        (f"rate({COUNTER})", r"a window, as in rate"),
        (f"rate({COUNTER}[5m:1m])", "':' instead of"),
        (f"rate({COUNTER}[5])", "not a duration"),
        (f"rate({COUNTER}[0s])", "zero"),
        (f"rate({COUNTER}[5m]", "'the end' instead of"),
        (f"rate({GAUGE}[5m])", f"{GAUGE} is none; there is avg_over_time"),
        (f"avg_over_time({COUNTER}[5m])", f"{COUNTER} is one; there is rate"),
        (f"histogram_quantile(0.9, {COUNTER})", "there is no histogram_quantile here; there are rate, increase"),
        (f"sum without (device) ({COUNTER})", "'without' instead of"),
        (f"sum(sum({COUNTER}))", "there is no sum here"),
        (f"sum by (cpu) ({COUNTER})", f"{COUNTER} has no label cpu; it has device, host"),
        (f'{COUNTER}{{cpu="1"}}', "has no label cpu"),
        (f"{COUNTER}{{device=cpu}}", "'cpu' instead of a text"),
        (f'{COUNTER}{{device>"1"}}', "'>' instead of =, !=, =~ or !~"),
        (f'{COUNTER}{{device="\\q"}}', "stands for nothing"),
        (f'{COUNTER}{{device="x}}', "instead of a text"),
        ("x" * 1001, "at most 1000"),
    ],
)
def test_what_is_not_understood_is_named_in_one_line(text, says):
    with pytest.raises(UsageError, match=says) as refused:
        prepare("expression", {"expr": text})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "since", "step", "resolution", "seconds"),
    [
        (GAUGE, "10m", None, "raw", 5),
        (GAUGE, "1h", None, "raw", 15),
        (GAUGE, "6h", None, "1m", 300),
        (GAUGE, "30d", None, "1h", 21_600),
        (GAUGE, "1y", None, "1h", 172_800),
        (f"rate({COUNTER}[5m])", "30d", None, "1m", 21_600),
        (f"rate({COUNTER}[90s])", "30d", None, "raw", 21_600),
        (f"rate({COUNTER}[1h])", "30d", "1h", "1h", 3600),
        (f"rate({COUNTER}[1h])", "30d", "90s", "raw", 90),
    ],
)
def test_the_range_chooses_the_step_and_that_the_rows(text, since, step, resolution, seconds):
    over = prepare("expression", {"expr": text, "since": since, "step": step}).over
    assert (over.resolution, over.step_ms) == (resolution, seconds * 1000)


def machine(second):
    """Two devices that use 100 W and 50 W, of which the second begins anew after an hour, and a sensor."""
    gpu = 50 * (second if second < 3600 else second - 3600)
    return Snapshot.of(
        MIDNIGHT + second * 1000,
        [ENERGY(100 * second, device="cpu"), ENERGY(gpu, device="gpu"),
         TEMPERATURE(40 + second % 60, device="cpu", sensor="core 0"), MEMORY_USED(second, kind="anon")],
    )  # fmt: skip


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Three hours by five seconds, beside the minute; packed and rolled up."""
    return history(tmp_path_factory.mktemp("packed"), pack=True)


@pytest.fixture(scope="module")
def loose(tmp_path_factory):
    """The same as it arrives."""
    return history(tmp_path_factory.mktemp("loose"), pack=False)


def history(data, pack):
    journal = Journal(data)
    for second in range(2, 3 * 3600, 5):
        journal.append_snapshot(machine(second), "box")
    journal.close()
    ingest(data)
    if pack:
        upkeep(data, Retention(), now=MIDNIGHT / 1000 + 2 * 86_400)
    return data


@pytest.fixture(params=["packed", "loose"])
def data(request):
    return request.getfixturevalue(request.param)


def ask(data, expr, since, until, step):
    """Value by seconds after midnight and labels."""
    rows = read.query(data, "expression", {
        "expr": expr, "since": MIDNIGHT + since * 1000, "until": MIDNIGHT + until * 1000, "step": step,
    })  # fmt: skip
    return {(seconds_of(row["time"]), *row["labels"].values()): row["value"] for row in rows}


def seconds_of(text):
    hours, minutes, seconds = text[11:-1].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


@pytest.mark.parametrize(("window", "step"), [("90s", "90s"), ("5m", "1m"), ("1h", "1h")])
def test_a_rate_is_the_same_from_samples_minutes_and_hours(data, window, step):
    found = ask(data, f'rate({COUNTER}{{device="cpu"}}[{window}])', 7200, 3 * 3600, step)
    assert len(found) >= 2
    assert {round(watts, 9) for watts in found.values()} == {100}


def test_an_increase_is_not_estimated_and_a_counter_that_begins_anew_counts_from_zero(data):
    found = ask(data, f'increase({COUNTER}{{device="gpu"}}[1h])', 3600, 7200, "1h")
    # 3597 s to 3602 s counts from 0: 2 s.
    assert found == {(3600, "gpu"): 50 * 3595, (7200, "gpu"): 50 * 3597}


def test_a_window_may_be_shorter_than_the_step_and_longer(data):
    short = ask(data, f'increase({COUNTER}{{device="cpu"}}[1m])', 3600, 7200, "30m")
    long = ask(data, f'increase({COUNTER}{{device="cpu"}}[30m])', 3600, 3660, "1m")
    assert short == {(second, "cpu"): pytest.approx(6000) for second in (3600, 5400, 7200)}
    assert long == {(second, "cpu"): pytest.approx(180_000) for second in (3600, 3660)}


def test_what_lies_in_a_window_has_a_mean_a_least_and_a_most(data):
    sensor = f"{GAUGE}{{sensor=~'core.*'}}"
    for step in ("1m", "90s"):
        assert set(ask(data, f"max_over_time({sensor}[{step}])", 360, 1800, step).values()) == {97}
        assert set(ask(data, f"min_over_time({sensor}[{step}])", 360, 1800, step).values()) == {42}
    [mean] = set(ask(data, f"avg_over_time({sensor}[5m])", 3600, 7200, "1m").values())
    assert mean == pytest.approx(40 + sum(range(2, 60, 5)) / 12)


def test_a_value_is_the_last_one_until_its_step(data):
    assert ask(data, MEMORY_USED.name, 600, 720, "1m") == {(600, "anon"): 597, (660, "anon"): 657, (720, "anon"): 717}
    assert ask(data, MEMORY_USED.name, 600, 610, "5s") == {(600, "anon"): 597, (605, "anon"): 602, (610, "anon"): 607}
    # The value of a moment, where there is a sample at it, is that sample.
    assert ask(data, MEMORY_USED.name, 602, 602, "1s") == {(602, "anon"): 602}


def test_a_series_that_ended_has_no_value_a_minute_later(data):
    found = ask(data, MEMORY_USED.name, 10_700, 11_200, "5s")
    assert max(second for second, _ in found) == 10_797 + 55 + 3
    assert ask(data, f"max_over_time({GAUGE}[1m])", 10_860, 11_200, "1m") == {}
    assert ask(data, f"rate({COUNTER}[1m])", 10_860, 11_200, "1m") == {}


def test_series_are_aggregated_by_the_labels_that_are_kept(data):
    watts = f"rate({COUNTER}[5m])"
    assert ask(data, f"sum({watts})", 7200, 7200, "1m") == {(7200,): pytest.approx(150)}
    assert ask(data, f"avg by (host) ({watts})", 7200, 7200, "1m") == {(7200, "box"): pytest.approx(75)}
    assert ask(data, f"min by (device) ({watts})", 7200, 7200, "1m") == {
        (7200, "cpu"): pytest.approx(100), (7200, "gpu"): pytest.approx(50)
    }  # fmt: skip
    rows = read.query(data, "expression", {"expr": f"sum({watts})", "since": MIDNIGHT + 7_200_000,
                                           "until": MIDNIGHT + 7_200_000, "step": "1m"})  # fmt: skip
    assert [list(row) for row in rows] == [["time", "labels", "value"]]


@pytest.mark.parametrize(
    ("matchers", "devices"),
    [
        ('device="cpu"', {"cpu"}), ('device!="cpu"', {"gpu"}), ('device=~"c|g"', set()),
        ('device=~".pu"', {"cpu", "gpu"}), ('device!~"c.*"', {"gpu"}), ('device=""', set()),
        ('host="box",device=~"gpu.*"', {"gpu"}), ('host!="box"', set()),
    ],
)  # fmt: skip
def test_matchers_choose_series_as_in_prometheus(loose, matchers, devices):
    assert {device for _, device in ask(loose, f"{COUNTER}{{{matchers}}}", 600, 600, "1m")} == devices


def test_a_pattern_that_is_none_is_one_line(loose):
    with pytest.raises(UsageError, match=r"expr: not a pattern that RE2 knows: .*missing") as refused:
        ask(loose, f'{COUNTER}{{device=~"("}}', 600, 600, "1m")
    assert "\n" not in str(refused.value)


def test_what_is_not_packed_yet_goes_on_from_what_is(tmp_path):
    journal = Journal(tmp_path)
    midnight = 86_400
    for second in range(midnight - 600 + 2, midnight + 600, 5):
        journal.append_snapshot(machine(second), "box")
    journal.close()
    ingest(tmp_path)
    upkeep(tmp_path, Retention(), now=(MIDNIGHT + DAY) / 1000 + 7200)
    found = read.query(tmp_path, "expression", {
        "expr": f'rate({COUNTER}{{device="cpu"}}[5m])', "since": MIDNIGHT + (midnight - 300) * 1000,
        "until": MIDNIGHT + (midnight + 600) * 1000, "step": "1m",
    })  # fmt: skip
    assert len(found) == 16
    # The first window has nothing before its first sample.
    assert [row["value"] for row in found[1:]] == [pytest.approx(100)] * 15
