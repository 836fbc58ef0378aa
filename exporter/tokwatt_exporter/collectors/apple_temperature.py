"""Temperatures of a Mac, from its system management controller, or from HID sensors where it keeps them to itself."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from statistics import fmean, median
from typing import NamedTuple, Protocol

from tokwatt_exporter.apple import sysctl
from tokwatt_exporter.apple.hid import Thermometers
from tokwatt_exporter.apple.smc import Smc
from tokwatt_exporter.catalogue import COLLECTOR_PROBLEM, TEMPERATURE, TEMPERATURE_SENSORS
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

#: Sensors inside the chip, by what their keys begin with: keys change with every generation, prefixes hardly do.
#: `Tf` is not among them: from M2 Max to M5 there are targets and limits of the fans beside temperatures under it, up
#: to 40 degrees above what the chip itself calls its hottest spot.
_KEYS = {
    "cpu": re.compile(r"T[pe].."),
    "gpu0": re.compile(r"Tg.."),
    "dram": re.compile(r"Tm.."),
    "battery": re.compile(r"TB\dT"),
    "air": re.compile(r"TAOL|TaLP"),
}
#: The super cores of an M5. On other chips the prefix is something else, and these three are palm rests everywhere.
_SUPER = re.compile(r"Ts(?![01O]P)..")
_HAS_SUPER = re.compile(r"Apple M5\b")

#: HID sensors that are named after a part. `PMU tcal` is a constant, `PMU tdev` sits outside and reads -21.7 where
#: nothing is wired.
_PRODUCTS = {
    "cpu": re.compile(r"[pe]ACC MTR "),
    "gpu0": re.compile(r"GPU MTR "),
    "soc": re.compile(r"SOC MTR |PMGR SOC Die |PMU2? tdie"),
    "storage": re.compile(r"NAND "),
    "battery": re.compile(r"gas gauge battery"),
}

#: Devices that get one series, under the name of what is measured: all others get their hottest and mean sensor.
_SINGLE = {"battery": {"": "battery"}, "air": {"TAOL": "ambient", "TaLP": "airflow"}}

_HOTTEST = 150.0
#: A part of the chip without power reads as its calibration offsets, up to 8.5 seen, and a chip that runs is warmer.
_COLDEST_DIE = 10.0
#: What is not in the chip can be as cold as the room.
_COLDEST = {"battery": 0.0, "air": 0.0, "storage": 0.0}
#: Or as exactly this, in every sensor of it: the performance cores in the SMC, other parts among the HID sensors.
_SMC_DEFAULT = {"cpu": 40.0}
_HID_DEFAULT = {"cpu": 30.0, "gpu0": 30.0}

#: A sensor that has not moved by one bit while its neighbours moved this far is not measuring.
STUCK_DEGREES = 5.0

#: Where there is no reading of these, a row says so.
_EXPECTED = {"cpu": "no thermometer of the CPU that measures", "gpu0": "no thermometer of the GPU that measures"}

#: °C by sensor, by device.
Degrees = dict[str, dict[str, float]]


class AppleTemperature(Collector):
    """°C of the hottest sensor and of the mean of each part, and of how many sensors."""

    name = "temperature"

    def __init__(self) -> None:
        self._sources: list[_Source] = []
        self._stuck: dict[str, Stuck] = defaultdict(Stuck)

    def read(self) -> Iterator[Reading]:
        """°C now. `NotAvailable` where neither SMC nor HID has a thermometer, as in virtual machines."""
        self._sources = self._sources or _sources()
        found: Degrees = {}
        for source in self._sources:
            found = source.read() | found
        devices = {device: self._moving(device, degrees) for device, degrees in found.items()}
        if not any(devices.values()):
            self.close()
            raise NotAvailable("no thermometer in SMC or HID")
        for device, degrees in devices.items():
            yield from _readings(device, degrees)
        for device, reason in _EXPECTED.items():
            if not devices.get(device):
                yield COLLECTOR_PROBLEM(collector=self.name, problem="not_available", reason=reason)

    def _moving(self, device: str, degrees: dict[str, float]) -> dict[str, float]:
        # Outside the chip, and in steps as coarse as theirs, sensors may well stand still.
        return degrees if device in _COLDEST else self._stuck[device].moving(degrees)

    def close(self) -> None:
        """Close the connections."""
        for source in self._sources:
            source.close()
        self._sources = []


class Stuck:
    """Tells the sensors of one device that stand still from those that measure."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        #: By sensor: what those that measured read when it last changed.
        self._then: dict[str, Mapping[str, float]] = {}

    def moving(self, now: Mapping[str, float]) -> dict[str, float]:
        """Those of `now` (°C by sensor) that have moved since their neighbours did."""
        changed = {sensor for sensor, degrees in now.items() if self._last.get(sensor) != degrees}
        # Sensors that changed at the same time share one memory of it.
        moments = {id(then): then for then in self._then.values()}
        moved = {moment: _moved(then, now) for moment, then in moments.items()}
        kept = {s: now[s] for s in now if s in changed or moved[id(self._then[s])] < STUCK_DEGREES}
        self._then |= dict.fromkeys(changed, kept)
        self._last |= now
        return kept


