"""The block bootstrap: its intervals hold what they promise, also where requests depend on each other."""

import math
import random
import time

import pytest

from tokwatt_bench.bootstrap import (
    autocorrelation,
    block_length,
    inflation,
    interval,
    pooled_quantile_interval,
    ratio_interval,
    students_t,
)
from tokwatt_bench.statistics import median, quantile, steady_interval


def mean(values):
    return sum(values) / len(values)


def remembering(chance, count, memory):
    """Values around 100, each with so much of the one before."""
    value, values = chance.gauss(0, 1) / (1 - memory**2) ** 0.5, []
    for _ in range(count):
        value = memory * value + chance.gauss(0, 1)
        values.append(100 + value)
    return values


# From the tables in every book.
@pytest.mark.parametrize(("probability", "freedom", "t"), [
    (0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 5, 2.5706), (0.975, 9, 2.2622), (0.975, 30, 2.0423),
    (0.99, 4, 3.7469), (0.995, 10, 3.1693), (0.975, 500, 1.96),
])  # fmt: skip
def test_students_distribution_is_that_of_the_tables(probability, freedom, t):
    assert students_t(probability, freedom) == pytest.approx(t, abs=1e-3)


@pytest.mark.parametrize(("memory", "count", "statistic"), [
    (0.0, 20, mean), (0.0, 20, median), (0.0, 60, mean), (0.3, 60, mean), (0.5, 60, mean), (0.5, 60, median),
])  # fmt: skip
def test_the_interval_covers_the_truth_in_92_of_100_runs_and_more(memory, count, statistic):
    chance = random.Random(count)
    hits = 0
    for seed in range(200):
        low, high = interval(remembering(chance, count, memory), statistic, seed=seed, most=400)
        hits += low <= 100 <= high
    assert hits / 200 >= 0.92


#: How values of requests come about that a machine really has: each of its number in the run.
PACES = {
    "normal": lambda chance, place: chance.gauss(100, 2),
    "skewed": lambda chance, place: 100 * chance.lognormvariate(0, 0.2),
    "of two kinds": lambda chance, place: chance.gauss(100 if chance.random() < 0.7 else 130, 1),
    "warming up": lambda chance, place: 100 * (1.06 - 0.06 * math.exp(-place / 6)) * chance.gauss(1, 0.012),
}


