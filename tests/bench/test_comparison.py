"""What is said of two sets of measurements: planted differences are found, and none is claimed where there is none."""

import math
import random

import pytest

from tokwatt_bench.comparison import (
    EQUIVALENT,
    FASTER,
    NO_DIFFERENCE,
    SLOWER,
    compare,
    compare_intervals,
    compare_runs,
)

#: Each as far from no difference as the others, with one in thirty that had a hiccup.
NOISE, HICCUP = 0.012, 0.15


def seconds(chance, truth=1.0):
    return truth * math.exp(chance.gauss(0, NOISE)) * (1 + HICCUP if chance.random() < 1 / 30 else 1)


def in_turns(chance, pairs, difference, warming=0.0):
    """Two servers asked in turns, ABBA, while the machine gets slower by `warming`."""
    found = ([], [])
    for pair in range(pairs):
        for turn, which in enumerate((0, 1) if pair % 2 == 0 else (1, 0)):
            slower = 1 + warming * (1 - math.exp(-(2 * pair + turn) / 6))
            found[which].append(seconds(chance, (1 + difference * which) * slower))
    return found


def one_after_the_other(chance, count, difference, warming=0.0):
    found = [seconds(chance, 1 + warming * (1 - math.exp(-place / 6))) for place in range(2 * count)]
    return found[:count], [value * (1 + difference) for value in found[count:]]


@pytest.mark.parametrize("warming", [0.0, 0.06, 0.15])
def test_five_percent_are_found_in_95_of_100_runs_in_turns_whatever_drifts(warming):
    chance = random.Random(1)
    found = [compare(*in_turns(chance, 12, 0.05, warming), paired=True, words=SLOWER) for _ in range(100)]
    assert sum(one.verdict == "slower" for one in found) >= 95
    assert sum(one.ci95[0] <= 1.05 <= one.ci95[1] for one in found) >= 90


@pytest.mark.parametrize("warming", [0.0, 0.06, 0.15])
def test_no_difference_is_claimed_in_95_of_100_equal_pairs_whatever_drifts(warming):
    chance = random.Random(2)
    found = [
        compare(*in_turns(chance, 12, 0.0, warming), paired=True, words=SLOWER, margin=0, confidence=0.975)
        for _ in range(200)
    ]
    assert sum(one.verdict == NO_DIFFERENCE for one in found) >= 190


def test_without_pairs_a_difference_is_found_too_where_nothing_drifts():
    chance = random.Random(3)
    found = [compare(*one_after_the_other(chance, 12, 0.05), words=SLOWER) for _ in range(100)]
    assert sum(one.verdict == "slower" for one in found) >= 95
    equal = [compare(*one_after_the_other(chance, 12, 0.0), words=SLOWER, margin=0) for _ in range(100)]
    assert sum(one.verdict == NO_DIFFERENCE for one in equal) >= 95


@pytest.mark.parametrize("warming", [0.06, 0.15])
def test_a_machine_that_warms_does_not_make_the_second_slower(warming):
    chance = random.Random(4)
    found = [compare(*one_after_the_other(chance, 12, 0.0, warming), words=SLOWER, margin=0) for _ in range(100)]
    assert sum(one.verdict == NO_DIFFERENCE for one in found) >= 92
    assert sum(one.drift is not None for one in found) >= 90


def test_a_drift_is_said_and_widens_the_interval():
    falling = [1 - 0.01 * place for place in range(10)]
    mixed = [falling[place] for place in (3, 8, 1, 6, 0, 9, 4, 7, 2, 5)]
    drifting, steady = compare(falling, mixed), compare(mixed, mixed)
    assert steady.drift is None
    assert drifting.drift == pytest.approx(0.08, abs=0.02)
    assert drifting.ci95[1] / drifting.ci95[0] > 1.1 * steady.ci95[1] / steady.ci95[0]


def test_one_hiccup_decides_nothing():
    a = [1.0, 1.01, 0.99, 1.005, 0.995, 1.0, 1.01, 0.99]
    b = [value * 1.05 for value in (1.0, 1.01, 0.99, 1.005, 0.995, 1.0, 1.01)] + [9.0]
    found = compare(a, b, words=SLOWER)
    assert found.verdict == "slower"
    assert found.ratio == pytest.approx(1.05, abs=0.01)
    assert compare(a, b, paired=True, words=SLOWER).verdict == "slower"


def test_the_ratio_is_the_second_by_the_first_and_turns_around():
    chance = random.Random(5)
    a, b = [seconds(chance) for _ in range(20)], [seconds(chance, 1.2) for _ in range(20)]
    there, back = compare(a, b, words=SLOWER), compare(b, a, words=SLOWER)
    assert (there.verdict, back.verdict) == ("slower", "faster")
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert there.ci95[0] == pytest.approx(1 / back.ci95[1])
    assert compare(a, b, words=FASTER).verdict == "faster"
    assert compare(a, b).verdict == "higher"