class _Source(Protocol):
    def read(self) -> Degrees: ...

    def close(self) -> None: ...


class _Controller(NamedTuple):
    smc: Smc
    keys: Mapping[str, str]

    def read(self) -> Degrees:
        readings = ((device, key, self.smc.read(key)) for key, device in self.keys.items())
        return _plausible(readings, _SMC_DEFAULT)

    def close(self) -> None:
        self.smc.close()


class _Hid(NamedTuple):
    sensors: Thermometers

    def read(self) -> Degrees:
        named = self.sensors.read()
        return _plausible(
            ((d, name, value) for name, value in named for d, wanted in _PRODUCTS.items() if wanted.match(name)),
            _HID_DEFAULT,
        )

    def close(self) -> None:
        self.sensors.close()


def _sources() -> list[_Source]:
    """The controller; before macOS 14 its keys say nothing of the chip, and the HID sensors fill in."""
    sources: list[_Source] = []
    try:
        controller = _controller()
    except (NotAvailable, OSError):
        pass
    else:
        sources.append(controller)
        if controller.read().keys() & _EXPECTED.keys():
            return sources
    try:
        sources.append(_Hid(Thermometers.open()))
    except NotAvailable:
        if not sources:
            raise
    return sources


def _controller() -> _Controller:
    smc = Smc.open()
    try:
        # The list of keys is long and never changes.
        return _Controller(smc, dict(_kept(smc)))
    except OSError:
        smc.close()
        raise


def _kept(smc: Smc) -> Iterator[tuple[str, str]]:
    has_super = _HAS_SUPER.match(sysctl.string("machdep.cpu.brand_string") or "")
    keys = smc.keys()
    for key in keys:
        device = next((device for device, wanted in _KEYS.items() if wanted.fullmatch(key)), None)
        if device is None and has_super and _SUPER.fullmatch(key):
            device = "cpu"
        if device is not None and smc.kind(key) == "flt ":
            yield key, device


def _plausible(readings: Iterable[tuple[str, str, float | None]], default: Mapping[str, float]) -> Degrees:
    found: Degrees = defaultdict(dict)
    for device, sensor, degrees in readings:
        coldest = _COLDEST.get(device, _COLDEST_DIE)
        if degrees is not None and coldest < degrees <= _HOTTEST and degrees != default.get(device):
            found[device][sensor] = degrees
    return dict(found)


def _moved(then: Mapping[str, float], now: Mapping[str, float]) -> float:
    steps = [abs(now[sensor] - before) for sensor, before in then.items() if sensor in now and now[sensor] != before]
    return median(steps) if steps else 0.0


def _readings(device: str, degrees: Mapping[str, float]) -> Iterator[Reading]:
    if not degrees:
        return
    if device in _SINGLE:
        for key, sensor in _SINGLE[device].items():
            of_it = [value for name, value in degrees.items() if not key or name == key]
            if of_it:
                yield TEMPERATURE(max(of_it), device=device, sensor=sensor)
        return
    yield TEMPERATURE(max(degrees.values()), device=device, sensor="hottest")
    yield TEMPERATURE(fmean(degrees.values()), device=device, sensor="mean")
    yield TEMPERATURE_SENSORS(len(degrees), device=device)
