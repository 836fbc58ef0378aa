"""NVIDIA GPUs through the real pynvml, on a library that is played."""

import builtins
import inspect
import re

import pynvml
import pytest

from fakes.nvml import MIB, FakeGpu, FakeNvml, Process
from fakes.sysfs import Machine
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.nvidia import RESTART_SECONDS, Nvidia
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def start(machine, monkeypatch):
    """A collector on a library with these GPUs; closed at the end."""
    running = []

    def start(*gpus, owner=None, **library):
        nvml = FakeNvml(*gpus, **library).install(monkeypatch)
        running.append(Nvidia(owner, machine.sys, machine.clock))
        return nvml, running[-1]

    yield start
    for collector in running:
        collector.close()


def sample(collector):
    return Snapshot.of(0, collector.read())


def after(collector, machine, seconds=5.0):
    """A first sample, and another one that much later."""
    sample(collector)
    machine.clock.pass_time(seconds)
    return sample(collector)


def test_the_played_library_has_only_functions_that_pynvml_asks_the_real_one_for():
    asked = set(re.findall(r'_nvmlGetFunctionPointer\("(\w+)"\)', inspect.getsource(pynvml)))
    played = {name for name in vars(FakeNvml) if name.startswith("nvml")}
    assert played <= asked


def test_the_played_library_refuses_questions_before_init(monkeypatch):
    FakeNvml(FakeGpu()).install(monkeypatch)
    with pytest.raises(pynvml.NVMLError_Uninitialized):
        pynvml.nvmlDeviceGetCount()


def test_the_played_library_refuses_handles_of_an_earlier_session(monkeypatch):
    FakeNvml(FakeGpu()).install(monkeypatch)
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    pynvml.nvmlShutdown()
    pynvml.nvmlInit()
    with pytest.raises(AssertionError):
        pynvml.nvmlDeviceGetPowerUsage(handle)
    pynvml.nvmlShutdown()


def test_energy_counts_joules_from_the_start_of_the_exporter_and_power_is_its_mean(start, machine):
    gpu = FakeGpu(energy_mj=5_000_000, power_mw=999_000)
    _, collector = start(gpu)
    first = sample(collector)
    assert first.get(c.ENERGY(0, device="gpu0")) == 0
    assert first.get(c.POWER(0, device="gpu0")) is None
    gpu.energy_mj += 1_500_000
    machine.clock.pass_time(5)
    second = sample(collector)
    assert second.get(c.ENERGY(0, device="gpu0")) == 1500
    assert second.get(c.POWER(0, device="gpu0")) == 300


def test_a_gpu_without_an_energy_counter_integrates_its_power(start, machine):
    gpu = FakeGpu(energy_mj=None, power_mw=100_000)
    _, collector = start(gpu)
    sample(collector)
    gpu.power_mw = 200_000
    machine.clock.pass_time(4)
    second = sample(collector)
    assert second.get(c.ENERGY(0, device="gpu0")) == 600
    assert second.get(c.POWER(0, device="gpu0")) == 150


def test_an_energy_counter_that_starts_again_after_a_driver_reload_is_not_counted_backwards(start, machine):
    gpu = FakeGpu(energy_mj=5_000_000)
    nvml, collector = start(gpu)
    sample(collector)
    nvml.unload_driver()
    with pytest.raises(pynvml.NVMLError_Uninitialized):
        sample(collector)
    gpu.energy_mj = 2_000
    machine.clock.pass_time(10)
    assert sample(collector).get(c.ENERGY(0, device="gpu0")) == 2
    assert nvml.inits == 2


def test_units_are_base_units(start):
    _, collector = start(FakeGpu())
    now = sample(collector)
    assert now.get(c.POWER_LIMIT(0, device="gpu0")) == 700
    assert now.get(c.GPU_UTILIZATION(0, device="gpu0")) == 0.5
    assert now.get(c.GPU_FREQUENCY(0, device="gpu0")) == 1.5e9
    assert now.get(c.GPU_FREQUENCY_MAX(0, device="gpu0")) == 1.98e9
    assert now.get(c.GPU_MEMORY_SIZE(0, device="gpu0")) == 81_559 * MIB
    assert now.get(c.TEMPERATURE(0, device="gpu0", sensor="gpu")) == 45
    assert now.get(c.TEMPERATURE(0, device="gpu0", sensor="memory")) == 52
    assert now.get(c.TEMPERATURE_LIMIT(0, device="gpu0", sensor="gpu")) == 89


