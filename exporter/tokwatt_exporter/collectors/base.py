"""What a collector is: a source that yields readings, or says that this machine has no such source."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from tokwatt_exporter.snapshot import Reading


class Collector(ABC):
    """One source. What it needs (paths, libraries, clock) comes in through the constructor, with real defaults."""

    #: The name in `--collector.NAME` and in the `collector` label.
    name: ClassVar[str]

    @abstractmethod
    def read(self) -> Iterable[Reading]:
        """The source's readings now, within the sampler's deadline.

        Raises `NotAvailable` with a constant text where the machine lacks the source; anything else raised is a
        failure. It is always called from the same thread.
        """

    def rebase(self) -> None:  # noqa: B027 - most collectors keep nothing between two reads
        """Forget what the last read left for deltas: the machine slept since, or the wall clock was set."""

    def close(self) -> None:  # noqa: B027
        """Release handles; called once, after the last read."""
