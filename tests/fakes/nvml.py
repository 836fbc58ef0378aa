"""A stand-in for libnvidia-ml.so.1, below the real pynvml: the same C functions, arguments, structs and error codes.

`install` puts it where pynvml keeps the loaded library, so every call goes through pynvml's own code. What a driver
would answer with an error, this does; what would crash a process, such as a handle of another session, is an
AssertionError here.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import pynvml

MIB = 1024 * 1024


@dataclass
class Process:
    """A process on a GPU; `used` is None where the driver does not say."""

    pid: int
    used: int | None
    gpu_instance: int = 0xFFFFFFFF
    compute_instance: int = 0xFFFFFFFF


@dataclass
class FakeGpu:
    """What a GPU answers, in NVML's units; None is NOT_SUPPORTED. `error` is what every question gets instead."""

    name: str = "NVIDIA H100 80GB HBM3"
    bus_id: str = "00000000:01:00.0"
    energy_mj: int | None = 5_000_000
    power_mw: int | None = 100_000
    limit_mw: int | None = 700_000
    utilization: int | None = 50
    clock_mhz: int | None = 1_500
    max_clock_mhz: int | None = 1_980
    memory: tuple[int, int, int] | None = (81_559 * MIB, 600 * MIB, 40_000 * MIB)
    memory_v2: bool = True
    temperature: int | None = 45
    temperature_v: bool = True
    memory_temperature: int | None = 52
    slowdown: int | None = 89
    violations: dict[int, int] | None = field(
        default_factory=lambda: {
            pynvml.NVML_PERF_POLICY_POWER: 7_000_000_000,
            pynvml.NVML_PERF_POLICY_THERMAL: 1_000_000_000,
            pynvml.NVML_PERF_POLICY_RELIABILITY: 0,
        }
    )
    events: int | None = 0
    fan_rpm: int | None = None
    cores: int | None = 16896
    compute: list[Process] = field(default_factory=list)
    graphics: list[Process] = field(default_factory=list)
    mig: list[FakeGpu | None] | None = None
    error: int = 0


