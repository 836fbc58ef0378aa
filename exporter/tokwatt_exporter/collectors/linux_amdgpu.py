"""AMD GPUs on Linux, from the files of the amdgpu driver in sysfs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.delta import Accumulator
from tokwatt_exporter.collectors.linux_files import entries, links, number, text
from tokwatt_exporter.collectors.linux_gpu import GpuIds
from tokwatt_exporter.collectors.linux_hwmon import fans, thermometers
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

_AMD = "0x1002"


class LinuxAmdgpu(Collector):
    """Power, load, clock, memory, temperatures and fans of each AMD GPU."""

    name = "amdgpu"

    def __init__(self, sys: Path = Path("/sys"), clock: Clock | None = None) -> None:
        self._sys = sys
        self._ids = GpuIds(sys)
        self._totals = Accumulator(clock or SystemClock())
        self._gpus: list[_Gpu] = []
        self._seen: tuple[dict[str, str], ...] = ()

    def read(self) -> Iterator[Reading]:
        """The values of each GPU now. `NotAvailable` where there is none."""
        self._look_again()
        if not self._gpus:
            raise NotAvailable("no AMD GPU in /sys/class/drm")
        for gpu in self._gpus:
            yield from gpu.read(self._totals)

    def rebase(self) -> None:
        """Power during sleep is not known."""
        self._totals.rebase()

    def _look_again(self) -> None:
        drm = self._sys / "class/drm"
        # A driver that was reloaded has its sensors under another hwmon number.
        now = links(drm), links(self._sys / "class/hwmon")
        if now == self._seen:
            return
        self._seen = now
        cards = [drm / name / "device" for name in now[0] if re.fullmatch(r"card\d+", name)]
        paths = [card.resolve() for card in cards if text(card / "vendor") == _AMD]
        self._gpus = [_Gpu(self._sys, path, self._ids(path.name)) for path in paths]


class _Gpu:
    """One GPU's files. An APU shares the processor's package and its memory, which changes what two files mean."""

    def __init__(self, sys: Path, path: Path, device: str) -> None:
        self._path, self._device = path, device
        self._apu = _is_apu(path)
        self._info = c.DEVICE_INFO(
            device=device,
            kind="gpu",
            vendor="AMD",
            # The driver knows a name only for boards that carry one; the PCI id says as much to who looks it up.
            model=text(path / "product_name") or _pci_id(path),
            driver_version=text(sys / "module/amdgpu/version"),
        )
        self._hwmon = next((path / "hwmon" / name for name in entries(path / "hwmon")), path / "hwmon")
        self._thermometers = thermometers(self._hwmon)
        self._fans = fans(self._hwmon, device)

    def read(self, totals: Accumulator) -> Iterator[Reading]:
        yield self._info
        if text(self._path / "power/runtime_status") == "suspended":
            # Reading a sensor would wake the GPU, every interval, for good.
            totals.rebase(("energy", self._device), ("busy", self._device))
            return
        yield from self._power(totals)
        yield from self._load(totals)
        yield from self._memory()
        yield from self._cooling()

    def _power(self, totals: Accumulator) -> Iterator[Reading]:
        # On an APU these count the whole package, processor included: that is RAPL's to say.
        if self._apu:
            return
        key = ("energy", self._device)
        energy = number(self._hwmon / "energy1_input")
        power = _first(self._hwmon, "power1_average", "power1_input")
        if energy is not None:
            step = totals.add(key, energy / 1e6)
        elif power is not None:
            step = totals.integrate(key, power / 1e6)
        else:
            totals.rebase(key)
            return
        yield c.ENERGY(step.total, device=self._device)
        if step.rate is not None:
            yield c.POWER(step.rate, device=self._device)
        if limit := number(self._hwmon / "power1_cap"):
            yield c.POWER_LIMIT(limit / 1e6, device=self._device)

    def _load(self, totals: Accumulator) -> Iterator[Reading]:
        busy = number(self._path / "gpu_busy_percent")
        if busy is not None and 0 <= busy <= 100:
            yield c.GPU_BUSY(totals.integrate(("busy", self._device), busy / 100).total, device=self._device)
            yield c.GPU_UTILIZATION(busy / 100, device=self._device)
        else:
            totals.rebase(("busy", self._device))
        clock = number(self._hwmon / "freq1_input")
        if clock is not None:
            yield c.GPU_FREQUENCY(clock, device=self._device)
        if highest := max(_levels(text(self._path / "pp_dpm_sclk")), default=None):
            yield c.GPU_FREQUENCY_MAX(highest, device=self._device)

    def _memory(self) -> Iterator[Reading]:
        # An APU's models live in GTT: memory of the machine that the GPU may map, beside a small carve-out.
        pools = ("vram", "gtt") if self._apu else ("vram",)
        sizes = [number(self._path / f"mem_info_{pool}_total") for pool in pools]
        used = [number(self._path / f"mem_info_{pool}_used") for pool in pools]
        for family, values in ((c.GPU_MEMORY_SIZE, sizes), (c.GPU_MEMORY_USED, used)):
            known = [value for value in values if value is not None]
            if len(known) == len(pools):
                yield family(sum(known), device=self._device)

    def _cooling(self) -> Iterator[Reading]:
        for thermometer in self._thermometers:
            now = thermometer.celsius()
            if now is not None:
                yield c.TEMPERATURE(now, device=self._device, sensor=thermometer.sensor)
                if thermometer.limit is not None:
                    yield c.TEMPERATURE_LIMIT(thermometer.limit, device=self._device, sensor=thermometer.sensor)
        for fan in self._fans:
            speed = fan.rpm()
            if speed is not None:
                yield c.FAN_SPEED(speed, fan=fan.fan)
                if fan.highest is not None:
                    yield c.FAN_SPEED_MAX(fan.highest, fan=fan.fan)


def _first(folder: Path, *names: str) -> int | None:
    return next((value for name in names if (value := number(folder / name)) is not None), None)


def _levels(content: str | None) -> list[float]:
    """Hertz of each level of a `pp_dpm` table: `1: 2304Mhz *`."""
    return [int(mhz) * 1e6 for mhz in re.findall(r"(\d+)\s*mhz", content or "", re.IGNORECASE)]


def _pci_id(path: Path) -> str | None:
    device = text(path / "device")
    return f"{_AMD[2:]}:{device.removeprefix('0x')}" if device else None


def _is_apu(path: Path) -> bool:
    """Whether the GPU is part of a processor: its metrics table then has format 2 or 3 instead of 1."""
    try:
        with (path / "gpu_metrics").open("rb") as table:
            return table.read(4)[2:3] in (b"\x02", b"\x03")
    except OSError:
        return False
