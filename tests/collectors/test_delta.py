"""Counters that only grow, whatever their source does."""

from hypothesis import given
from hypothesis import strategies as st

from fakes.sysfs import FakeTime
from tokwatt_exporter.collectors.delta import Accumulator, Monotone

RAW = st.integers(0, 10**12)
SECONDS = st.floats(0.01, 3600)


def accumulator():
    clock = FakeTime()
    return clock, Accumulator(clock)


@given(st.lists(st.tuples(RAW, SECONDS, st.booleans()), min_size=1))
def test_a_total_never_falls_whatever_the_source_does(steps):
    clock, totals = accumulator()
    last = 0.0
    for raw, seconds, slept in steps:
        clock.pass_time(seconds)
        if slept:
            totals.rebase()
        total = totals.add("key", raw).total
        assert total >= last
        last = total


@given(st.lists(st.tuples(st.integers(0, 999), SECONDS), min_size=1), st.integers(0, 999))
def test_a_counter_that_wraps_loses_nothing(growths, start):
    clock, totals = accumulator()
    truth = start
    totals.add("key", truth % 1000, wrap=1000)
    for grown, seconds in growths:
        clock.pass_time(seconds)
        truth += grown
        step = totals.add("key", truth % 1000, wrap=1000)
    assert step.total == truth - start


@given(RAW, RAW, SECONDS)
def test_a_counter_that_starts_again_counts_from_zero(before, after, seconds):
    clock, totals = accumulator()
    totals.add("key", before + after + 1)
    clock.pass_time(seconds)
    assert totals.add("key", after).total == after


@given(st.lists(st.tuples(RAW, SECONDS), min_size=2, max_size=2), RAW, SECONDS)
def test_what_was_counted_during_sleep_is_left_out(reads, asleep, seconds):
    clock, totals = accumulator()
    (first, _), (grown, awake) = reads
    totals.add("key", first)
    clock.pass_time(awake)
    before = totals.add("key", first + grown)
    clock.pass_time(seconds)
    totals.rebase()
    step = totals.add("key", first + grown + asleep)
    assert step == (before.total, None)


@given(RAW, RAW, SECONDS)
def test_the_rate_is_the_mean_over_the_interval(first, grown, seconds):
    clock, totals = accumulator()
    assert totals.add("key", first).rate is None
    clock.pass_time(seconds)
    step = totals.add("key", first + grown)
    assert abs(step.rate * seconds - grown) <= 1e-4 * max(grown, 1)


def test_no_time_gives_no_rate_instead_of_dividing_by_it():
    _, totals = accumulator()
    totals.add("key", 1)
    assert totals.add("key", 5) == (4, None)


@given(st.lists(st.tuples(st.floats(0, 1e6), SECONDS), min_size=2))
def test_an_integral_is_the_trapezoid_under_the_rate(points):
    clock, totals = accumulator()
    area = 0.0
    for index, (rate, seconds) in enumerate(points):
        if index:
            clock.pass_time(seconds)
            area += (points[index - 1][0] + rate) / 2 * seconds
        step = totals.integrate("key", rate)
    assert abs(step.total - area) <= 1e-6 * max(area, 1)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), SECONDS), min_size=2))
def test_an_integral_never_falls(points):
    clock, totals = accumulator()
    last = 0.0
    for rate, seconds in points:
        clock.pass_time(seconds)
        total = totals.integrate("key", rate).total
        assert total >= last
        last = total


def test_the_mean_of_an_integrated_rate_is_that_of_the_interval():
    clock, totals = accumulator()
    assert totals.integrate("key", 100).rate == 100
    clock.pass_time(5)
    assert totals.integrate("key", 200).rate == 150


def test_an_integral_does_not_bridge_a_sleep():
    clock, totals = accumulator()
    totals.integrate("key", 100)
    clock.pass_time(5)
    totals.integrate("key", 100)
    totals.rebase()
    clock.pass_time(3600)
    assert totals.integrate("key", 100) == (500, 100)


def test_a_rebase_of_one_key_leaves_the_others():
    clock, totals = accumulator()
    for key in ("lost", "kept"):
        totals.add(key, 0)
    totals.rebase("lost", "never seen")
    clock.pass_time(1)
    assert totals.add("lost", 10).total == 0
    assert totals.add("kept", 10).total == 10


def test_keys_do_not_mix():
    _, totals = accumulator()
    totals.add("a", 100)
    totals.add("b", 5)
    assert totals.add("b", 6).total == 1


def test_a_raw_value_above_its_own_wrap_is_a_reset():
    _, totals = accumulator()
    totals.add("key", 5000, wrap=1000)
    assert totals.add("key", 10, wrap=1000).total == 10


def test_a_counter_since_boot_starts_at_its_source():
    assert Monotone().add("key", 42) == 42


@given(st.lists(RAW, min_size=1))
def test_a_counter_since_boot_never_falls(values):
    counter = Monotone()
    totals = [counter.add("key", value) for value in values]
    assert totals == sorted(totals)


def test_a_counter_since_boot_goes_on_after_a_fall_of_its_source():
    counter = Monotone()
    for value in (100, 90, 95):
        total = counter.add("key", value)
    assert total == 105
