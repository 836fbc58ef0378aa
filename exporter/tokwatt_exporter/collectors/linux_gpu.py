"""What the GPUs of a Linux host are called, the same for every collector: `gpu0`, `gpu1`… in the order of the bus."""

from __future__ import annotations

from pathlib import Path

from tokwatt_exporter.collectors.linux_files import entries, text

#: Vendors whose GPUs have a collector (NVIDIA, AMD), and the PCI classes GPUs come in: display and accelerator.
_VENDORS = frozenset({"0x10de", "0x1002"})
_CLASSES = ("0x03", "0x12")


class GpuIds:
    """Device ids by PCI address. A machine with GPUs of both vendors has each id once.

    An id is kept for good once given: a GPU that falls off the bus must not hand its series to the next one.
    """

    def __init__(self, sys: Path) -> None:
        self._folder = sys / "bus/pci/devices"
        self._ids: dict[str, str] = {}

    def __call__(self, address: str) -> str:
        """The id of the GPU at `address` (`0000:01:00.0`)."""
        address = address.lower()
        if address not in self._ids:
            for known in (*self._gpus(), address):
                self._ids.setdefault(known, f"gpu{len(self._ids)}")
        return self._ids[address]

    def _gpus(self) -> list[str]:
        # PCI addresses are hexadecimal numbers of fixed width: their order is the alphabet's.
        return [name for name in sorted(entries(self._folder)) if self._is_gpu(self._folder / name)]

    def _is_gpu(self, device: Path) -> bool:
        kind = text(device / "class") or ""
        # A virtual function is a share of a GPU that is listed already.
        return kind.startswith(_CLASSES) and text(device / "vendor") in _VENDORS and not (device / "physfn").exists()
