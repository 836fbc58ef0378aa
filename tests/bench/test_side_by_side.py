"""What is made of streams side by side: throughput, goodput, energy by phase, conditions, calibration, knees."""

from __future__ import annotations

import pytest

from tokwatt_bench import calibration, conditions
from tokwatt_bench.energy import Use, Window
from tokwatt_bench.goodput import Objective, goodput, objective
from tokwatt_bench.load import Round
from tokwatt_bench.phases import phases
from tokwatt_bench.request import Request
from tokwatt_bench.rounds import Took
from tokwatt_bench.sweep import knee
from tokwatt_bench.throughput import throughput
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.streams.answer import Chunk

SECOND = 1_000_000_000


def request(first=0.1, gap=0.1, tokens=11, start=0.0, failure=None):
    times = [round((start + first + gap * n) * SECOND) for n in range(tokens)]
    found = Request(0, "measured", 0, failure=failure, prompt_tokens=100, cached_tokens=20, generated_tokens=tokens,
                    first_token_seconds=first, duration_seconds=first + gap * (tokens - 1))  # fmt: skip
    found.chunks = [Chunk(time, True, 3) for time in times]
    found.offsets_ns = tuple(time - round(start * SECOND) for time in times)
    return found


def one_round(*requests, started=0.0, full=1.0, ended=2.0):
    return Round("measured", Took(round(started * SECOND), round(full * SECOND), round(ended * SECOND)), list(requests))


def test_throughput_is_of_the_time_in_which_all_lanes_were_busy():
    # 10 tokens each in the second in which both lanes were busy; what came later is not counted.
    found = throughput([one_round(request(), request(start=0.5, tokens=11))], 2)
    assert found["seconds"] == 1
    assert found["generation_tokens_per_second"] == pytest.approx(10 + 5)
    assert found["requests_per_second"] == pytest.approx(10 / 11 + 5 / 11)


def test_throughput_of_an_open_loop_is_of_all_its_time():
    found = throughput([one_round(request(), ended=2.0)], None)
    assert (found["seconds"], found["generation_tokens_per_second"]) == (2, pytest.approx(5.5))


@pytest.mark.parametrize(
    ("rounds", "lanes", "why"),
    [
        ([one_round(request())], 1, "one stream at a time"),
        ([one_round(request(), full=0.0)], 2, "never all busy"),
        ([one_round(request(failure="cut"))], 2, "no request succeeded"),
        ([one_round(request(tokens=11))], None, ""),
    ],
)
def test_throughput_that_is_not_known_has_its_reason(rounds, lanes, why):
    found = throughput(rounds, lanes)
    assert (found["reason"] or "").find(why) >= 0
    assert (found["generation_tokens_per_second"] is None) == bool(why)


def test_goodput_counts_what_failed_as_not_good():
    wanted = Objective(first_token=0.2, token_gap=0.15, duration=5)
    requests = [request(), request(first=0.3), request(gap=0.2), request(failure="cut")]
    found = goodput(requests, wanted, 2.0)
    assert (found["met"], found["ratio"], found["requests_per_second"]) == (1, 0.25, 0.5)
    assert found["objective"] == {"ttft": 0.2, "itl": 0.15, "e2e": 5}


def test_goodput_of_tokens_that_nobody_counted_is_not_known():
    uncounted = request()
    uncounted.generated_tokens = None
    assert goodput([uncounted], Objective(token_gap=1.0), 1.0)["reason"]
    assert goodput([uncounted], Objective(first_token=1.0), 1.0)["met"] == 1


def test_an_objective_is_read_from_its_names():
    assert objective("ttft=500ms, itl=50ms,e2e=10s") == Objective(0.5, 0.05, 10)
    with pytest.raises(ValueError, match="'tpot=1s' is not NAME=DURATION"):
        objective("tpot=1s")


def used(*line):
    joules = line[-1][1] - line[0][1]
    return Use(joules, line[-1][0] - line[0][0], {"package": 9}, ("package",), line)


IDLE = Use(20, 2.0, {"package": 9}, ("package",))  # 10 W


def test_prefill_and_decode_are_cut_where_the_first_token_came():
    # 100 W until the first token at 1 s, then 50 W.
    line = tuple((t / 10, 100 * min(t / 10, 1) + 50 * max(t / 10 - 1, 0)) for t in range(21))
    found = phases([Window([request(first=1.0, gap=0.1, tokens=11)], used(*line))], IDLE, "")
    assert found["reasons"] == {}
    assert found["prefill_per_token_joules"] == pytest.approx((100 - 10) / 80)
    assert found["decode_per_token_joules"] == pytest.approx((50 - 10) / 11)


@pytest.mark.parametrize(
    ("windows", "idle", "why", "said"),
    [
        ([Window([request(), request()], used((0, 0), (1, 1)))], IDLE, "", "side by side"),
        ([Window([request()], used((0, 0), (1, 1)))], IDLE, "", "moved only"),
        ([Window([request()], used((0, 0), (1, 1)))], None, "", "idle power was not measured"),
        ([Window([request()], used((0, 0), (1, 1)))], IDLE, "no counter", "no counter"),
    ],
)
def test_energy_of_a_phase_that_is_not_known_has_its_reason(windows, idle, why, said):
    found = phases(windows, idle, why)
    assert found["decode_per_token_joules"] is None
    assert said in found["reasons"]["prefill_per_token_joules"]


