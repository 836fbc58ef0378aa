"""Energy of an Apple chip from reports that AppleCLPC, which governs its speed, answers to but does not list.

They are the only source of the CPU's energy on macOS 27 that needs no root, and Apple promises nothing about them:
each update may change their keys. So they are off by default, and nothing is believed that is not plausible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tokwatt_exporter.apple import iokit, sysctl
from tokwatt_exporter.apple.ioreport import Simple, Subscription
from tokwatt_exporter.catalogue import COLLECTOR_PROBLEM, ENERGY, POWER
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.apple_frozen import Activity, Watch
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.delta import Accumulator, Step
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

_DRIVER, _GROUP, _SUBGROUP = "AppleCLPC", "CLPC", "Energy Counters"
_BUNDLE = re.compile(r"com\.apple\.driver\.Apple(T\d+[a-z]?)(?:CLPC(?:v\d+)?)+")
#: Energy, in units of 1e-9.
_NANOJOULES, _JOULES = 3 << 56 | 118 << 32, 1e-9
_MOST_WATTS = 500.0

_DEVICES = ("cpu", "gpu0", "ane")
#: Where the reports stand, in the order of _DEVICES, by major version of macOS.
_INDICES = {26: (16, 24, 23), 27: (16, 25, 24)}
#: The reports' keys in that order, by chip.
_KEYS = {
    "T8103": (0x2CDD31F2, 0x21BECF42, 0x0667FB81),
    "T6000": (0x47479059, 0x4519BF1E, 0x9AAA17F8),
    "T6002": (0xB501816B, 0x9E2C3E8B, 0x14D5A574),
    "T8112": (0xB5435137, 0x638D9D52, 0xEA089C36),
    "T6020": (0xE301CD75, 0x8F34CC7A, 0x7415FB0F),
    "T6022": (0x76F5FD21, 0x90624499, 0x3C097307),
    "T8122": (0x54B51C99, 0xCE2DD9DC, 0x960AFE2F),
    "T6030": (0xBE03A01A, 0x472D6C9C, 0xB8990C38),
    "T6031": (0xD81E0084, 0x1085F98B, 0x313A3BE1),
    "T6032": (0xF4A21308, 0x85E80513, 0x63DC8E25),
    "T8132": (0x4A854D94, 0x3B3E3B79, 0x1FF4A9EC),
    "T6041": (0x263CF1F0, 0x22E4CF59, 0x7849FB5C),
    "T8142": (0x43708744, 0x6A010933, 0xBC5EFDF0),
    "T6050": (0xD3AB60BB, 0x27CD4CE5, 0x8C0F1C59),
    "T6050d": (0x18B3010E, 0xEDECA11A, 0x188BD883),
    "T8140": (0x9BF54436, 0xEF70589C, 0x569D941B),
    "T8152": (0x485D4BFC, 0x11784654, 0x9380C6BB),
}


class AppleClpc(Collector):
    """Joules of CPU, GPU and Neural Engine since the start, once the CPU's have been seen to make sense."""

    name = "clpc"

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._joules = Accumulator(self._clock)
        self._activity = Activity()
        self._cpu = Watch(None)
        self._subscription: Subscription | None = None
        self._devices: dict[int, str] = {}
        self._last: float | None = None
        #: Whether the CPU's report was seen to grow as it should, and whether any did what no energy does.
        self._proven = self._absurd = False

    def read(self) -> Iterator[Reading]:
        """Joules and mean watts. `NotAvailable` on chips and macOS versions whose reports are not known."""
        self._subscription = self._subscription or self._open()
        joules = {
            self._devices[sample.channel.channel_id]: sample.value * _JOULES
            for sample in self._subscription.sample()
            if isinstance(sample, Simple)
        }
        if "cpu" not in joules:
            raise NotAvailable("AppleCLPC does not answer")
        steps = self._judge(joules)
        if doubt := self._doubt():
            yield COLLECTOR_PROBLEM(collector=self.name, problem="not_available", reason=doubt)
            return
        for device, step in steps.items():
            yield ENERGY(step.total, device=device)
            if step.rate is not None:
                yield POWER(step.rate, device=device)

    def rebase(self) -> None:
        """What was counted during the sleep is not ours."""
        self._joules.rebase()
        self._cpu.rebase()

    def close(self) -> None:
        """Give the subscription back."""
        if self._subscription:
            self._subscription.close()

    def _judge(self, joules: Mapping[str, float]) -> Mapping[str, Step]:
        now = self._clock.awake()
        seconds, self._last = now - self._last if self._last is not None else 0.0, now
        busy = self._activity.busy()
        stood = self._cpu.frozen
        self._cpu.look(joules["cpu"], seconds, busy)
        if stood:
            # What a counter that stood jumps by was drawn at a time that nobody knows.
            self._joules.rebase()
        steps = {device: self._joules.add(device, value) for device, value in joules.items()}
        rates = {device: step.rate for device, step in steps.items() if step.rate is not None}
        self._absurd |= any(not 0 <= watts <= _MOST_WATTS for watts in rates.values())
        self._proven |= busy and rates.get("cpu", 0.0) > 0
        return steps

    def _doubt(self) -> str | None:
        if self._absurd:
            return "AppleCLPC reports more than a chip can draw"
        if self._cpu.frozen:
            return "AppleCLPC reports no energy while the CPU works"
        return None if self._proven else "AppleCLPC has yet to report energy of the working CPU"

    def _open(self) -> Subscription:
        indices = _INDICES.get(_major_version() or 0)
        if indices is None:
            raise NotAvailable("the reports of AppleCLPC are known on macOS 26 and 27 only")
        driver, keys = _driver()
        ids = [index << 32 | key for index, key in zip(indices, keys, strict=True)]
        self._devices = dict(zip(ids, _DEVICES, strict=True))
        names = list(zip(ids, _DEVICES, strict=True))
        subscription = Subscription.of(_GROUP, _SUBGROUP, driver, _DRIVER, _NANOJOULES, names)
        if subscription is None:
            raise NotAvailable("AppleCLPC does not answer")
        return subscription


def _driver() -> tuple[int, tuple[int, int, int]]:
    """The driver's registry id, and the keys of its chip."""
    for entry in iokit.services(_DRIVER):
        bundle = entry.property("CFBundleIdentifier")
        found = _BUNDLE.fullmatch(bundle) if isinstance(bundle, str) else None
        if found and found[1] in _KEYS:
            return entry.id, _KEYS[found[1]]
    raise NotAvailable("the reports of AppleCLPC on this chip are not known")


def _major_version() -> int | None:
    version = (sysctl.string("kern.osproductversion") or "").partition(".")[0]
    return int(version) if version.isdigit() else None