def test_used_memory_leaves_out_what_the_driver_reserves(start):
    _, collector = start(FakeGpu(memory=(80_000, 600, 40_000)))
    assert sample(collector).get(c.GPU_MEMORY_USED(0, device="gpu0")) == 40_000


def test_a_driver_without_the_second_memory_call_answers_the_first(start):
    _, collector = start(FakeGpu(memory=(80_000, 600, 40_000)), missing=("nvmlDeviceGetMemoryInfo_v2",))
    assert sample(collector).get(c.GPU_MEMORY_USED(0, device="gpu0")) == 40_600


def test_a_driver_without_the_versioned_temperature_call_answers_the_older_one(start):
    _, collector = start(FakeGpu(temperature=61), missing=("nvmlDeviceGetTemperatureV",))
    assert sample(collector).get(c.TEMPERATURE(0, device="gpu0", sensor="gpu")) == 61


def test_a_driver_without_the_older_temperature_call_answers_the_versioned_one(start):
    _, collector = start(FakeGpu(temperature=61), missing=("nvmlDeviceGetTemperature",))
    assert sample(collector).get(c.TEMPERATURE(0, device="gpu0", sensor="gpu")) == 61


def test_power_that_was_not_known_for_a_while_is_not_integrated_over_it(start, machine):
    gpu = FakeGpu(energy_mj=None, power_mw=100_000)
    _, collector = start(gpu)
    sample(collector)
    gpu.power_mw = None
    machine.clock.pass_time(60)
    assert c.ENERGY not in sample(collector).values
    gpu.power_mw = 100_000
    machine.clock.pass_time(60)
    assert sample(collector).get(c.ENERGY(0, device="gpu0")) == 0


def test_busy_time_is_the_integral_of_utilisation(start, machine):
    gpu = FakeGpu(utilization=100)
    _, collector = start(gpu)
    sample(collector)
    gpu.utilization = 50
    machine.clock.pass_time(4)
    assert sample(collector).get(c.GPU_BUSY(0, device="gpu0")) == 3


def test_busy_time_does_not_bridge_a_gap_in_which_utilisation_was_not_known(start, machine):
    gpu = FakeGpu(utilization=100)
    _, collector = start(gpu)
    sample(collector)
    gpu.utilization = None
    machine.clock.pass_time(5)
    sample(collector)
    gpu.utilization = 100
    machine.clock.pass_time(5)
    assert sample(collector).get(c.GPU_BUSY(0, device="gpu0")) == 0


def test_a_sleep_adds_no_energy_of_its_own(start, machine):
    gpu = FakeGpu(energy_mj=None, power_mw=100_000)
    _, collector = start(gpu)
    sample(collector)
    machine.clock.pass_time(3600)
    collector.rebase()
    assert sample(collector).get(c.ENERGY(0, device="gpu0")) == 0


ABSENT_WITHOUT = {
    "limit_mw": c.POWER_LIMIT(0, device="gpu0"),
    "utilization": c.GPU_UTILIZATION(0, device="gpu0"),
    "clock_mhz": c.GPU_FREQUENCY(0, device="gpu0"),
    "max_clock_mhz": c.GPU_FREQUENCY_MAX(0, device="gpu0"),
    "memory": c.GPU_MEMORY_USED(0, device="gpu0"),
    "temperature": c.TEMPERATURE(0, device="gpu0", sensor="gpu"),
    "memory_temperature": c.TEMPERATURE(0, device="gpu0", sensor="memory"),
    "slowdown": c.TEMPERATURE_LIMIT(0, device="gpu0", sensor="gpu"),
    "fan_rpm": c.FAN_SPEED(0, fan="gpu0 fan1"),
}


@pytest.mark.parametrize("field", ABSENT_WITHOUT)
def test_a_field_that_is_not_supported_is_absent_and_costs_no_other(start, field):
    _, collector = start(FakeGpu(**{"fan_rpm": 1500, field: None}))
    now = sample(collector)
    assert now.get(ABSENT_WITHOUT[field]) is None
    others = [reading for name, reading in ABSENT_WITHOUT.items() if name != field]
    assert all(now.get(reading) is not None for reading in others)


def test_a_gpu_that_supports_neither_energy_nor_power_has_neither(start, machine):
    _, collector = start(FakeGpu(energy_mj=None, power_mw=None))
    now = after(collector, machine)
    assert now.get(c.ENERGY(0, device="gpu0")) is None
    assert now.get(c.POWER(0, device="gpu0")) is None


