"""Everything that the bindings can read, read once a tick: for tests that it may go on for weeks."""

from __future__ import annotations

from contextlib import ExitStack

from tokwatt_exporter.apple import iokit, libproc, mach, sysctl
from tokwatt_exporter.apple.hid import Thermometers
from tokwatt_exporter.apple.ioreport import Subscription
from tokwatt_exporter.apple.notify import Notification
from tokwatt_exporter.apple.smc import Smc

GROUPS = ("Energy Model", "CPU Stats", "GPU Stats")


class Bindings:
    """All sources of a machine, opened; a group that the machine has not is left out."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._subscriptions = [found for group in GROUPS if (found := Subscription.open(group))]
        for subscription in self._subscriptions:
            self._stack.callback(subscription.close)
        self._smc = Smc.open()
        self._stack.callback(self._smc.close)
        self._thermometers = Thermometers.open()
        self._stack.callback(self._thermometers.close)
        self._thermal = Notification("com.apple.system.thermalpressurelevel")
        self._stack.callback(self._thermal.close)
        self._keys = self._smc.keys()[::10]

    def tick(self, pid: int) -> dict[str, int]:
        """Read all there is; how many values each source gave."""
        found = {
            "ioreport": sum(len(subscription.sample()) for subscription in self._subscriptions),
            "smc": sum(self._smc.read(key) is not None for key in self._keys),
            "hid": len(self._thermometers.read()),
            "notify": int(self._thermal.state() is not None),
            "power": len(iokit.power_preferences() or ()),
            "mach": len(mach.vm_statistics()) + len(mach.processor_ticks()) + (mach.page_size() > 0),
            "sysctl": (sysctl.integer("hw.memsize") is not None) + len(sysctl.swap() or ()) + len(sysctl.interfaces()),
            "libproc": len(libproc.usage(pid) or ()),
            "gpu": 0,
            "clients": 0,
        }
        for entry in iokit.services("IOAccelerator"):
            found["gpu"] += len(entry.property("PerformanceStatistics") or ())
            for child in entry.children():
                with child:
                    found["clients"] += len(child.property("AppUsage") or ())
        return found

    def close(self) -> None:
        """Give all of it back."""
        self._stack.close()
