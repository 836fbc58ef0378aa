import os
import sys

import pytest

from fakes.sysfs import Machine
from support.net import wait_for
from tokwatt_bench.energy import Observation, Use, Window, between, counters, per_token
from tokwatt_bench.observe import Meter, Observer
from tokwatt_bench.request import Request
from tokwatt_exporter.catalogue import ENERGY, PACKAGE_ENERGY, SYSTEM_ENERGY
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import NotAvailable


def seen(at, updates=0, memory=None, **joules):
    return Observation(at, joules, dict.fromkeys(joules, updates), memory)


def use(joules, seconds=1.0, updates=10):
    return Use(joules, seconds, {"package": updates}, ("package",))


def requests(*tokens):
    return [Request(index, "measured", 0, generated_tokens=count) for index, count in enumerate(tokens)]


def windows(requests, uses):
    """Each request a window of its own."""
    return [Window([request], use) for request, use in zip(requests, uses, strict=True)]


PARTS = [ENERGY(1, device="cpu"), ENERGY(2, device="dram"), ENERGY(8, device="gpu")]
CARD = [ENERGY(4, device="gpu0")]


def test_the_whole_machine_contains_all_else():
    assert counters([[SYSTEM_ENERGY(100)], [PACKAGE_ENERGY(50), *PARTS], CARD]) == {"system": 100}
    assert counters([[PACKAGE_ENERGY(50), SYSTEM_ENERGY(100), *PARTS]]) == {"system": 100}


def test_a_package_contains_its_cores_and_its_own_gpu_but_no_card():
    assert counters([[PACKAGE_ENERGY(50), *PARTS], CARD]) == {"package": 50, "gpu0": 4}


def test_the_package_of_an_apple_chip_contains_its_gpu():
    assert counters([[PACKAGE_ENERGY(50), ENERGY(1, device="cpu"), ENERGY(4, device="gpu0")]]) == {"package": 50}


def test_devices_are_added_up_where_nothing_contains_them():
    assert counters([PARTS, CARD]) == {"cpu": 1, "dram": 2, "gpu0": 4, "gpu": 8}


def test_nothing_is_known_where_nothing_counts():
    assert counters([[], []]) == {}


def test_what_was_used_is_the_difference_of_all_counters():
    found = between(seen(10, package=5.0, gpu0=1.0), seen(12, 7, package=9.0, gpu0=2.5))
    assert found == Use(5.5, 2, {"package": 7, "gpu0": 7}, ("package", "gpu0"))


@pytest.mark.parametrize("after", [seen(1, package=1.0, gpu0=1.0), seen(1), None])
def test_a_counter_that_came_or_went_leaves_nothing_known(after):
    assert between(seen(0, package=0.0), after) is None


def test_energy_per_token_is_net_of_idle_and_both_are_told():
    found = per_token(windows(requests(10, 10), [use(30), use(50, 3.0)]), use(20, 4.0), "")
    # 80 J in 4 s, of which the idle machine would have used 5 W.
    assert found["per_token_joules"] == pytest.approx(60 / 20)
    assert found["per_token_gross_joules"] == pytest.approx(80 / 20)
    assert (found["idle_watts"], found["joules"], found["seconds"]) == (5, 80, 4)
    assert (found["counters"], found["updates"], found["reason"]) == (["package"], 20, None)


@pytest.mark.parametrize(
    ("uses", "idle", "why", "reason"),
    [
        ([use(30), use(50)], None, "", "idle power was not measured"),
        ([use(30), None], use(1), "", "the counters of energy changed during the run"),
        ([use(0, updates=0), use(0, updates=0)], use(1), "", "no counter of energy moved"),
        ([use(1, updates=2), use(1, updates=2)], use(1), "", "the counter package moved only 4 times; it takes 5"),
        ([use(30), use(50)], use(1, updates=4), "", "idle power is not known: the counter package moved only 4 times"),
        ([use(1), use(1)], use(10), "", "the run used no more than the idle machine"),
        ([None, None], None, "the engine runs on another machine", "the engine runs on another machine"),
    ],
)
def test_what_cannot_be_known_is_null_with_its_reason(uses, idle, why, reason):
    found = per_token(windows(requests(10, 10), uses), idle, why)
    assert found["per_token_joules"] is None
    assert found["reason"].startswith(reason)


def test_energy_of_tokens_that_nobody_counted_is_not_known():
    found = per_token(windows(requests(10, None), [use(30), use(50)]), use(1), "")
    assert (found["per_token_joules"], found["per_token_gross_joules"]) == (None, None)
    assert found["joules"] == 80
    assert found["reason"] == "the engine gives no token count"


def test_without_idle_power_the_gross_figure_is_still_told():
    assert per_token(windows(requests(10), [use(30)]), None, "")["per_token_gross_joules"] == 3


# The child


class Fixed(Collector):
    name = "fixed"

    def __init__(self, *answers):
        self.answers = list(answers)

    def read(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield PACKAGE_ENERGY(answer)


def test_an_update_is_a_look_at_which_the_counter_had_moved():
    meter = Meter([Fixed(5, 5, 6, 6, 9)])
    for _ in range(5):
        meter.look()
    assert meter.told()["updates"] == {"package": 2}


def test_a_collector_that_fails_leaves_a_reason_and_costs_only_itself():
    meter = Meter([Fixed(NotAvailable("no such thing")), Fixed(OSError("gone"))])
    meter.look()
    assert meter.told()["joules"] == {}
    assert "no counter of energy can be read" in meter.told()["problem"]
    both = Meter([Fixed(OSError("gone")), Fixed(7)])
    both.look()
    assert (both.told()["joules"], both.told()["problem"]) == ({"package": 7}, "")


def test_the_highest_memory_is_that_since_the_last_order():
    used = iter([10, 30, 20, 5, None])
    meter = Meter([], lambda: next(used))
    for expected, looks in ((30, 3), (5, 1), (None, 1)):
        for _ in range(looks):
            meter.look()
        assert meter.told()["memory"] == expected


def test_the_child_reads_the_counters_and_the_memory_of_a_process(rapl):
    with Observer(os.getpid(), rapl.proc, rapl.sys) as observer:
        first = observer.read()
        last = wait_for(lambda: (o := observer.read()) and o.updates["package"] >= 5 and o, 10)
    assert observer.problem == ""
    found = between(first, last)
    assert found.joules > 0 and found.updates["package"] >= 5
    assert last.memory_bytes > 10 * 2**20
    assert last.at_seconds > first.at_seconds


def test_a_machine_without_counters_says_so(tmp_path):
    machine = Machine(tmp_path / "machine")
    with Observer(None, machine.proc, machine.sys) as observer:
        assert observer.read().joules == {}
        assert "no RAPL counters" in observer.problem


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "print('not json', flush=True); input()"])
def test_a_child_that_fails_costs_only_the_energy(code, tmp_path):
    with Observer(None, command=(sys.executable, "-c", code)) as observer:
        assert observer.read() is None
        assert observer.read() is None
    assert observer.problem == "the reader of the energy counters failed"
