"""Temperature sensors that report as HID devices."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import ExitStack
from ctypes import c_double, c_int32, c_int64

from tokwatt_exporter.apple.corefoundation import Owned, items, made, string, text
from tokwatt_exporter.apple.libraries import POINTER, Functions
from tokwatt_exporter.errors import NotAvailable

_SENSORS = {"PrimaryUsagePage": 0xFF00, "PrimaryUsage": 5}
_TEMPERATURE = 15

HID = Functions(
    "iokit",
    {
        "IOHIDEventSystemClientCreate": (POINTER, [POINTER]),
        "IOHIDEventSystemClientSetMatching": (None, [POINTER, POINTER]),
        "IOHIDEventSystemClientCopyServices": (POINTER, [POINTER]),
        "IOHIDServiceClientCopyProperty": (POINTER, [POINTER, POINTER]),
        "IOHIDServiceClientCopyEvent": (POINTER, [POINTER, c_int64, c_int32, c_int64]),
        "IOHIDEventGetFloatValue": (c_double, [POINTER, c_int32]),
    },
)


class Thermometers:
    """The sensors there were when it was opened; one client for all reads, as each new one costs a mach port."""

    def __init__(self, owned: ExitStack, sensors: list[tuple[str, int]]) -> None:
        self._owned = owned
        self._sensors = sensors

    @classmethod
    def open(cls) -> Thermometers:
        """All temperature sensors; `NotAvailable` where there is none."""
        with ExitStack() as stack:
            client = stack.enter_context(Owned(HID.IOHIDEventSystemClientCreate(None)))
            if not client:
                raise NotAvailable("no HID event system on this machine")
            with made(_SENSORS) as matching:
                HID.IOHIDEventSystemClientSetMatching(client, matching)
            services = stack.enter_context(Owned(HID.IOHIDEventSystemClientCopyServices(client)))
            sensors = _sensors(services) if services else []
            if not sensors:
                raise NotAvailable("no HID temperature sensors on this machine")
            return cls(stack.pop_all(), sensors)

    def read(self) -> list[tuple[str, float]]:
        """Product name and degrees Celsius of each sensor that answers; of equal names the second ends in " 2"."""
        found = []
        for name, service in self._sensors:
            with Owned(HID.IOHIDServiceClientCopyEvent(service, _TEMPERATURE, 0, 0)) as event:
                if event and math.isfinite(degrees := HID.IOHIDEventGetFloatValue(event, _TEMPERATURE << 16)):
                    found.append((name, degrees))
        return found

    def close(self) -> None:
        """Give the client and its sensors back."""
        self._sensors = []
        self._owned.close()


def _sensors(services: int) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    seen: Counter[str] = Counter()
    with string("Product") as key:
        for service in items(services):
            with Owned(HID.IOHIDServiceClientCopyProperty(service, key)) as product:
                name = text(product)
            if name:
                seen[name] += 1
                found.append((f"{name} {seen[name]}" if seen[name] > 1 else name, service))
    return found
