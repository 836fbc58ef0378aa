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


class GpuClients:
    """Seconds of GPU time by pid. A process has several clients, and what one has counted goes when it closes."""

    def __init__(self) -> None:
        self._last: dict[int, float] = {}
        self._total: dict[int, float] = {}

    def read(self) -> dict[int, float]:
        """Seconds so far of each process, of any user, that has a client now; a pid without one starts anew."""
        clients = list(_clients())
        total = {client.pid: self._total.get(client.pid, 0.0) for client in clients}
        for client in clients:
            total[client.pid] += max(client.seconds - self._last.get(client.id, 0.0), 0.0)
        self._last = {client.id: client.seconds for client in clients}
        self._total = total
        return dict(total)


class _Client(NamedTuple):
    id: int
    pid: int
    seconds: float


def _clients() -> Iterator[_Client]:
    # Clients are not registered, so that no matching finds them: they are looked for below the GPU's node.
    for accelerator in iokit.services(ACCELERATOR):
        for entry in accelerator.children():
            with entry:
                if entry.class_name == _CLIENT and (pid := _pid(entry.property("IOUserClientCreator"))) is not None:
                    yield _Client(entry.id, pid, _seconds(entry.property("AppUsage")))


def _pid(creator: Any) -> int | None:
    found = _CREATOR.match(creator) if isinstance(creator, str) else None
    return int(found[1]) if found else None


def _seconds(usage: Any) -> float:
    """What the client's queues have used; a client that has not drawn or computed yet lists none."""
    queues = usage if isinstance(usage, list) else []
    times = [queue.get("accumulatedGPUTime") for queue in queues if isinstance(queue, dict)]
    return sum(time for time in times if isinstance(time, int)) / 1e9