def test_a_memory_temperature_of_zero_is_a_sensor_that_is_not_there(start):
    _, collector = start(FakeGpu(memory_temperature=0))
    assert sample(collector).get(c.TEMPERATURE(0, device="gpu0", sensor="memory")) is None


def test_a_temperature_no_gpu_can_have_is_absent(start):
    _, collector = start(FakeGpu(temperature=255))
    assert sample(collector).get(c.TEMPERATURE(0, device="gpu0", sensor="gpu")) is None


def test_throttling_counts_the_violation_nanoseconds_since_the_start_by_reason(start, machine):
    gpu = FakeGpu()
    _, collector = start(gpu)
    sample(collector)
    gpu.violations[pynvml.NVML_PERF_POLICY_POWER] += 2_500_000_000
    gpu.violations[pynvml.NVML_PERF_POLICY_THERMAL] += 500_000_000
    machine.clock.pass_time(5)
    now = sample(collector)
    assert now.get(c.THROTTLED(0, device="gpu0", reason="power")) == 2.5
    assert now.get(c.THROTTLED(0, device="gpu0", reason="thermal")) == 0.5
    assert now.get(c.THROTTLED(0, device="gpu0", reason="other")) == 0


@pytest.mark.parametrize(
    ("bit", "reason"),
    [
        (pynvml.nvmlClocksEventReasonHwThermalSlowdown, "thermal"),
        (pynvml.nvmlClocksEventReasonSwThermalSlowdown, "thermal"),
        (pynvml.nvmlClocksEventReasonSwPowerCap, "power"),
        (pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown, "power"),
        (pynvml.nvmlClocksEventReasonSyncBoost, "other"),
    ],
)
def test_a_gpu_without_violation_counters_integrates_its_clock_event_reasons(start, machine, bit, reason):
    _, collector = start(FakeGpu(violations=None, events=bit | pynvml.nvmlClocksEventReasonGpuIdle))
    now = after(collector, machine, 4)
    for each in ("thermal", "power", "other"):
        assert now.get(c.THROTTLED(0, device="gpu0", reason=each)) == (4 if each == reason else 0)


def test_a_gpu_that_says_nothing_about_throttling_has_no_such_series(start, machine):
    _, collector = start(FakeGpu(violations=None, events=None))
    assert c.THROTTLED not in after(collector, machine).values


def test_a_lost_gpu_costs_only_itself_and_is_named(start, caplog):
    lost, kept = FakeGpu(bus_id="00000000:01:00.0"), FakeGpu(bus_id="00000000:02:00.0", utilization=70)
    _, collector = start(lost, kept)
    sample(collector)
    lost.error = pynvml.NVML_ERROR_GPU_IS_LOST
    now = sample(collector)
    sample(collector)
    assert [record.message.partition(";")[0] for record in caplog.records] == ["gpu0: GPU is lost"]
    assert now.get(c.GPU_UTILIZATION(0, device="gpu0")) is None
    assert now.get(c.GPU_UTILIZATION(0, device="gpu1")) == 0.7
    assert now.get(c.COLLECTOR_PROBLEM(collector="nvidia", problem="failed", reason="gpu0: GPU is lost")) == 1


def test_a_lost_gpu_is_looked_for_again_by_starting_nvml_anew(start, machine):
    lost, kept = FakeGpu(bus_id="00000000:01:00.0"), FakeGpu(bus_id="00000000:02:00.0")
    nvml, collector = start(lost, kept)
    sample(collector)
    lost.error = pynvml.NVML_ERROR_GPU_IS_LOST
    sample(collector)
    machine.clock.pass_time(RESTART_SECONDS - 1)
    sample(collector)
    assert nvml.inits == 1
    lost.error = 0
    machine.clock.pass_time(1)
    now = sample(collector)
    assert nvml.inits == 2
    assert now.get(c.GPU_UTILIZATION(0, device="gpu0")) == 0.5
    assert c.COLLECTOR_PROBLEM not in now.values


def test_the_time_a_gpu_was_lost_is_not_integrated(start, machine):
    lost, kept = FakeGpu(energy_mj=None, violations=None, events=4), FakeGpu(bus_id="00000000:02:00.0")
    _, collector = start(lost, kept)
    sample(collector)
    lost.error = pynvml.NVML_ERROR_GPU_IS_LOST
    machine.clock.pass_time(5)
    sample(collector)
    lost.error = 0
    machine.clock.pass_time(RESTART_SECONDS)
    now = sample(collector)
    assert now.get(c.ENERGY(0, device="gpu0")) == 0
    assert now.get(c.GPU_BUSY(0, device="gpu0")) == 0
    assert now.get(c.THROTTLED(0, device="gpu0", reason="power")) == 0