def coverage(draw, find, truth, trials, count, seed=7):
    """The share of intervals that hold the truth, and how many of the runs had one."""
    chance, found = random.Random(seed), []
    for _ in range(trials):
        found += filter(None, [find([draw(chance, place) for place in range(count)])])
    return sum(low <= truth <= high for low, high in found) / max(len(found), 1), len(found)


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("count", [8, 9, 12, 20, 30])
def test_the_printed_interval_of_a_median_holds_it_in_93_of_100_runs_and_more(pace, count):
    chance = random.Random(1)
    truth = median([PACES[pace](chance, place) for _ in range(40_000 // count) for place in range(count)])
    held, known = coverage(PACES[pace], steady_interval, truth, 600, count)
    # One standard error of 600 runs is 0.9 %.
    assert (held >= 0.94, known) == (True, 600)


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize(("count", "q"), [(8, 0.5), (12, 0.5), (30, 0.5), (20, 0.95), (30, 0.99)])
def test_the_printed_interval_of_a_quantile_of_gaps_holds_it(pace, count, q):
    def answer(chance, place):
        # One gap of a hundred is a pause.
        slow = PACES[pace](chance, place)
        return [slow * chance.lognormvariate(0, 0.2) * (5 if chance.random() < 0.01 else 1) for _ in range(40)]

    chance = random.Random(1)
    truth = quantile([gap for _ in range(2400 // count) for place in range(count) for gap in answer(chance, place)], q)
    held, known = coverage(answer, lambda groups: pooled_quantile_interval(groups, q), truth, 100, count)
    # One standard error of 100 runs is 2 %.
    assert held >= 0.91 and known >= (90 if q == 0.5 else 50)


@pytest.mark.parametrize("pace", PACES)
def test_the_printed_interval_of_a_sum_by_a_sum_holds_it(pace):
    count = 12

    def request(chance, place):
        tokens = chance.randrange(50, 200)
        return tokens * PACES[pace](chance, place), tokens

    chance = random.Random(1)
    drawn = [request(chance, place) for _ in range(40_000 // count) for place in range(count)]
    truth = sum(joules for joules, _ in drawn) / sum(tokens for _, tokens in drawn)
    held, known = coverage(request, ratio_interval, truth, 150, count)
    # One standard error of 150 runs is 2 %; thousands of them have 93 % or more.
    assert (held >= 0.91, known) == (True, 150)


def test_many_requests_are_added_up_before_they_are_drawn():
    chance = random.Random(3)
    parts = [(chance.gauss(50, 5), 100.0) for _ in range(20_000)]
    low, high = ratio_interval(parts)
    assert low < 0.5 < high and high - low < 0.004


def test_without_blocks_what_depends_on_each_other_would_be_claimed_too_narrowly():
    chance = random.Random(1)
    hits = {None: 0, 1: 0}
    for _ in range(100):
        values = remembering(chance, 60, 0.5)
        for blocks in hits:
            low, high = interval(values, mean, blocks=blocks, most=400)
            hits[blocks] += low <= 100 <= high
    assert hits[1] < 85 < hits[None]


def test_a_ratio_of_sums_has_an_interval_too():
    chance = random.Random(2)
    hits = 0
    for _ in range(150):
        tokens = [chance.randrange(50, 200) for _ in range(30)]
        requests = [(count * 0.5 * chance.gauss(1, 0.1), count) for count in tokens]
        low, high = interval(
            requests, lambda drawn: sum(j for j, _ in drawn) / sum(t for _, t in drawn), blocks=1, most=400
        )
        hits += low <= 0.5 <= high
    assert hits / 150 >= 0.92


@pytest.mark.parametrize(("q", "differ"), [(0.05, 0.1), (0.5, 0.2), (0.95, 0.2), (0.99, 0.1)])
def test_the_quantile_of_all_gaps_is_as_sure_as_there_are_answers(q, differ):
    chance = random.Random(3)

    def gaps():
        # An answer is slow or quick as a whole.
        pace = chance.lognormvariate(0, differ)
        return [pace * chance.lognormvariate(0, 0.3) for _ in range(50)]

    truth = quantile([gap for _ in range(4_000) for gap in gaps()], q)
    found = [pooled_quantile_interval([gaps() for _ in range(40)], q) for _ in range(200)]
    known = [pair for pair in found if pair]
    assert len(known) >= 150
    assert sum(low <= truth <= high for low, high in known) / len(known) >= 0.92


def test_a_tail_that_is_made_of_a_few_answers_is_not_known():
    answers = [[1.0 + 0.001 * place for place in range(50)] for _ in range(40)]
    assert pooled_quantile_interval(answers, 0.95) is not None
    assert pooled_quantile_interval([[9.0] * 50, *answers[1:]], 0.99) is None


def test_the_interval_is_around_what_it_is_of():
    groups = [[0.01 * (1 + (place + number) % 7) for place in range(40)] for number in range(20)]
    pooled = [gap for group in groups for gap in group]
    low, high = pooled_quantile_interval(groups, 0.9)
    assert low <= quantile(pooled, 0.9) <= high


def test_the_same_values_and_seed_give_the_same_interval():
    values = [random.Random(4).gauss(10, 1) for _ in range(50)]
    assert interval(values, median, seed=1) == interval(values, median, seed=1)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0] * 3])
def test_too_few_values_have_no_interval(values):
    assert interval(values, median) is None
    assert pooled_quantile_interval([values], 0.5) is None


def test_too_few_beyond_a_quantile_have_no_interval():
    groups = [[float(place) for place in range(10)] for _ in range(10)]
    assert pooled_quantile_interval(groups, 0.8) is not None
    assert pooled_quantile_interval(groups, 0.99) is None


def test_a_statistic_that_some_draws_lack_has_no_interval():
    values = [0.0] * 9 + [1.0]
    assert interval(values, lambda drawn: mean(drawn) or None) is None


def test_values_that_are_all_the_same_have_an_interval_without_width():
    assert interval([3.0] * 20, median) == (3.0, 3.0)


def test_blocks_are_as_long_as_values_remember():
    chance = random.Random(5)
    assert block_length([chance.gauss(0, 1) for _ in range(400)]) == 1
    short, long = block_length(remembering(chance, 400, 0.4)), block_length(remembering(chance, 400, 0.9))
    assert 1 < short < long <= 80
    # Of what is no number nothing is known.
    assert block_length([(1, 2)] * 64) == 4
    assert autocorrelation([1.0] * 10) == 0 == autocorrelation([1.0, 2.0])
    assert inflation(0.0) == 1
    assert inflation(0.5) == pytest.approx(3**0.5)
    assert inflation(0.5, 10) < 1.2


@pytest.mark.parametrize("statistic", [mean, median])
def test_a_thousand_requests_take_a_moment(statistic):
    values = [random.Random(6).gauss(10, 1) for _ in range(1000)]
    began = time.process_time()
    assert interval(values, statistic) is not None
    # A tenth of it on a quiet machine; the tests' own limit is for one that is not.
    assert time.process_time() - began < 3
