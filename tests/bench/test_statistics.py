import math
import random
import statistics as standard

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokwatt_bench.statistics import (
    median,
    median_interval,
    quantile,
    quantile_interval,
    steady_interval,
    summarise,
    summarise_groups,
)

numbers = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)
samples = st.lists(numbers, min_size=1, max_size=60)


def test_quantiles_interpolate_between_the_two_nearest_samples():
    assert quantile([4, 1, 3, 2], 0.5) == 2.5
    assert quantile([1, 2, 3, 4, 5], 0.95) == pytest.approx(4.8)
    assert quantile(range(1, 101), 0.99) == pytest.approx(99.01)
    assert quantile([7], 0.99) == 7


@given(samples, st.floats(0, 1))
def test_a_quantile_lies_within_its_samples(values, q):
    assert min(values) <= quantile(values, q) <= max(values)


@given(samples)
def test_the_median_is_that_of_the_standard_library(values):
    assert median(values) == pytest.approx(standard.median(values), rel=1e-12, abs=1e-300)


@given(st.lists(numbers, min_size=2, max_size=60))
def test_quantiles_are_those_of_the_standard_library(values):
    for percent, cut in enumerate(standard.quantiles(values, n=100, method="inclusive"), 1):
        assert quantile(values, percent / 100) == pytest.approx(cut, rel=1e-9, abs=1e-6)


# From the binomial tables in every book: the largest k with P(X < k) at most 0.025.
@pytest.mark.parametrize(
    ("count", "rank"), [(6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (15, 4), (20, 6), (25, 8), (30, 10), (50, 18)]
)
def test_the_interval_has_the_ranks_of_the_binomial_tables(count, rank):
    assert median_interval(range(1, count + 1)) == (rank, count + 1 - rank)


@pytest.mark.parametrize("count", range(6))
def test_fewer_than_six_samples_have_no_interval(count):
    assert median_interval(list(range(count))) is None


@pytest.mark.parametrize("count", [6, 7, 10, 33, 100, 999, 1000, 1001])
def test_the_interval_holds_what_it_promises_and_no_narrower_one_would(count):
    low, _ = median_interval(range(1, count + 1))

    def missed(rank):
        return 2 * sum(math.comb(count, i) for i in range(rank)) / 2**count

    assert missed(low) <= 0.05 * (1.02 if count >= 1000 else 1)
    assert missed(low + 1) > 0.05 * (0.98 if count >= 1000 else 1)


@given(st.lists(numbers, min_size=6, max_size=60))
def test_the_interval_is_made_of_samples_around_the_median(values):
    low, high = median_interval(values)
    assert low in values and high in values
    assert low <= median(values) <= high


@pytest.mark.parametrize("draw", ["gauss", "skewed"])
def test_the_interval_covers_the_true_median_in_95_of_100_runs(draw):
    chance = random.Random(20261123)
    true = {"gauss": 10.0, "skewed": 1.0}[draw]
    one = {"gauss": lambda: chance.gauss(10, 2), "skewed": lambda: chance.lognormvariate(0, 1)}[draw]
    hits = 0
    for _ in range(2000):
        low, high = median_interval([one() for _ in range(10)])
        hits += low <= true <= high
    # Ten samples give 97.9 %; two standard errors of 2000 trials are 0.6 %.
    assert 0.968 <= hits / 2000 <= 0.99


def test_too_few_samples_for_a_quantile_are_a_reason_and_no_number():
    few = summarise([float(value) for value in range(19)])
    assert (few.p50, few.p95, few.p99) == (9.0, None, None)
    assert few.reasons == {"p95": "needs 20 samples, there are 19", "p99": "needs 100 samples, there are 19"}
    assert summarise([float(value) for value in range(20)]).p95 is not None
    assert summarise([float(value) for value in range(99)]).p99 is None
    assert summarise([float(value) for value in range(100)]).reasons == {}


def test_no_sample_at_all_has_one_reason_for_all():
    none = summarise([], why_none="no request succeeded")
    assert none.as_json() == {
        "p50": None, "p95": None, "p99": None, "ci95": None, "count": 0, "max": None, "intervals": {},
    }  # fmt: skip
    assert none.reasons == {"": "no request succeeded"}


# The first numbers of samples in which both tails beyond an interval of 95 % have room.
@pytest.mark.parametrize(("q", "fewest"), [(0.95, 72), (0.99, 368)])
def test_the_interval_of_a_tail_takes_enough_samples_beyond_it(q, fewest):
    assert quantile_interval(range(fewest - 1), q) is None
    assert quantile_interval(range(fewest), q)[1] == fewest - 1


@pytest.mark.parametrize(
    ("q", "z", "count"), [(0.5, 0, 30), (0.95, 1.6449, 80), (0.95, 1.6449, 300), (0.99, 2.3263, 400)]
)
def test_the_interval_of_a_quantile_covers_it_in_95_of_100_runs(q, z, count):
    chance = random.Random(20261126)
    hits = 0
    for _ in range(500):
        low, high = quantile_interval([chance.lognormvariate(0, 1) for _ in range(count)], q)
        hits += low <= math.exp(z) <= high
    assert hits / 500 >= 0.935


@pytest.mark.parametrize(("memory", "count"), [(0.3, 20), (0.5, 40), (0.8, 60)])
def test_samples_that_remember_the_one_before_get_a_wider_interval(memory, count):
    chance = random.Random(20261126)
    hits = plain = 0
    for _ in range(500):
        value, values = chance.gauss(0, 1) / (1 - memory**2) ** 0.5, []
        for _ in range(count):
            value = memory * value + chance.gauss(0, 1)
            values.append(value)
        low, high = steady_interval(values)
        hits += low <= 0 <= high
        low, high = median_interval(values)
        plain += low <= 0 <= high
    assert plain / 500 < 0.92 < hits / 500


def test_the_tail_of_a_few_is_their_largest_and_that_of_many_has_an_interval():
    few = summarise([3.0, 9.0, 1.0])
    assert (few.p99, few.max, few.intervals) == (None, 9.0, {})
    many = summarise([float(value) for value in range(400)])
    assert many.intervals.keys() == {"p95", "p99"}
    assert all(low < getattr(many, name) < high for name, (low, high) in many.intervals.items())
    assert many.as_json()["intervals"]["p95"] == list(many.intervals["p95"])


def test_the_gaps_of_answers_are_pooled_and_their_tail_is_as_sure_as_there_are_answers():
    chance = random.Random(20261126)
    answers = [[chance.lognormvariate(-4, 0.3) for _ in range(60)] for _ in range(20)]
    found = summarise_groups([*answers, []])
    assert found.count == 1200
    assert found.ci95[0] <= found.p50 <= found.ci95[1]
    assert found.intervals.keys() == {"p95", "p99"}
    low, high = found.intervals["p99"]
    assert low <= found.p99 <= high
    slow = [[gap * (1 + number % 4) for gap in answer] for number, answer in enumerate(answers)]
    low, high = summarise_groups(slow).intervals["p95"]
    # As if each gap were a sample of its own.
    narrow, wide = quantile_interval([gap for answer in slow for gap in answer], 0.95)
    assert high - low > 1.5 * (wide - narrow)
    few = summarise_groups(answers[:7])
    assert (few.ci95, few.reasons["ci95"]) == (None, "needs 8 requests, there are 7")
    assert summarise_groups([[], []], "no answer had two chunks").reasons == {"": "no answer had two chunks"}
