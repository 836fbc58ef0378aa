"""The two clocks: wall time for timestamps, awake time for durations."""

import time
from typing import Protocol


class Clock(Protocol):
    """What the sampler asks the time of; tests give their own."""

    def wall(self) -> float:
        """Unix time in seconds."""
        ...

    def awake(self) -> float:
        """Seconds that stand still while the machine sleeps."""
        ...


class SystemClock:
    """The machine's clocks. `time.monotonic` does not count sleep on Linux nor on macOS."""

    def wall(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def awake(self) -> float:
        """Seconds that stand still while the machine sleeps."""
        return time.monotonic()
