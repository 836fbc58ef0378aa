"""How fast a machine reads its memory, which is what decoding waits for: the only table of chips there is."""

from __future__ import annotations

import importlib
import re
from typing import Any, NamedTuple

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.snapshot import Snapshot

#: GB/s as Apple gives them. Max chips by the cores of their GPU, of which there are two kinds with different memory.
APPLE: dict[str, dict[str, float | dict[int, float]]] = {
    "M1": {"": 68, "Pro": 200, "Max": 400, "Ultra": 800},
    "M2": {"": 100, "Pro": 200, "Max": 400, "Ultra": 800},
    "M3": {"": 100, "Pro": 150, "Max": {30: 300, 40: 400}, "Ultra": 819},
    "M4": {"": 120, "Pro": 273, "Max": {32: 410, 40: 546}},
    "M5": {"": 153, "Pro": 307, "Max": {32: 460, 40: 614}},
    "A18": {"Pro": 60},
}
_CHIP = re.compile(r"Apple (M\d+|A\d+)(?: (Pro|Max|Ultra))?")
_GB, _MHZ = 1e9, 1e6


class Bandwidth(NamedTuple):
    """Bytes a second of memory, None where they are not known, and where that is from."""

    bytes_per_second: float | None
    why: str


def of(now: Snapshot) -> Bandwidth:
    """The memory that models are in: the GPU's own, or that of the whole chip."""
    chips = [dict(labels).get("chip") for labels in now.values.get(c.HOST_INFO, {})]
    devices = [dict(labels) for labels in now.values.get(c.DEVICE_INFO, {})]
    gpus = [device for device in devices if device.get("kind") == "gpu"]
    if any((device.get("vendor") or "").upper() == "NVIDIA" for device in gpus):
        return _nvidia()
    cores = next((device.get("cores") for device in gpus if device.get("vendor") == "Apple"), None)
    return apple(next(filter(None, chips), None), int(cores) if cores and cores.isdecimal() else None)


def apple(chip: str | None, cores: int | None) -> Bandwidth:
    """By the name of a chip and the cores of its GPU."""
    if chip is None:
        return Bandwidth(None, "the chip does not say what it is")
    found = _CHIP.fullmatch(chip)
    known = APPLE.get(found[1], {}).get(found[2] or "") if found else None
    if isinstance(known, dict):
        if cores not in known:
            return Bandwidth(None, f"{chip} comes with several memories, and the cores of its GPU are not known")
        known = known[cores]
    if known is None:
        return Bandwidth(None, f"the memory bandwidth of {chip} is not known")
    return Bandwidth(known * _GB, f"{known:g} GB/s, as Apple says of {chip}")


def _nvidia(nvml: Any = None) -> Bandwidth:
    """By the width and highest clock of the memory, each of which is used at both edges."""
    try:
        nvml = nvml or importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001 - no library or no driver, both of which raise as they like
        return Bandwidth(None, "NVML does not answer")
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(0)
        width = nvml.nvmlDeviceGetMemoryBusWidth(handle)
        clock = nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM)
    except Exception:  # noqa: BLE001 - a driver that does not know
        return Bandwidth(None, "NVML does not say how wide the memory is and how it is clocked")
    finally:
        nvml.nvmlShutdown()
    speed = 2.0 * clock * _MHZ * width / 8
    return Bandwidth(speed, f"{speed / _GB:.0f} GB/s: {width} bit at {clock} MHz, both edges, as NVML says")
