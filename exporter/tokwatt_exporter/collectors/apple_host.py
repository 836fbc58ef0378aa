"""Identity of a Mac and of this build, from sysctl."""

from __future__ import annotations

import platform
from typing import Any

from tokwatt_exporter.apple import sysctl
from tokwatt_exporter.catalogue import HOST_INFO
from tokwatt_exporter.collectors.host import Host
from tokwatt_exporter.snapshot import Reading


class AppleHost(Host):
    """What never changes while the exporter runs; the serial number is never read."""

    def __init__(self, system: Any = platform) -> None:
        super().__init__(system=system)

    def _host(self) -> Reading:
        # `platform.mac_ver` says 10.16 to a Python that was built against an old SDK.
        version = sysctl.string("kern.osproductversion")
        return HOST_INFO(
            os=self._platform.system().lower(),
            os_version=f"macOS {version}" if version else None,
            arch=self._platform.machine(),
            chip=sysctl.string("machdep.cpu.brand_string"),
            machine_model=sysctl.string("hw.model"),
        )
