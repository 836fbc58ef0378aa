"""What a process used, where the kernel says it."""

import pytest

from fakes.apple.control import Fake
from fakes.apple.machine import Machine, Process
from tokwatt_exporter.apple import libproc, libraries

USAGE = {
    "user_time": 24_000_000,
    "system_time": 12_000_000,
    "resident_size": 3 << 30,
    "phys_footprint": 5 << 30,
    "proc_start_abstime": 987_654_321,
    "energy_nj": 2_500_000_000,
    "neural_footprint": 7 << 20,
}


def test_a_process_of_our_own_tells_all(fake: Fake) -> None:
    fake.show(Machine(processes=[Process(400, USAGE)]))

    assert libproc.usage(400) == libproc.Usage(
        footprint=5 << 30,
        resident=3 << 30,
        cpu_seconds=pytest.approx(1.5),
        energy_joules=2.5,
        neural_footprint=7 << 20,
        started=987_654_321,
    )


def test_before_macos_13_energy_and_neural_memory_are_absent(fake: Fake) -> None:
    fake.show(Machine(processes=[Process(400, USAGE)], rusage_flavor=4))

    usage = libproc.usage(400)

    assert usage is not None
    assert (usage.footprint, usage.resident, usage.started) == (5 << 30, 3 << 30, 987_654_321)
    assert (usage.energy_joules, usage.neural_footprint) == (None, None)


@pytest.mark.parametrize("errno", [1, 3], ids=["another user's", "gone"])
def test_a_process_that_may_not_be_asked_gives_nothing_and_is_asked_once(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, errno: int
) -> None:
    fake.show(Machine(processes=[Process(400, USAGE, errno=errno)]))
    real, asked = libproc.LIBPROC.proc_pid_rusage, []
    where = (libraries.PATHS["system"], "proc_pid_rusage")
    monkeypatch.setitem(libproc.LIBPROC._bound, where, lambda *request: asked.append(request) or real(*request))

    assert libproc.usage(400) is None
    assert len(asked) == 1


def test_a_process_that_never_was_gives_nothing(fake: Fake) -> None:
    fake.show(Machine(processes=[]))

    assert libproc.usage(400) is None