class FakeNvml:
    """The library, with the GPUs it will find at the next nvmlInit."""

    def __init__(self, *gpus: FakeGpu, driver: str = "595.58.03", missing: tuple[str, ...] = ()) -> None:
        self.gpus = list(gpus)
        self.driver = driver
        self.missing = missing
        self.init_error = 0
        self.running = 0
        self.inits = 0
        self._handles: dict[int, FakeGpu] = {}
        self._next = 0x1000

    def install(self, monkeypatch: Any) -> FakeNvml:
        monkeypatch.setattr(pynvml, "nvmlLib", self)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        return self

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in super().__getattribute__("missing"):
            raise AttributeError(name)
        return super().__getattribute__(name)

    # The session

    def nvmlInitWithFlags(self, flags: int) -> int:
        assert flags == 0
        if self.init_error:
            return self.init_error
        self.inits += 1
        self.running += 1
        return pynvml.NVML_SUCCESS

    def nvmlShutdown(self) -> int:
        if not self.running:
            return pynvml.NVML_ERROR_UNINITIALIZED
        self.running -= 1
        if not self.running:
            self._handles.clear()
        return pynvml.NVML_SUCCESS

    def unload_driver(self) -> None:
        """As after `rmmod nvidia` and back: the session is dead, its handles too."""
        self.running = 0
        self._handles.clear()

    def nvmlSystemGetDriverVersion(self, buffer: Any, length: ctypes.c_uint) -> int:
        return self._session() or _string(buffer, length, self.driver)

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        return self._session() or _set(count, len(self.gpus))

    def nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, handle: Any) -> int:
        if error := self._session():
            return error
        if index.value >= len(self.gpus):
            return pynvml.NVML_ERROR_INVALID_ARGUMENT
        gpu = self.gpus[index.value]
        if gpu.error:
            return gpu.error
        return self._hand_out(handle, gpu)

    def _session(self) -> int:
        return pynvml.NVML_SUCCESS if self.running else pynvml.NVML_ERROR_UNINITIALIZED

    def _hand_out(self, handle: Any, gpu: FakeGpu) -> int:
        self._next += 0x10
        self._handles[self._next] = gpu
        ctypes.cast(handle, ctypes.POINTER(ctypes.c_void_p))[0] = self._next
        return pynvml.NVML_SUCCESS

    def _ask(self, handle: Any, attribute: str) -> tuple[int, Any]:
        """The error or the value of a GPU's attribute."""
        if error := self._session():
            return error, None
        assert isinstance(handle, pynvml.c_nvmlDevice_t), f"{handle!r} is no device handle"
        address = ctypes.cast(handle, ctypes.c_void_p).value
        assert address in self._handles, "a handle that this session did not give out"
        gpu = self._handles[address]
        if gpu.error:
            return gpu.error, None
        value = getattr(gpu, attribute)
        return (pynvml.NVML_ERROR_NOT_SUPPORTED if value is None else pynvml.NVML_SUCCESS), value

    def _answer(self, handle: Any, attribute: str, target: Any) -> int:
        error, value = self._ask(handle, attribute)
        return error or _set(target, value)

    # One GPU

    def nvmlDeviceGetName(self, handle: Any, buffer: Any, length: ctypes.c_uint) -> int:
        error, name = self._ask(handle, "name")
        return error or _string(buffer, length, name)

    def nvmlDeviceGetPciInfo_v3(self, handle: Any, info: Any) -> int:
        error, bus_id = self._ask(handle, "bus_id")
        if not error:
            info._obj.busId = bus_id
        return error

    def nvmlDeviceGetNumGpuCores(self, handle: Any, cores: Any) -> int:
        return self._answer(handle, "cores", cores)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, millijoules: Any) -> int:
        assert isinstance(millijoules._obj, ctypes.c_uint64)
        return self._answer(handle, "energy_mj", millijoules)

    def nvmlDeviceGetPowerUsage(self, handle: Any, milliwatts: Any) -> int:
        return self._answer(handle, "power_mw", milliwatts)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Any, milliwatts: Any) -> int:
        return self._answer(handle, "limit_mw", milliwatts)

    def nvmlDeviceGetUtilizationRates(self, handle: Any, rates: Any) -> int:
        error, percent = self._ask(handle, "utilization")
        if not error:
            rates._obj.gpu, rates._obj.memory = percent, 99
        return error

    def nvmlDeviceGetClockInfo(self, handle: Any, kind: Any, megahertz: Any) -> int:
        assert kind.value == pynvml.NVML_CLOCK_GRAPHICS
        return self._answer(handle, "clock_mhz", megahertz)

    def nvmlDeviceGetMaxClockInfo(self, handle: Any, kind: Any, megahertz: Any) -> int:
        assert kind.value == pynvml.NVML_CLOCK_GRAPHICS
        return self._answer(handle, "max_clock_mhz", megahertz)

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: Any, celsius: Any) -> int:
        if sensor.value != pynvml.NVML_TEMPERATURE_GPU:
            return pynvml.NVML_ERROR_INVALID_ARGUMENT
        return self._answer(handle, "temperature", celsius)

    def nvmlDeviceGetTemperatureV(self, handle: Any, request: Any) -> int:
        error, celsius = self._ask(handle, "temperature")
        request = request._obj
        if not error and not self._ask(handle, "temperature_v")[1]:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        if not _version(request, 1):
            return pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH
        if request.sensorType != pynvml.NVML_TEMPERATURE_GPU:
            return pynvml.NVML_ERROR_INVALID_ARGUMENT
        if not error:
            request.temperature = celsius
        return error

    def nvmlDeviceGetTemperatureThreshold(self, handle: Any, threshold: Any, celsius: Any) -> int:
        assert threshold.value == pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        return self._answer(handle, "slowdown", celsius)

    def nvmlDeviceGetFanSpeedRPM(self, handle: Any, request: Any) -> int:
        error, rpm = self._ask(handle, "fan_rpm")
        if not _version(request._obj, 1):
            return pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH
        if not error:
            request._obj.speed = rpm
        return error

    def nvmlDeviceGetFieldValues(self, handle: Any, count: ctypes.c_int32, values: Any) -> int:
        error, celsius = self._ask(handle, "error")
        for value in values._obj[: count.value]:
            assert value.fieldId == pynvml.NVML_FI_DEV_MEMORY_TEMP
            # The call succeeds whatever becomes of its fields.
            value.nvmlReturn, celsius = self._ask(handle, "memory_temperature")
            value.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
            # The union holds whatever was there before when a field has no value.
            value.value.uiVal = 12345 if celsius is None else celsius
        return error

    def nvmlDeviceGetViolationStatus(self, handle: Any, policy: Any, time: Any) -> int:
        error, violations = self._ask(handle, "violations")
        if error:
            return error
        if policy.value not in violations:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        time._obj.referenceTime, time._obj.violationTime = 1_700_000_000_000_000, violations[policy.value]
        return pynvml.NVML_SUCCESS

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Any, reasons: Any) -> int:
        return self._answer(handle, "events", reasons)

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:
        error, sizes = self._ask(handle, "memory")
        if not error:
            total, reserved, used = sizes
            memory = memory._obj
            # The first version has no place for what is reserved and counts it as used.
            memory.total, memory.used, memory.free = total, used + reserved, total - used - reserved
        return error

    def nvmlDeviceGetMemoryInfo_v2(self, handle: Any, memory: Any) -> int:
        error, sizes = self._ask(handle, "memory")
        if not error and not self._ask(handle, "memory_v2")[1]:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        memory = memory._obj
        if not _version(memory, 2):
            return pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH
        if not error:
            memory.total, memory.reserved, memory.used = sizes
            memory.free = memory.total - memory.reserved - memory.used
        return error

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, array: Any) -> int:
        return self._processes(handle, "compute", count._obj, array)

    def nvmlDeviceGetGraphicsRunningProcesses_v3(self, handle: Any, count: Any, array: Any) -> int:
        return self._processes(handle, "graphics", count._obj, array)

    def _processes(self, handle: Any, attribute: str, count: Any, array: Any) -> int:
        error, processes = self._ask(handle, attribute)
        if error or not processes:
            count.value = 0
            return error
        room, count.value = count.value, len(processes)
        if array is None or room < len(processes):
            return pynvml.NVML_ERROR_INSUFFICIENT_SIZE
        for entry, process in zip(array, processes, strict=False):
            entry.pid = process.pid
            entry.usedGpuMemory = 2**64 - 1 if process.used is None else process.used
            entry.gpuInstanceId, entry.computeInstanceId = process.gpu_instance, process.compute_instance
        return pynvml.NVML_SUCCESS

    # MIG

    def nvmlDeviceGetMigMode(self, handle: Any, current: Any, pending: Any) -> int:
        error, instances = self._ask(handle, "mig")
        if error:
            return error
        _set(pending, pynvml.NVML_DEVICE_MIG_ENABLE)
        return _set(current, pynvml.NVML_DEVICE_MIG_ENABLE if instances else pynvml.NVML_DEVICE_MIG_DISABLE)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any, count: Any) -> int:
        error, _ = self._ask(handle, "mig")
        return error or _set(count, 7)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: ctypes.c_uint, instance: Any) -> int:
        error, instances = self._ask(handle, "mig")
        if error:
            return error
        if index.value >= len(instances) or instances[index.value] is None:
            return pynvml.NVML_ERROR_NOT_FOUND
        return self._hand_out(instance, instances[index.value])


def _set(target: Any, value: int) -> int:
    target._obj.value = value
    return pynvml.NVML_SUCCESS


def _string(buffer: Any, length: ctypes.c_uint, text: str) -> int:
    if len(text) >= length.value:
        return pynvml.NVML_ERROR_INSUFFICIENT_SIZE
    buffer.value = text.encode()
    return pynvml.NVML_SUCCESS


def _version(struct: Any, version: int) -> bool:
    """Versioned structs carry their size and version, which the library checks."""
    return bool(struct.version == ctypes.sizeof(struct) | version << 24)
