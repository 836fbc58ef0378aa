"""Run the real daemon as if on a Mac, with two samples behind it by the time it is ready.

python -m fakes.apple.launch MACHINE run --data-dir …
"""

from __future__ import annotations

import sys

from fakes.apple import machines, pretend
from tokwatt_exporter.__main__ import main
from tokwatt_exporter.sampler import Sampler


def launch(machine: str, arguments: list[str]) -> None:
    """Never returns: the program ends as the command does."""
    recording = machines.load(machine)
    fake, time = pretend.be_a_mac()
    fake.show(recording.machine)
    start = Sampler.start

    def start_later(sampler: Sampler) -> None:
        sampler.sample()
        # The server is up already: until there are rates it has nothing to show.
        sampler.latest = None
        time.pass_time(recording.seconds)
        fake.show(recording.later())
        start(sampler)

    Sampler.start = start_later  # type: ignore[method-assign]
    sys.argv = ["tokwatt", *arguments]
    main()


if __name__ == "__main__":
    launch(sys.argv[1], sys.argv[2:])
