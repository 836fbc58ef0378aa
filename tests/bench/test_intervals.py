"""Intervals of figures that are one number for a run: what they are around, and where there is none."""

import random
import re

import pytest

from tokwatt_bench import intervals
from tokwatt_bench.calibration import Calibration
from tokwatt_bench.energy import Use
from tokwatt_bench.explain import BY_NAME
from tokwatt_bench.goodput import Objective
from tokwatt_bench.load import Round, Run
from tokwatt_bench.plan import Plan
from tokwatt_bench.report import result_table
from tokwatt_bench.request import Request
from tokwatt_bench.result import result
from tokwatt_bench.rounds import Took
from tokwatt_bench.target import Target
from tokwatt_exporter.engines.scan import adapter
from tokwatt_exporter.streams.answer import Chunk

SECOND = 1_000_000_000
TARGET = Target("vllm", "vllm", None, "http://10.0.0.1:8000", "m", adapter("vllm"), None, None, False)


def request(index, start, seconds, tokens=10, **more):
    found = Request(index, "measured", 0, prompt_tokens=50, cached_tokens=0, generated_tokens=tokens,
                    first_token_seconds=seconds / 10, duration_seconds=seconds, connect_seconds=0.0,
                    busy_seconds=seconds, ended_ns=round((start + seconds) * SECOND), **more)  # fmt: skip
    gap = seconds * 0.9 / (tokens - 1)
    found.chunks = [Chunk(round((start + seconds / 10 + gap * place) * SECOND), True, 3) for place in range(tokens)]
    found.offsets_ns = [chunk.at_ns - round(start * SECOND) for chunk in found.chunks]
    return found


def closed(lanes, count, spread, seed=1, **plan):
    """A round of a closed loop, a second an answer, more or less."""
    chance, free, found = random.Random(seed), [0.0] * lanes, []
    for index in range(count):
        lane = free.index(min(free))
        seconds = chance.gauss(1, spread)
        found.append(request(index, free[lane], seconds))
        free[lane] += seconds
    took = Took(0, round(min(free) * SECOND), round(max(free) * SECOND))
    made = Plan(target=TARGET, runs=count, concurrency=lanes, **plan)
    return Run(made, 0, rounds=[Round("measured", took, found)])


def alone(count, watts=50.0, idle=20.0, seed=1, idle_off=0.02):
    """Requests one after the other, with energy that differs by a twentieth; an idle machine that was watched."""
    chance, found = random.Random(seed), []
    for index in range(count):
        joules = watts * chance.gauss(1, 0.05)
        line = tuple((index + part / 10, joules * part / 10) for part in range(11))
        use = Use(joules, 1.0, {"package": 10}, ("package",), line)
        found.append(
            Round("measured", Took(index * SECOND, 0, (index + 1) * SECOND), [request(index, index, 1.0)], use)
        )
    at, joules, line = 0.0, 0.0, [(0.0, 0.0)]
    for _ in range(25):
        at, joules = at + 0.2, joules + 0.2 * idle * chance.gauss(1, idle_off)
        line.append((at, joules))
    run = Run(Plan(target=TARGET, runs=count), 0, rounds=found)
    run.idle = Use(joules, at, {"package": 25}, ("package",), tuple(line))
    return run


def test_throughput_has_an_interval_around_it():
    found = result(closed(4, 60, 0.1))
    for name in ("generation_tokens_per_second", "requests_per_second"):
        low, high = found["intervals"][f"throughput.{name}"]
        assert low < found["throughput"][name] < high < low * 1.2


def test_the_interval_of_throughput_holds_the_truth():
    # Lanes that are busy all the time give as many answers a second as there are of them.
    held = 0
    for seed in range(60):
        low, high = result(closed(4, 48, 0.2, seed))["intervals"]["throughput.requests_per_second"]
        held += low <= 4 <= high
    assert held >= 54


