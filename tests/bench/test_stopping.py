"""Stopping early claims no more than what was measured holds."""

import math
import random

import pytest

from tokwatt_bench.statistics import summarise
from tokwatt_bench.stopping import MOST_LOOKS, Stopping, looks, relative_half_width, warm


def normal(chance):
    return 1 + chance.gauss(0, 0.02)


def skewed(chance):
    return 1 + 0.05 * math.exp(0.9 * chance.gauss(0, 1))


def hiccups(chance):
    return (1 + chance.gauss(0, 0.02)) * (1 / 0.85 if chance.random() < 0.05 else 1)


# The median of what has hiccups is a little above that of what has none.
@pytest.mark.parametrize(("draw", "true"), [(normal, 1.0), (skewed, 1.05), (hiccups, 1.0013)])
@pytest.mark.parametrize("precision", [0.01, 0.02, 0.05])
def test_the_interval_at_the_end_covers_the_truth_in_95_of_100_runs(draw, true, precision):
    chance = random.Random(7)
    hits, trials = 0, 500
    for _ in range(trials):
        stopping, values = Stopping(precision, most=40), []
        for count in stopping.looks:
            values += [draw(chance) for _ in range(count - len(values))]
            if stopping.look(values).stop:
                break
        low, high = summarise(values).ci95
        hits += low <= true <= high
    assert hits / trials >= 0.94


def test_steady_values_end_at_the_first_look_and_wild_ones_at_the_last():
    steady, wild = Stopping(0.03), Stopping(0.03)
    chance = random.Random(8)
    first = steady.look([1 + chance.gauss(0, 0.002) for _ in range(steady.looks[0])])
    assert first.stop and first.half_width < 0.01
    assert first.why.startswith("the median of 8 is known to 0.")
    decisions = [wild.look([chance.lognormvariate(0, 1) for _ in range(count)]) for count in wild.looks]
    assert [one.stop for one in decisions] == [False] * (len(wild.looks) - 1) + [True]
    assert decisions[-1].why.endswith("only after 100, the most that were allowed")


def test_a_look_asks_for_more_than_95_percent():
    values = [1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1.08, 1.09, 1.1, 1.11]
    random.Random(9).shuffle(values)
    assert Stopping(most=40).look(values).half_width > relative_half_width(values)


def test_values_that_still_fall_are_not_taken_for_as_many_independent_ones():
    falling = [1.1 - 0.005 * place for place in range(20)]
    mixed = random.Random(10).sample(falling, 20)
    assert relative_half_width(falling) > 1.5 * relative_half_width(mixed)


@pytest.mark.parametrize(("least", "most", "found"), [
    (8, 40, (8, 12, 18, 27, 40)), (8, 100, (8, 13, 22, 36, 60, 100)), (8, 8, (8,)), (3, 3, (3,)), (8, 9, (8, 9)),
])  # fmt: skip
def test_looks_are_few_and_fixed_before(least, most, found):
    assert looks(least, most) == found == Stopping(least=least, most=most).looks
    assert len(looks(8, 10_000)) == MOST_LOOKS


@pytest.mark.parametrize("values", [[], [1.0] * 5, [0.0] * 20])
def test_too_few_values_have_no_width_and_do_not_stop(values):
    assert Stopping().look(values) == (False, f"the median of {len(values)} is not known yet", None)


def test_the_last_look_ends_it_whatever_is_known():
    assert Stopping(least=3, most=3).look([1.0, 2.0, 3.0]) == (
        True, "the median is not known yet after 3, the most that were allowed", None,
    )  # fmt: skip


@pytest.mark.parametrize(("values", "at_a_time", "settled"), [
    ([], 1, False), ([5.0], 1, False), ([5.0, 1.0], 1, False), ([5.0, 1.0, 0.95], 1, True), ([1.0, 1.2], 1, True),
    ([5.0, 5.1, 5.2, 5.0], 4, False), ([5.0, 5.1, 1.0, 1.1], 2, False), ([5.0, 5.1, 1.0, 1.1, 1.0, 1.0], 2, True),
])  # fmt: skip
def test_it_is_warm_when_it_no_longer_gets_quicker(values, at_a_time, settled):
    assert warm(values, at_a_time) is settled
