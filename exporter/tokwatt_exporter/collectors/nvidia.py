"""NVIDIA GPUs, through NVML."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tokwatt_exporter.catalogue import COLLECTOR_PROBLEM
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.delta import Accumulator
from tokwatt_exporter.collectors.linux_gpu import GpuIds
from tokwatt_exporter.collectors.nvidia_gpu import Gpu, Owner
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

log = logging.getLogger(__name__)

#: NVML finds a GPU that came back only when it starts anew, which takes too long to try at each read.
RESTART_SECONDS = 60.0

_ABSENT = {
    "NVML_ERROR_LIBRARY_NOT_FOUND": "no NVIDIA driver: libnvidia-ml.so.1 is not installed",
    "NVML_ERROR_DRIVER_NOT_LOADED": "the NVIDIA driver is not loaded",
    "NVML_ERROR_NO_PERMISSION": "no permission to use /dev/nvidiactl: let the exporter's group read and write it",
}


class Nvidia(Collector):
    """Energy, load, clock, memory, temperature and throttling of each GPU; `owner` says which engine a process is."""

    name = "nvidia"

    def __init__(
        self,
        owner: Owner | None = None,
        sys: Path = Path("/sys"),
        clock: Clock | None = None,
        load: Callable[[], Any] = lambda: importlib.import_module("pynvml"),
    ) -> None:
        self._owner = owner
        self._clock = clock or SystemClock()
        self._load = load
        self._ids = GpuIds(sys)
        self._totals = Accumulator(self._clock)
        self._nvml: Any = None
        self._gpus: list[Gpu] = []
        self._lost: dict[str, Exception] = {}
        self._restart_at = 0.0

    def read(self) -> Iterator[Reading]:
        """The values of each GPU now. `NotAvailable` without a driver or GPU; a GPU that fails costs only itself."""
        if self._nvml is None or (self._lost and self._clock.awake() >= self._restart_at):
            self.close()
            self._start()
        readings = [reading for gpu in self._gpus for reading in self._read(gpu)]
        if self._lost and not readings:
            raise next(iter(self._lost.values()))
        yield from readings
        for device, error in self._lost.items():
            yield COLLECTOR_PROBLEM(collector=self.name, problem="failed", reason=f"{device}: {error}")

    def rebase(self) -> None:
        """What the GPUs did while the machine slept is not known."""
        self._totals.rebase()

    def close(self) -> None:
        """Shut NVML down; the next read starts it again."""
        nvml, self._nvml, self._gpus, self._lost = self._nvml, None, [], {}
        if nvml is not None:
            try:
                nvml.nvmlShutdown()
            except nvml.NVMLError as error:
                log.debug("nvmlShutdown: %s", error)

    def _start(self) -> None:
        try:
            nvml = self._load()
        except ImportError:
            raise NotAvailable("the Python package nvidia-ml-py is not installed") from None
        absent = {getattr(nvml, code): reason for code, reason in _ABSENT.items()}
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            if error.value in absent:
                raise NotAvailable(absent[error.value]) from None
            raise
        self._nvml = nvml
        try:
            driver = nvml.nvmlSystemGetDriverVersion()
            for index in range(nvml.nvmlDeviceGetCount()):
                self._open(index, driver)
        except nvml.NVMLError:
            self.close()
            raise
        if not self._gpus and not self._lost:
            self.close()
            raise NotAvailable("NVML shows no GPU")

    def _open(self, index: int, driver: str) -> None:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            self._gpus.append(Gpu(nvml, handle, self._ids(_address(nvml, handle)), driver, self._owner))
        except nvml.NVMLError as error:
            self._fail(f"NVML index {index}", error)

    def _read(self, gpu: Gpu) -> list[Reading]:
        nvml = self._nvml
        if gpu.device in self._lost:
            return []
        try:
            return list(gpu.read(self._totals))
        except nvml.NVMLError as error:
            if error.value in (nvml.NVML_ERROR_UNINITIALIZED, nvml.NVML_ERROR_DRIVER_NOT_LOADED):
                self.close()
                raise
            # Its integrals must not bridge the time in which nothing is known.
            self._totals.rebase(*gpu.keys)
            self._fail(gpu.device, error)
            return []

    def _fail(self, device: str, error: Exception) -> None:
        self._lost[device] = error
        self._restart_at = self._clock.awake() + RESTART_SECONDS
        log.warning("%s: %s; trying again in %g s", device, error, RESTART_SECONDS)


def _address(nvml: Any, handle: Any) -> str:
    """The PCI address as the kernel writes it; NVML writes the domain with eight digits."""
    domain, _, rest = nvml.nvmlDeviceGetPciInfo_v3(handle).busId.partition(":")
    return f"{int(domain, 16):04x}:{rest}".lower()