class Fixed(Collector):
    name = "fixed"

    def __init__(self, *answers):
        self.answers = list(answers)

    def read(self):
        yield from self.answers.pop(0)


def test_conditions_are_what_the_collectors_say_and_nothing_else():
    state = [*c.THERMAL_STATE("serious"), c.SWAP_IN(5.0), c.CPU_BUSY(10.0, cluster="p"), c.CPU_BUSY(1.0, cluster="e")]
    found = conditions.Conditions([Fixed(state, [*c.THERMAL_STATE("fair")])])
    first, second = found.sample(), found.sample()
    assert first == {"time": first["time"], "thermal_state": "serious", "swap_in_bytes_total": 5}
    assert second == {"time": second["time"], "thermal_state": "fair"}


def test_busy_cores_are_of_the_time_between_two_samples():
    found = conditions.Conditions([Fixed([c.CPU_BUSY(10.0, cluster="p")], [c.CPU_BUSY(10.0, cluster="p")])])
    assert "cpu_busy_cores" not in found.sample()
    assert found.sample()["cpu_busy_cores"] == 0


def test_bad_conditions_are_said_in_words():
    samples = [
        {"time": 1, "thermal_state": "nominal", "power_source_state": "battery", "swap_in_bytes_total": 0},
        {"time": 2, "thermal_state": "serious", "power_mode_state": "low", "swap_in_bytes_total": 3 * 2**20},
    ]
    assert conditions.problems(samples, ["ollama"]) == [
        "thermal pressure was serious", "the power source was battery", "the power mode was low",
        "3 MiB were read back from swap", "ollama holds a model, too",
    ]  # fmt: skip
    assert conditions.problems([{"time": 1, "thermal_state": "nominal", "memory_pressure_state": "normal"}]) == []


def test_other_programs_are_seen_while_nothing_is_asked():
    assert conditions.background([{"cpu_busy_cores": 3.0}, {"cpu_busy_cores": 1.0}], 8) == [
        "other programs use 2 of 8 cores"
    ]
    assert conditions.background([{"cpu_busy_cores": 1.0}], 8) == conditions.background([], 8) == []


def test_long_runs_keep_some_samples_and_the_last():
    samples = [{"time": number} for number in range(1501)]
    kept = conditions.thinned(samples)
    assert len(kept) <= conditions.MOST_SAMPLES
    assert kept[-1] == {"time": 1500}


def test_the_client_is_held_against_the_truth():
    found = calibration.calibrate(4, seconds=0.6)
    assert found.requests >= 4
    late, _ = found.first_token_error
    # Far less than the tens of milliseconds of a client that is no instrument, also on a busy machine.
    assert -0.005 < late < 0.05
    assert abs(found.token_gap_error) < 0.2
    for value, (low, high) in ((late, found.first_token_interval), (found.token_gap_error, found.token_gap_interval)):
        assert low <= value <= high
    assert 0 < found.cpu_seconds_per_1000_tokens < 2


def test_a_result_that_the_client_bounds_says_so():
    known = calibration.Calibration(8, 10, (0.004, 0.01), None, 0.0, None, 0.0, 0.05)
    result = {"time_to_first_token_seconds": {"p50": 0.02}, "generation_tokens_per_second": {"p50": 100.0},
              "throughput": {"generation_tokens_per_second": 20_000.0}}  # fmt: skip
    late, slow = calibration.bound(result, known)
    assert late == "the client is 4 ms late of 20 ms to the first token"
    assert slow == "the client needs 100% of a processor to read 2e+04 tokens/s"
    result |= {"time_to_first_token_seconds": {"p50": 0.2}, "throughput": {"generation_tokens_per_second": None}}
    assert calibration.bound(result, known) == []


def swept(*speeds):
    return [
        {"concurrency": 2**n, "throughput": {"generation_tokens_per_second": speed}, "runs": 1, "failed": 0,
         "tokens": {"generated": speed}, "request_duration_seconds": {"p50": 1.0}}
        for n, speed in enumerate(speeds)
    ]  # fmt: skip


def test_the_knee_is_where_more_streams_bring_next_to_nothing():
    assert knee(swept(100, 190, 330, 380, 382, 381)) == {
        "concurrency": 8, "between": None, "generation_tokens_per_second": 380, "share_of_most": 380 / 382,
        "reached": True,
    }  # fmt: skip
    assert knee(swept(100, 200, 400))["reached"] is False
    assert knee(swept(100, 120, 121, 122))["concurrency"] == 2
    assert knee([]) is None


def test_a_knee_is_known_as_well_as_the_speeds_are():
    def known(off):
        found = swept(100, 190, 330, 380, 382, 381)
        found[0]["request_duration_seconds"]["ci95"] = [1 / (1 + off), 1 / (1 - off)]
        for one in found[1:]:
            value = one["throughput"]["generation_tokens_per_second"]
            pair = [value * (1 - off), value * (1 + off)]
            one["intervals"] = {"throughput.generation_tokens_per_second": pair}
        return knee(found)["between"]

    assert known(0.01) == [8, 8]
    # 330 may be nine tenths of 382 then, and 380 may not be.
    assert known(0.06) == [4, 32]