def test_lanes_that_slow_down_together_are_no_independent_ones():
    run = closed(4, 60, 0.02)
    narrow = result(run)["intervals"]["throughput.requests_per_second"]
    for place, request in enumerate(run.measured):
        request.busy_seconds *= 1.0 + 0.3 * (place // 4 % 2)
    wide = result(run)["intervals"]["throughput.requests_per_second"]
    assert (wide[1] - wide[0]) > 4 * (narrow[1] - narrow[0])


def test_too_few_rounds_of_all_lanes_have_no_interval_but_a_reason():
    found = result(closed(8, 24, 0.1))
    assert "throughput.requests_per_second" not in found["intervals"]
    assert "too few requests" in found["reasons"]["throughput.requests_per_second.ci95"]


def test_goodput_has_that_of_a_share():
    run = closed(2, 40, 0.1, objective=Objective(duration=1.05))
    found = result(run)
    low, high = found["intervals"]["goodput.ratio"]
    assert low < found["goodput"]["ratio"] < high
    low, high = found["intervals"]["goodput.requests_per_second"]
    assert low < found["goodput"]["requests_per_second"] < high
    all_good = result(closed(2, 40, 0.1, objective=Objective(duration=9.0)))
    low, high = all_good["intervals"]["goodput.ratio"]
    # Forty of forty are not all there are.
    assert 0.8 < low < 0.95 and high == pytest.approx(1)


def test_energy_has_the_idle_powers_uncertainty_in_it():
    found = result(alone(12))
    for name in ("energy.per_token_gross_joules", "energy.tokens_per_joule", "energy.idle_watts"):
        low, high = found["intervals"][name]
        assert low < found["energy"][name.removeprefix("energy.")] < high
    low, high = found["intervals"]["energy_per_token_joules"]
    assert low < found["energy_per_token_joules"] < high
    assert found["energy_per_token_joules"] == pytest.approx(3, rel=0.1)
    middle = found["energy_per_token_joules"]
    # 12 seconds and 120 tokens; what the idle machine uses is known less well, and the rest as well as before.
    unsure = alone(12, idle_off=0.3)
    assert unsure.idle.joules == pytest.approx(100, rel=0.2)
    less, more = result(unsure)["intervals"]["energy_per_token_joules"]
    other = result(unsure)["energy_per_token_joules"]
    assert other - less > 1.3 * (middle - low) and more - other > 1.3 * (high - middle)
    low, high = found["intervals"]["energy.decode_per_token_joules"]
    assert low < found["energy"]["decode_per_token_joules"] < high


def test_idle_power_that_was_seen_for_a_moment_only_has_no_interval():
    assert intervals.idle_interval(None) is None
    assert intervals.idle_interval(Use(20, 1, {"package": 6}, ("package",), ((0, 0), (0.5, 10), (1, 20)))) is None
    few = result(alone(7))
    assert "energy_per_token_joules" not in few["intervals"]
    assert few["energy_per_token_joules"] is not None


def test_the_clients_errors_have_theirs():
    run = alone(8)
    run.calibration = Calibration(1, 30, (1e-4, 2e-4), (0.8e-4, 1.1e-4), 0.001, (-0.001, 0.002), 0.0, 0.04)
    found = result(run)
    assert found["calibration"]["time_to_first_token_error_seconds"]["ci95"] == [0.8e-4, 1.1e-4]
    assert found["intervals"]["calibration.inter_token_latency_error_ratio"] == [-0.001, 0.002]


def test_the_terminal_has_them_under_the_names_that_explain_has(capsys):
    result_table(result(alone(12)))
    result_table(result(closed(4, 60, 0.1, objective=Objective(duration=1.05))))
    out = capsys.readouterr().out
    for name in ("time_to_first_token_seconds", "generation_tokens_per_second", "prompt_tokens_per_second"):
        assert f"\n{BY_NAME[name].title} " in out
    for name in ("energy_per_token_joules", "energy.idle_watts", "energy.tokens_per_joule",
                 "goodput.requests_per_second", "throughput.generation_tokens_per_second"):  # fmt: skip
        [line] = [line for line in out.splitlines() if line.startswith(f"{BY_NAME[name].title}: ")]
        assert re.search(r" \(95 %: [\d.,]+ to [\d.,]+\)", line), line
    assert "of 12" in out
