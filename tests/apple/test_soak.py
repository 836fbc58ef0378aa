"""The bindings may be read for weeks: nothing accumulates."""

import psutil
import pytest

from fakes.apple.control import Fake
from fakes.apple.machine import Machine
from support.apple_bindings import Bindings

#: `make bench` does 100,000.
TICKS = 2_000
OPENINGS = 100


def counts(fake: Fake) -> tuple[int, int, int]:
    return fake.live_objects(), fake.live_handles(), psutil.Process().num_fds()


@pytest.fixture
def pid(fake: Fake) -> int:
    machine = Machine.sample()
    fake.show(machine)
    return machine.processes[0].pid


def test_thousands_of_reads_keep_no_object_handle_or_file(fake: Fake, pid: int) -> None:
    bindings = Bindings()
    values = bindings.tick(pid)
    before = counts(fake)

    assert all(values.values())
    for _ in range(TICKS):
        assert bindings.tick(pid) == values

    assert counts(fake) == before
    bindings.close()


def test_opening_and_closing_everything_keeps_nothing(fake: Fake, pid: int) -> None:
    before = counts(fake)

    for _ in range(OPENINGS):
        bindings = Bindings()
        bindings.tick(pid)
        bindings.close()

    assert counts(fake) == before