def test_when_every_gpu_is_lost_the_collector_fails(start):
    gpu = FakeGpu()
    _, collector = start(gpu)
    sample(collector)
    gpu.error = pynvml.NVML_ERROR_GPU_IS_LOST
    for _ in range(2):
        with pytest.raises(pynvml.NVMLError_GpuIsLost):
            sample(collector)


def test_a_gpu_that_is_lost_from_the_start_costs_only_itself(start):
    _, collector = start(FakeGpu(error=pynvml.NVML_ERROR_GPU_IS_LOST), FakeGpu(bus_id="00000000:02:00.0"))
    now = sample(collector)
    assert len(now.values[c.GPU_UTILIZATION]) == 1
    assert len(now.values[c.COLLECTOR_PROBLEM]) == 1


def test_without_a_driver_the_collector_is_not_available(monkeypatch, machine):
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    with pytest.raises(NotAvailable, match=r"libnvidia-ml\.so\.1 is not installed"):
        sample(Nvidia(None, machine.sys))


def test_without_pynvml_the_collector_is_not_available(monkeypatch, machine):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pynvml":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NotAvailable, match="nvidia-ml-py is not installed"):
        sample(Nvidia(None, machine.sys, load=lambda: __import__("pynvml")))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "driver is not loaded"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "/dev/nvidiactl"),
    ],
)
def test_a_driver_that_cannot_be_used_is_not_available_and_says_why(start, error, text):
    nvml, collector = start(FakeGpu())
    nvml.init_error = error
    with pytest.raises(NotAvailable, match=text):
        sample(collector)


def test_a_driver_that_was_replaced_under_a_running_machine_is_a_failure(start):
    nvml, collector = start(FakeGpu())
    nvml.init_error = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    with pytest.raises(pynvml.NVMLError_LibRmVersionMismatch):
        sample(collector)


def test_a_session_that_cannot_be_used_fails_each_time_and_is_let_go(start):
    nvml, collector = start(FakeGpu(), missing=("nvmlSystemGetDriverVersion",))
    for _ in range(2):
        with pytest.raises(pynvml.NVMLError_FunctionNotFound):
            sample(collector)
        assert nvml.running == 0


def test_a_driver_without_gpus_is_not_available_and_is_let_go(start):
    nvml, collector = start()
    with pytest.raises(NotAvailable, match="no GPU"):
        sample(collector)
    assert nvml.running == 0


def test_close_shuts_nvml_down_once(start):
    nvml, collector = start(FakeGpu())
    sample(collector)
    assert nvml.running == 1
    collector.close()
    collector.close()
    assert nvml.running == 0


def test_identity_has_model_driver_and_cores(start):
    _, collector = start(FakeGpu(name="NVIDIA GeForce RTX 4090", cores=16384), driver="580.65.06")
    expected = c.DEVICE_INFO(
        device="gpu0", kind="gpu", vendor="NVIDIA", model="NVIDIA GeForce RTX 4090", driver_version="580.65.06",
        cores="16384",
    )  # fmt: skip
    assert sample(collector).get(expected) == 1


def test_a_number_of_cores_the_driver_does_not_know_is_left_out(start):
    _, collector = start(FakeGpu(cores=None))
    [pairs] = sample(collector).values[c.DEVICE_INFO]
    assert "cores" not in dict(pairs)


def test_gpu_memory_of_processes_is_summed_by_the_engine_that_owns_them(start):
    gpu = FakeGpu(compute=[Process(10, 4 * MIB), Process(11, 6 * MIB), Process(12, 100 * MIB), Process(13, 1 * MIB)])
    _, collector = start(gpu, owner={10: "vllm", 11: "vllm", 13: "ollama"}.get)
    now = sample(collector)
    assert now.get(c.ENGINE_PROCESS_GPU_MEMORY(0, engine="vllm", device="gpu0")) == 10 * MIB
    assert now.get(c.ENGINE_PROCESS_GPU_MEMORY(0, engine="ollama", device="gpu0")) == 1 * MIB
    assert len(now.values[c.ENGINE_PROCESS_GPU_MEMORY]) == 2