def test_a_difference_within_the_margin_is_none_that_matters():
    chance = random.Random(6)
    a = [math.exp(chance.gauss(0, 0.002)) for _ in range(30)]
    b = [value * 1.01 for value in a]
    assert compare(a, b, margin=0.02).verdict == EQUIVALENT
    assert compare(a, b, margin=0.005).verdict == "higher"
    # Not shown to be different is not shown to be the same.
    wild = [chance.lognormvariate(0, 0.5) for _ in range(30)]
    assert compare(wild, wild[::-1], margin=0.02).verdict == NO_DIFFERENCE


def test_clients_that_may_differ_make_a_difference_of_theirs_none():
    a, b = [1.0 + 0.001 * place for place in range(8)], [1.03 + 0.001 * place for place in range(8)]
    assert compare(a, b, off=0.0).verdict == "higher"
    assert compare(a, b, off=0.05).verdict == NO_DIFFERENCE


@pytest.mark.parametrize(("a", "b", "paired", "said"), [
    ([1.0] * 5, [2.0] * 9, False, "needs 6 requests of each, there are 5 and 9"),
    ([1.0] * 5, [2.0] * 5, True, "needs 6 pairs, there are 5"),
    ([1.0] * 9, [], False, "only one has it"), ([], [], True, "nothing was measured"),
    ([1.0] * 9, [0.0] * 9, False, "a value of 0 has no ratio"),
])  # fmt: skip
def test_too_few_values_have_a_reason_and_no_verdict(a, b, paired, said):
    found = compare(a, b, paired=paired)
    assert (found.verdict, found.ci95, found.reason) == (None, None, said)


def test_too_few_values_have_a_ratio_all_the_same():
    assert compare([1.0] * 2, [2.0] * 3).ratio == compare([1.0] * 2, [2.0] * 2, paired=True).ratio == 2


def test_values_without_any_noise_are_the_same_or_are_not():
    assert compare([3.0] * 8, [3.0] * 8).verdict == EQUIVALENT
    assert compare([3.0] * 8, [4.0] * 8).verdict == "higher"
    assert compare([1e-300, 1e300] * 4, [1e300, 1e-300] * 4).ci95 == (math.exp(-700), math.exp(700))


def test_sides_of_different_length_are_no_pairs():
    with pytest.raises(ValueError, match="two sides"):
        compare([1.0], [1.0, 2.0], paired=True)


def run_of_a_day(chance, truth=1.0):
    """Ten requests on a day that is up to some percent different from others."""
    day = math.exp(chance.gauss(0, 0.03))
    return [seconds(chance, truth * day) for _ in range(10)]


def test_what_differs_between_days_is_no_difference():
    chance = random.Random(7)
    days, pooled = [], []
    for _ in range(200):
        a, b = [run_of_a_day(chance) for _ in range(5)], [run_of_a_day(chance)]
        days.append(compare_runs(a, b, margin=0))
        pooled.append(compare(a[0], b[0], margin=0))
    assert sum(one.verdict == NO_DIFFERENCE for one in days) >= 185
    # One run beside another knows nothing of days.
    assert sum(one.verdict == NO_DIFFERENCE for one in pooled) < 120
    found = [
        compare_runs([run_of_a_day(chance) for _ in range(5)], [run_of_a_day(chance, 1.3)], words=SLOWER)
        for _ in range(100)
    ]
    assert sum(one.verdict == "slower" for one in found) >= 95


def test_runs_are_too_few_to_know_how_they_differ():
    assert compare_runs([[1.0], [1.1]], [[1.0]]).reason == "needs 4 runs, there are 2 and 1"
    assert compare_runs([[1.0], [1.1], [1.05], [1.0]], []).reason == "needs 4 runs, there are 4 and 0"
    assert compare_runs([[1.0], [1.1], [1.05]], [[1.0], []]).verdict == NO_DIFFERENCE


def test_of_medians_their_intervals_say_what_can_be_said():
    near, far = (1.0, (0.98, 1.02)), (1.1, (1.08, 1.12))
    assert compare_intervals(near, far, words=SLOWER).verdict == "slower"
    assert compare_intervals(far, near, words=SLOWER).verdict == "faster"
    assert compare_intervals(near, (1.02, (1.0, 1.05)), words=SLOWER).verdict == NO_DIFFERENCE
    wide = compare_intervals(near, far, confidence=0.99).ci95
    low, high = compare_intervals(near, far).ci95
    assert wide[0] < low < 1.1 < high < wide[1]
    assert compare_intervals(near, (0.0, (0.0, 1.0))).reason == "a value of 0 has no ratio"
