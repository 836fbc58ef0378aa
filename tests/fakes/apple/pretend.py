"""Makes this process believe that it runs on a Mac: the fake is in the place of Apple's libraries, time is ours."""

from __future__ import annotations

import functools
import platform

from fakes.apple.control import Fake
from tokwatt_exporter.apple import libraries
from tokwatt_exporter.clock import SystemClock
from tokwatt_exporter.collectors import registry

#: When every recording begins, Unix time: 2026-01-01.
STARTED = 1_767_225_600.0


class Time:
    """Both clocks of the exporter; they stand still unless told that time passes."""

    def __init__(self) -> None:
        self.now = STARTED

    def wall(self) -> float:
        """Unix time in seconds."""
        return self.now

    def awake(self) -> float:
        """Seconds since the machine started, an hour before."""
        return self.now - STARTED + 3600

    def begin(self) -> None:
        """Go back to the start."""
        self.now = STARTED

    def pass_time(self, seconds: float) -> None:
        """Let the machine be awake for that long."""
        self.now += seconds


@functools.cache
def be_a_mac() -> tuple[Fake, Time]:
    """For the rest of this process's life: the fake, which has no machine to show yet, and the clock."""
    fake, time = Fake(), Time()
    libraries.PATHS.update(dict.fromkeys(libraries.PATHS, fake.path))
    # Collectors make their own clock where they are given none.
    SystemClock.wall = lambda _: time.wall()  # type: ignore[method-assign]
    SystemClock.awake = lambda _: time.awake()  # type: ignore[method-assign]
    platform.system = lambda: "Darwin"
    platform.machine = lambda: "arm64"
    registry.build = functools.partial(registry.build, platform="darwin")  # type: ignore[assignment]
    return fake, time