def test_without_anybody_who_knows_engines_processes_are_nobodys(start):
    _, collector = start(FakeGpu(compute=[Process(10, 4 * MIB)]))
    assert c.ENGINE_PROCESS_GPU_MEMORY not in sample(collector).values


def test_a_process_that_computes_and_draws_is_counted_once(start):
    gpu = FakeGpu(compute=[Process(10, 4 * MIB)], graphics=[Process(10, 4 * MIB)])
    _, collector = start(gpu, owner=lambda pid: "llama_cpp")
    now = sample(collector)
    assert now.get(c.ENGINE_PROCESS_GPU_MEMORY(0, engine="llama_cpp", device="gpu0")) == 4 * MIB


def test_a_process_whose_memory_is_not_known_gives_its_engine_no_series(start):
    _, collector = start(FakeGpu(compute=[Process(10, None)]), owner=lambda pid: "vllm")
    assert c.ENGINE_PROCESS_GPU_MEMORY not in sample(collector).values


def test_a_gpu_divided_by_mig_gives_the_memory_of_its_instances_instead_of_its_own(start):
    instances = [FakeGpu(name="MIG 3g.40gb", memory=(40, 0, 7)), None, FakeGpu(name="MIG 1g.10gb", memory=(10, 0, 3))]
    gpu = FakeGpu(mig=instances, memory=(80, 0, 10), utilization=None)
    _, collector = start(gpu)
    now = sample(collector)
    used = {dict(labels)["device"]: value for labels, value in now.values[c.GPU_MEMORY_USED].items()}
    assert used == {"gpu0-mig0": 7, "gpu0-mig2": 3}
    models = {dict(labels)["device"]: dict(labels)["model"] for labels in now.values[c.DEVICE_INFO]}
    assert models == {"gpu0": gpu.name, "gpu0-mig0": "MIG 3g.40gb", "gpu0-mig2": "MIG 1g.10gb"}
    assert now.get(c.ENERGY(0, device="gpu0")) == 0


def test_a_gpu_that_could_be_divided_but_is_not_gives_its_own_memory(start):
    nvml, collector = start(FakeGpu(mig=[], memory=(80, 0, 10)))
    # Each question takes its time, and there are seven places to ask for.
    nvml.nvmlDeviceGetMaxMigDeviceCount = lambda *arguments: pytest.fail("asked for instances")
    assert sample(collector).get(c.GPU_MEMORY_USED(0, device="gpu0")) == 10


def test_gpus_of_two_vendors_share_one_numbering_by_the_order_of_the_bus(start, machine):
    machine.pci("0000:01:00.0", "0x10de", "0x2684")
    machine.pci("0000:0d:00.0", "0x1002", "0x164e")
    machine.pci("0000:0e:00.0", "0x10de", "0x2330", kind="0x030200")
    _, collector = start(FakeGpu(bus_id="00000000:01:00.0"), FakeGpu(bus_id="00000000:0E:00.0"))
    devices = {dict(labels)["device"] for labels in sample(collector).values[c.GPU_UTILIZATION]}
    assert devices == {"gpu0", "gpu2"}


def test_virtual_functions_and_other_devices_of_a_vendor_take_no_number(start, machine):
    machine.pci("0000:00:1f.0", "0x10de", "0x0001", kind="0x040300")
    share = machine.pci("0000:00:1f.2", "0x10de", "0x2330", kind="0x030200")
    machine.link(f"{share}/physfn", "sys/devices/pci0000:00/0000:01:00.0")
    machine.pci("0000:01:00.0", "0x10de", "0x2684")
    _, collector = start(FakeGpu(bus_id="00000000:01:00.0"))
    assert sample(collector).get(c.GPU_UTILIZATION(0, device="gpu0")) == 0.5


def test_a_gpu_that_fell_off_the_bus_keeps_its_number(start, machine):
    kept = FakeGpu(bus_id="00000000:02:00.0")
    machine.pci("0000:01:00.0", "0x10de", "0x2684")
    machine.pci("0000:02:00.0", "0x10de", "0x2684")
    nvml, collector = start(FakeGpu(bus_id="00000000:01:00.0"), kept)
    sample(collector)
    (machine.sys / "bus/pci/devices/0000:01:00.0").unlink()
    nvml.gpus = [kept]
    nvml.unload_driver()
    with pytest.raises(pynvml.NVMLError_Uninitialized):
        sample(collector)
    assert set(sample(collector).values[c.GPU_UTILIZATION]) == {(("device", "gpu1"),)}
