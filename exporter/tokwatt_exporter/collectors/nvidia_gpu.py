"""One NVIDIA GPU: what NVML says of it, each value absent where the GPU or its driver does not support it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.delta import Accumulator, Step
from tokwatt_exporter.collectors.linux_hwmon import celsius
from tokwatt_exporter.snapshot import Reading

#: The engine that a process belongs to, or None.
Owner = Callable[[int], str | None]

#: A field that this GPU, its driver or our permissions do not offer. Any other error is the GPU's.
_UNSUPPORTED = (
    "NVML_ERROR_NOT_SUPPORTED",
    "NVML_ERROR_FUNCTION_NOT_FOUND",
    "NVML_ERROR_NO_PERMISSION",
    "NVML_ERROR_INVALID_ARGUMENT",
    "NVML_ERROR_ARGUMENT_VERSION_MISMATCH",
    "NVML_ERROR_NOT_FOUND",
    "NVML_ERROR_NO_DATA",
    "NVML_ERROR_NOT_READY",
    "NVML_ERROR_DEPRECATED",
)

#: Why a GPU clocks lower than it could, by the violation counters that data centre GPUs keep…
_VIOLATIONS = {
    "thermal": "NVML_PERF_POLICY_THERMAL",
    "power": "NVML_PERF_POLICY_POWER",
    "other": "NVML_PERF_POLICY_RELIABILITY",
}
#: …and by the bits of the present moment, for the others. HwSlowdown is set along with its causes.
_EVENTS = {
    "thermal": ("nvmlClocksEventReasonSwThermalSlowdown", "nvmlClocksEventReasonHwThermalSlowdown"),
    "power": ("nvmlClocksEventReasonSwPowerCap", "nvmlClocksEventReasonHwPowerBrakeSlowdown"),
    "other": ("nvmlClocksEventReasonSyncBoost",),
}


class Gpu:
    """A GPU by its NVML handle; `keys` are those of its totals."""

    def __init__(self, nvml: Any, handle: Any, device: str, driver: str, owner: Owner | None) -> None:
        self._nvml, self._handle, self.device, self._driver, self._owner = nvml, handle, device, driver, owner
        self._absent = {getattr(nvml, code) for code in _UNSUPPORTED}
        self.keys = [(what, device) for what in ("energy", "busy", *_EVENTS)]
        self._static = list(self._identity(handle, device)) + list(self._limits())

    def read(self, totals: Accumulator) -> Iterator[Reading]:
        """Every value now; raises NVML's error when the GPU itself fails."""
        yield from self._static
        yield from self._power(totals)
        yield from self._load(totals)
        yield from self._throttled(totals)
        yield from self._cooling()
        yield from self._all_memory()
        yield from self._processes()

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._nvml.NVMLError as error:
            if error.value in self._absent:
                return None
            raise

    def _identity(self, handle: Any, device: str) -> Iterator[Reading]:
        cores = self._ask(self._nvml.nvmlDeviceGetNumGpuCores, handle)
        model = self._ask(self._nvml.nvmlDeviceGetName, handle)
        yield c.DEVICE_INFO(
            device=device, kind="gpu", vendor="NVIDIA", model=model, driver_version=self._driver,
            cores=str(cores) if cores else None,
        )  # fmt: skip

    def _limits(self) -> Iterator[Reading]:
        nvml = self._nvml
        highest = self._ask(nvml.nvmlDeviceGetMaxClockInfo, self._handle, nvml.NVML_CLOCK_GRAPHICS)
        if highest:
            yield c.GPU_FREQUENCY_MAX(highest * 1e6, device=self.device)
        slowdown = nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        limit = self._ask(nvml.nvmlDeviceGetTemperatureThreshold, self._handle, slowdown)
        if limit:
            yield c.TEMPERATURE_LIMIT(limit, device=self.device, sensor="gpu")

    def _power(self, totals: Accumulator) -> Iterator[Reading]:
        step = self._energy(("energy", self.device), totals)
        if step is not None:
            yield c.ENERGY(step.total, device=self.device)
            if step.rate is not None:
                yield c.POWER(step.rate, device=self.device)
        limit = self._ask(self._nvml.nvmlDeviceGetEnforcedPowerLimit, self._handle)
        if limit:
            yield c.POWER_LIMIT(limit / 1000, device=self.device)

    def _energy(self, key: object, totals: Accumulator) -> Step | None:
        energy = self._ask(self._nvml.nvmlDeviceGetTotalEnergyConsumption, self._handle)
        if energy is not None:
            return totals.add(key, energy / 1000)
        # GPUs before Volta have no energy counter.
        power = self._ask(self._nvml.nvmlDeviceGetPowerUsage, self._handle)
        if power is not None:
            return totals.integrate(key, power / 1000)
        totals.rebase(key)
        return None

    def _load(self, totals: Accumulator) -> Iterator[Reading]:
        nvml = self._nvml
        use = self._ask(nvml.nvmlDeviceGetUtilizationRates, self._handle)
        if use is not None:
            yield c.GPU_BUSY(totals.integrate(("busy", self.device), use.gpu / 100).total, device=self.device)
            yield c.GPU_UTILIZATION(use.gpu / 100, device=self.device)
        else:
            totals.rebase(("busy", self.device))
        clock = self._ask(nvml.nvmlDeviceGetClockInfo, self._handle, nvml.NVML_CLOCK_GRAPHICS)
        if clock is not None:
            yield c.GPU_FREQUENCY(clock * 1e6, device=self.device)

    def _throttled(self, totals: Accumulator) -> Iterator[Reading]:
        nvml, counted = self._nvml, False
        for reason, policy in _VIOLATIONS.items():
            time = self._ask(nvml.nvmlDeviceGetViolationStatus, self._handle, getattr(nvml, policy))
            if time is not None:
                counted = True
                # violationTime is in nanoseconds, unlike the referenceTime beside it.
                total = totals.add((reason, self.device), time.violationTime / 1e9).total
                yield c.THROTTLED(total, device=self.device, reason=reason)
        events = None if counted else self._ask(nvml.nvmlDeviceGetCurrentClocksEventReasons, self._handle)
        if events is not None:
            for reason, names in _EVENTS.items():
                now = any(events & getattr(nvml, name) for name in names)
                total = totals.integrate((reason, self.device), float(now)).total
                yield c.THROTTLED(total, device=self.device, reason=reason)

    def _cooling(self) -> Iterator[Reading]:
        nvml = self._nvml
        now = self._ask(nvml.nvmlDeviceGetTemperatureV, self._handle, nvml.NVML_TEMPERATURE_GPU)
        if now is None:
            now = self._ask(nvml.nvmlDeviceGetTemperature, self._handle, nvml.NVML_TEMPERATURE_GPU)
        if now is not None and celsius(now * 1000) is not None:
            yield c.TEMPERATURE(now, device=self.device, sensor="gpu")
        fields = self._ask(nvml.nvmlDeviceGetFieldValues, self._handle, [nvml.NVML_FI_DEV_MEMORY_TEMP])
        # GPUs without such a sensor say so in the field, or answer 0.
        if fields is not None and fields[0].nvmlReturn == nvml.NVML_SUCCESS and fields[0].value.uiVal:
            yield c.TEMPERATURE(fields[0].value.uiVal, device=self.device, sensor="memory")
        fan = self._ask(nvml.nvmlDeviceGetFanSpeedRPM, self._handle)
        if fan is not None:
            yield c.FAN_SPEED(fan, fan=f"{self.device} fan1")

    def _all_memory(self) -> Iterator[Reading]:
        """Of the GPU, or of its MIG instances where it is divided into them: never both, so that sums are right."""
        instances = list(self._instances())
        if not instances:
            yield from self._memory(self._handle, self.device)
        for device, handle in instances:
            yield from self._identity(handle, device)
            yield from self._memory(handle, device)

    def _memory(self, handle: Any, device: str) -> Iterator[Reading]:
        # The first version of this call counts what the driver keeps for itself as used.
        memory = self._ask(self._nvml.nvmlDeviceGetMemoryInfo, handle, self._nvml.nvmlMemory_v2)
        if memory is None:
            memory = self._ask(self._nvml.nvmlDeviceGetMemoryInfo, handle)
        if memory is not None:
            yield c.GPU_MEMORY_SIZE(memory.total, device=device)
            yield c.GPU_MEMORY_USED(memory.used, device=device)

    def _instances(self) -> Iterator[tuple[str, Any]]:
        nvml = self._nvml
        mode = self._ask(nvml.nvmlDeviceGetMigMode, self._handle)
        if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return
        for index in range(self._ask(nvml.nvmlDeviceGetMaxMigDeviceCount, self._handle) or 0):
            instance = self._ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, self._handle, index)
            if instance is not None:
                yield f"{self.device}-mig{index}", instance

    def _processes(self) -> Iterator[Reading]:
        if self._owner is None:
            return
        # A process that computes and draws is in both lists, with the same memory in each.
        used: dict[tuple[int, int, int], int] = {}
        for name in ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v3"):
            for process in self._ask(getattr(self._nvml, name), self._handle) or ():
                if process.usedGpuMemory is not None:
                    used[process.pid, process.gpuInstanceId, process.computeInstanceId] = process.usedGpuMemory
        engines: dict[str, int] = defaultdict(int)
        for (pid, *_), size in used.items():
            if engine := self._owner(pid):
                engines[engine] += size
        for engine, total in engines.items():
            yield c.ENGINE_PROCESS_GPU_MEMORY(total, engine=engine, device=self.device)
