"""Traffic of a Mac's network interfaces, from the kernel's 64 bit counters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokwatt_exporter.apple import sysctl
from tokwatt_exporter.catalogue import NETWORK_RECEIVED, NETWORK_SENT
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

#: Loopback, tunnels, bridges, and what Apple's devices talk to each other through: their bytes are either no traffic
#: or counted a second time.
_SKIPPED = re.compile(r"(lo|awdl|llw|utun|anpi|ap|bridge|gif|stf)\d+")


class AppleNetwork(Collector):
    """Bytes of every interface that can have a cable or an antenna, since boot."""

    name = "network"

    def read(self) -> Iterator[Reading]:
        """Bytes received and sent. `NotAvailable` where the kernel lists no such interface."""
        interfaces = [one for one in sysctl.interfaces() if not _SKIPPED.fullmatch(one.name)]
        if not interfaces:
            raise NotAvailable("no network interface")
        for one in interfaces:
            # Some drivers and filters pass packets by where they are counted: such an interface sends and has never
            # received anything.
            if one.received or not one.sent:
                yield NETWORK_RECEIVED(one.received, device=one.name)
            yield NETWORK_SENT(one.sent, device=one.name)
