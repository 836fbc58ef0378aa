"""The sensor chips of /sys/class/hwmon: which there are, what to call them, and their temperatures and fans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tokwatt_exporter.collectors.linux_files import entries, links, natural, number, text

#: Chips inside the processor, by the name of their driver.
_CPU = frozenset({"coretemp", "k10temp", "zenpower", "k8temp", "via_cputemp", "cpu_thermal"})
#: Chips of devices that have a collector of their own.
_ELSEWHERE = frozenset({"amdgpu"})

#: Readings outside are a sensor that is broken or not wired: -128, 127.9 and 6553.5 are common.
_COLDEST, _HOTTEST = -40.0, 150.0


class Chip(NamedTuple):
    """A sensor chip and the device it belongs to, an id that is unique on the host and stable over reboots."""

    path: Path
    device: str


class Thermometer(NamedTuple):
    """One temperature input; `limit` is where the device slows down (its `crit`, else its `max`), in °C."""

    sensor: str
    input: str
    fault: str
    limit: float | None

    def celsius(self) -> float | None:
        """°C now, or None where the chip gives none that can be true."""
        return None if number(self.fault) else celsius(number(self.input))


class Fan(NamedTuple):
    """One fan's tachometer; `highest` in rpm where the driver knows."""

    fan: str
    input: str
    fault: str
    highest: int | None

    def rpm(self) -> int | None:
        """Turns a minute now, 0 for a fan that stands still, or None where the tachometer is broken."""
        speed = None if number(self.fault) else number(self.input)
        return speed if speed is not None and speed >= 0 else None


class Hwmon:
    """The chips of a machine; drivers come and go, so `changed` is asked before each use of what was found."""

    def __init__(self, sys: Path) -> None:
        self._folder = sys / "class/hwmon"
        self._seen: dict[str, str] | None = None

    def changed(self) -> bool:
        """Whether the chips are others than at the last call; True at the first."""
        now = links(self._folder)
        changed, self._seen = now != self._seen, now
        return changed

    def chips(self) -> list[Chip]:
        """Every chip but those that another collector reads, in the order of where they sit in the machine."""
        paths = [self._folder / name for name in entries(self._folder)]
        # hwmon numbers are handed out in the order in which drivers load: not an identity.
        paths.sort(key=lambda path: natural(str(path.resolve().parent)))
        named = [(path, text(path / "name")) for path in paths]
        kept = [(path, _device(path, name)) for path, name in named if name and name not in _ELSEWHERE]
        devices = _unique([device for _, device in kept])
        return [Chip(path, device) for (path, _), device in zip(kept, devices, strict=True)]


def thermometers(chip: Path) -> list[Thermometer]:
    """The temperature inputs of a chip; a label that occurs twice is told apart by its input."""
    found = []
    for name in _inputs(chip, "temp"):
        limits = (celsius(number(chip / f"{name}_{kind}")) for kind in ("crit", "max"))
        limit = next((value for value in limits if value is not None and value > 0), None)
        found.append(Thermometer(text(chip / f"{name}_label") or name, *_files(chip, name), limit))
    times = Counter(thermometer.sensor for thermometer in found)
    return [
        t._replace(sensor=f"{t.sensor} {name}") if times[t.sensor] > 1 else t
        for t, name in zip(found, _inputs(chip, "temp"), strict=True)
    ]


def fans(chip: Path, device: str) -> list[Fan]:
    """The tachometers of a chip, named after the chip's device and the fan's label or number."""
    found = []
    for name in _inputs(chip, "fan"):
        highest = number(chip / f"{name}_max")
        label = text(chip / f"{name}_label") or name
        found.append(Fan(f"{device} {label}", *_files(chip, name), highest or None))
    times = Counter(fan.fan for fan in found)
    return [
        fan._replace(fan=f"{device} {name}") if times[fan.fan] > 1 else fan
        for fan, name in zip(found, _inputs(chip, "fan"), strict=True)
    ]


def celsius(millidegrees: int | None) -> float | None:
    """°C of what the kernel gives, or None where no sensor of a computer can read that."""
    if millidegrees is None or not _COLDEST < millidegrees / 1000 < _HOTTEST:
        return None
    return millidegrees / 1000


def thermal_device(kind: str) -> str:
    """The device of a thermal zone: `cpu_thermal` and `cpu-thermal` are of `cpu`."""
    return kind.removesuffix("_thermal").removesuffix("-thermal")


def _inputs(chip: Path, kind: str) -> list[str]:
    return [name.removesuffix("_input") for name in entries(chip) if name.startswith(kind) and name.endswith("_input")]


def _files(chip: Path, name: str) -> tuple[str, str]:
    return str(chip / f"{name}_input"), str(chip / f"{name}_fault")


def _device(path: Path, name: str) -> str:
    if name in _CPU:
        return "cpu"
    owner = (path / "device").resolve()
    if name == "nvme":
        return owner.name
    if name == "drivetemp":
        return next(iter(entries(owner / "block")), name)
    return thermal_device(name)


def _unique(names: Sequence[str]) -> Iterator[str]:
    """Names as they are where they occur once, numbered where they occur more often."""
    times, seen = Counter(names), Counter[str]()
    for name in names:
        if times[name] == 1:
            yield name
        else:
            yield f"{name}{'-' if name[-1].isdigit() else ''}{seen[name]}"
            seen[name] += 1
