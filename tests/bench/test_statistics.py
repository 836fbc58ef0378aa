import math
import random
import statistics as standard

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokwatt_bench.statistics import median, median_interval, quantile, summarise

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
    assert none.as_json() == {"p50": None, "p95": None, "p99": None, "ci95": None, "count": 0}
    assert none.reasons == {"": "no request succeeded"}


def test_samples_that_depend_on_each_other_get_the_interval_of_their_units():
    gaps = [0.01] * 600 + [0.5] * 40
    assert summarise(gaps, [0.01, 0.01, 0.01]).ci95 is None
    assert summarise(gaps, [0.01, 0.01, 0.01]).reasons == {"ci95": "needs 6 requests, there are 3"}
    assert summarise(gaps, [1, 2, 3, 4, 5, 6]).ci95 == (1, 6)
