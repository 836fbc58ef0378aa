"""GPU time of each process on a Mac, from the driver's clients in the IORegistry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from tokwatt_exporter.apple import iokit

#: The class of the GPU's node has a name per generation; this one they are all derived from.
ACCELERATOR = "IOAccelerator"

_CLIENT = "AGXDeviceUserClient"
#: `pid 357, WindowServer`: the name is cut short, and may have commas in it.
_CREATOR = re.compile(r"pid (\d+)(?:,|$)")


#: A walk ends early where clients come or go meanwhile, so one that is missing is not gone at once.
_MISSES = 3


class _Client(NamedTuple):
    pid: int
    seconds: float
    missed: int = 0


class GpuClients:
    """Seconds of GPU time by pid. A process has several clients, and what one has counted goes when it closes."""

    def __init__(self) -> None:
        self._known: dict[int, _Client] = {}
        self._total: dict[int, float] = {}

    def read(self) -> dict[int, float]:
        """Seconds so far of each process, of any user, that has a client; one that closed all starts anew."""
        known = {
            id: client._replace(missed=client.missed + 1)
            for id, client in self._known.items()
            if client.missed < _MISSES
        }
        for id, client in _clients():
            before = known[id].seconds if id in known else 0.0
            self._total[client.pid] = self._total.get(client.pid, 0.0) + max(client.seconds - before, 0.0)
            known[id] = client
        self._known = known
        pids = {client.pid for client in known.values()}
        self._total = {pid: total for pid, total in self._total.items() if pid in pids}
        return dict(self._total)


def _clients() -> Iterator[tuple[int, _Client]]:
    # Clients are not registered, so that no matching finds them: they are looked for below the GPU's node.
    for accelerator in iokit.services(ACCELERATOR):
        for entry in accelerator.children():
            with entry:
                if entry.class_name == _CLIENT and (pid := _pid(entry.property("IOUserClientCreator"))) is not None:
                    yield entry.id, _Client(pid, _seconds(entry.property("AppUsage")))


def _pid(creator: Any) -> int | None:
    found = _CREATOR.match(creator) if isinstance(creator, str) else None
    return int(found[1]) if found else None


def _seconds(usage: Any) -> float:
    """What the client's queues have used; a client that has not drawn or computed yet lists none."""
    queues = usage if isinstance(usage, list) else []
    times = [queue.get("accumulatedGPUTime") for queue in queues if isinstance(queue, dict)]
    return sum(time for time in times if isinstance(time, int)) / 1e9
