"""GPU of a Mac."""

import logging
import struct

import pytest

from fakes.apple import chips, recordings
from fakes.apple.machine import Machine, StateChannel
from support.captures import shared_captures
from support.snapshots import reasons, sample
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.apple_gpu import AppleGpu
from tokwatt_exporter.errors import NotAvailable

MHZ = 1e6
TICKS = 24_000_000


@pytest.fixture
def gpu(mac):
    collector = AppleGpu(mac.clock)
    yield collector
    collector.close()


def value(snapshot, family, **labels):
    return snapshot.get(family(0, device="gpu0", **labels))


def spend(mac, **shares):
    """A second, of which the GPU spends these shares in these states."""
    channel = mac.states("GPUPH")
    channel.states = [(name, ticks + round(TICKS * shares.get(name, 0))) for name, ticks in channel.states]
    mac.clock.pass_time(1)
    mac.show()


def statistics(mac):
    return mac.node("AGXAcceleratorG16X").properties["PerformanceStatistics"]


def test_busy_seconds_count_from_the_start_and_are_those_in_any_active_state(mac, gpu):
    mac.show(chips.m1())
    mac.run(1000, gpu=0.9)
    assert value(sample(gpu), c.GPU_BUSY) == 0
    spend(mac, OFF=0.5, P1=0.2, P6=0.3)
    assert value(sample(gpu), c.GPU_BUSY) == pytest.approx(0.5)


def test_utilisation_is_the_active_share_of_the_interval(mac, gpu):
    mac.show(chips.m1())
    assert value(sample(gpu), c.GPU_UTILIZATION) is None
    spend(mac, OFF=0.5, P1=0.2, P6=0.3)
    assert value(sample(gpu), c.GPU_UTILIZATION) == pytest.approx(0.5)
    # Time may have passed by less than a tick.
    assert value(sample(gpu), c.GPU_UTILIZATION) is None


def test_the_clock_is_the_mean_while_active(mac, gpu):
    mac.show(chips.m1())
    sample(gpu)
    spend(mac, OFF=0.5, P1=0.1, P6=0.4)
    assert value(sample(gpu), c.GPU_FREQUENCY) == pytest.approx((0.1 * 396 + 0.4 * 1278) / 0.5 * MHZ)
    spend(mac, OFF=1)
    seen = sample(gpu)
    assert value(seen, c.GPU_FREQUENCY) is None
    assert value(seen, c.GPU_UTILIZATION) == 0
    assert value(seen, c.GPU_FREQUENCY_MAX) == 1278 * MHZ


def test_a_table_that_does_not_rise_is_used_state_by_state_and_its_highest_clock_is_the_limit(mac, gpu):
    mac.machine = chips.m4_pro()
    # Without the last four, the highest is not the last one.
    mac.node("pmgr").properties["voltage-states9"] = chips.table((0, *chips.M4_GPU[:11]), chips.MHZ)
    mac.show()
    sample(gpu)
    spend(mac, P10=0.5)
    assert value(sample(gpu), c.GPU_FREQUENCY) == 1312 * MHZ
    spend(mac, P11=0.5)
    seen = sample(gpu)
    assert value(seen, c.GPU_FREQUENCY) == 1242 * MHZ
    assert value(seen, c.GPU_FREQUENCY_MAX) == 1312 * MHZ


def test_more_states_than_clocks_run_at_the_last_clock(mac, gpu, caplog):
    mac.show(chips.m5_max())
    sample(gpu)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            spend(mac, P15=0.5)
            assert value(sample(gpu), c.GPU_FREQUENCY) == 1620 * MHZ
    assert len(caplog.records) == 1


def test_the_driver_tells_load_and_memory_under_exact_names(mac, gpu):
    mac.show(chips.m4_pro())
    statistics(mac).update({
        "Device Utilization %": 87, "Renderer Utilization %": 85, "Tiler Utilization %": 12, "recoveryCount": 1,
        "In use system memory": 19_327_352_832, "In use system memory (driver)": 5,
        "Alloc system memory": 33_285_996_544,
    })  # fmt: skip
    mac.show()
    seen = sample(gpu)
    assert value(seen, c.GPU_DRIVER_UTILIZATION, kind="device") == 0.87
    assert value(seen, c.GPU_DRIVER_UTILIZATION, kind="renderer") == 0.85
    assert value(seen, c.GPU_DRIVER_UTILIZATION, kind="tiler") == 0.12
    assert value(seen, c.GPU_MEMORY_USED) == 19_327_352_832
    assert value(seen, c.GPU_MEMORY_ALLOCATED) == 33_285_996_544
    assert value(seen, c.GPU_RECOVERIES) == 1
    info = c.DEVICE_INFO(device="gpu0", kind="gpu", vendor="Apple", model="Apple M4 Pro", cores="16")
    assert seen.get(info) == 1


def test_what_the_driver_does_not_tell_is_absent(mac, gpu):
    mac.show(chips.m4_pro())
    properties = mac.node("AGXAcceleratorG16X").properties
    del properties["gpu-core-count"]
    properties["model"] = b"Apple M4 Pro\0"
    properties["PerformanceStatistics"] = {
        "Device Utilization %": 187, "In use system memory (driver)": 0, "Alloc system memory": -1,
        "Tiler Utilization %": "12",
    }  # fmt: skip
    mac.show()
    seen = sample(gpu)
    for family in (c.GPU_DRIVER_UTILIZATION, c.GPU_MEMORY_USED, c.GPU_MEMORY_ALLOCATED, c.GPU_RECOVERIES):
        assert family not in seen.values
    assert seen.get(c.DEVICE_INFO(device="gpu0", kind="gpu", vendor="Apple", model="Apple M4 Pro")) == 1


@pytest.mark.parametrize(
    ("sysctls", "limit"),
    [
        ({"iogpu.wired_limit_mb": struct.pack("<i", 12_288)}, 12 * 2**30),
        ({"iogpu.wired_limit_mb": struct.pack("<q", 12_288)}, 12 * 2**30),
        ({"iogpu.wired_limit_mb": struct.pack("<i", 0)}, None),
        ({"debug.iogpu.wired_limit": struct.pack("<q", 12 * 2**30)}, 12 * 2**30),
    ],
)
def test_the_memory_that_the_gpu_may_use_is_known_only_where_somebody_set_it(mac, gpu, sysctls, limit):
    mac.machine.sysctls |= sysctls
    mac.show()
    assert value(sample(gpu), c.GPU_MEMORY_SIZE) == limit


def test_without_iokits_node_the_residency_is_there_and_the_rest_is_said_to_be_missing(mac, gpu):
    mac.show(chips.m4_pro())
    mac.remove_node("AGXAcceleratorG16X")
    sample(gpu)
    spend(mac, OFF=0.5, P1=0.5)
    seen = sample(gpu)
    assert value(seen, c.GPU_UTILIZATION) == 0.5
    assert c.GPU_MEMORY_USED not in seen.values
    assert reasons(seen) == ["no node of the GPU's driver in the IORegistry"]


def test_without_residencies_the_driver_is_there_and_the_rest_is_said_to_be_missing(mac, gpu):
    mac.show(chips.m4_pro())
    mac.remove_group("GPU Stats")
    seen = sample(gpu)
    assert value(seen, c.GPU_MEMORY_USED) == 6_373_376
    assert c.GPU_BUSY not in seen.values
    assert reasons(seen) == ["macOS does not report the performance states of the GPU"]


def test_without_a_table_there_is_no_clock(mac, gpu):
    mac.show(chips.m4_pro())
    mac.remove_node("pmgr")
    sample(gpu)
    mac.run(5, gpu=0.5)
    seen = sample(gpu)
    assert value(seen, c.GPU_UTILIZATION) == 0.5
    assert c.GPU_FREQUENCY not in seen.values
    assert c.GPU_FREQUENCY_MAX not in seen.values
    assert reasons(seen) == ["no table of the clocks of the GPU"]


def test_a_virtual_machine_has_no_gpu_until_it_has_one(mac, gpu):
    mac.show(chips.virtual())
    with pytest.raises(NotAvailable, match="no GPU"):
        sample(gpu)
    mac.show(chips.m1())
    assert value(sample(gpu), c.GPU_FREQUENCY_MAX) == 1278 * MHZ


def test_other_channels_beside_the_gpus_are_not_its_states(mac, gpu):
    machine = chips.m1()
    decoys = [
        ("GPU_SW", "GPU Performance States"),
        ("GPUPH", "GPU SW States"),
        ("DIE_0_GPUPH_X", "GPU Performance States"),
    ]
    machine.channels[:0] = [StateChannel("GPU Stats", part, name, [("OFF", 0), ("P1", 0)]) for name, part in decoys]
    mac.show(machine)
    sample(gpu)
    channel = next(one for one in machine.channels if one.name == "GPUPH" and one.subgroup == "GPU Performance States")
    channel.states = [(name, ticks + TICKS) for name, ticks in channel.states]
    mac.show()
    assert value(sample(gpu), c.GPU_UTILIZATION) == pytest.approx(6 / 7)


def test_residencies_in_another_unit_make_a_share_and_no_seconds(mac, gpu):
    mac.show(chips.m1())
    mac.states("GPUPH").unit = "events"
    mac.show()
    sample(gpu)
    spend(mac, OFF=0.5, P1=0.5)
    seen = sample(gpu)
    assert value(seen, c.GPU_UTILIZATION) == 0.5
    assert c.GPU_BUSY not in seen.values


def test_what_the_gpu_did_during_a_sleep_is_not_counted(mac, gpu):
    mac.show(chips.m1())
    sample(gpu)
    mac.run(10, gpu=0.5)
    sample(gpu)
    mac.run(1000, gpu=1)
    gpu.rebase()
    seen = sample(gpu)
    assert value(seen, c.GPU_BUSY) == 5
    assert value(seen, c.GPU_UTILIZATION) is None
    mac.run(10, gpu=0.5)
    seen = sample(gpu)
    assert value(seen, c.GPU_BUSY) == 10
    assert value(seen, c.GPU_UTILIZATION) == 0.5


def test_residencies_that_start_anew_go_on(mac, gpu):
    mac.show(chips.m1())
    sample(gpu)
    mac.run(10, gpu=0.5)
    sample(gpu)
    mac.states("GPUPH").states = [(name, 0) for name, _ in mac.states("GPUPH").states]
    mac.run(2, gpu=0.5)
    seen = sample(gpu)
    assert value(seen, c.GPU_BUSY) == 6
    assert value(seen, c.GPU_UTILIZATION) is None


def test_other_states_than_before_are_no_interval(mac, gpu):
    mac.show(chips.m1())
    sample(gpu)
    mac.states("GPUPH").states = [("OFF", 0), ("P1", TICKS)]
    mac.show()
    assert value(sample(gpu), c.GPU_UTILIZATION) is None


def test_recoveries_do_not_fall_when_the_driver_starts_anew(mac, gpu):
    mac.show(chips.m1())
    statistics(mac)["recoveryCount"] = 3
    mac.show()
    assert value(sample(gpu), c.GPU_RECOVERIES) == 3
    for count, total in ((0, 3), (1, 4)):
        statistics(mac)["recoveryCount"] = count
        mac.show()
        assert value(sample(gpu), c.GPU_RECOVERIES) == total


@pytest.mark.parametrize(
    ("name", "model", "cores", "used"),
    [
        ("ioreg/m1_macbookair10-1_macos11_agx.txt", "Apple M1", "8", 6_373_376),
        ("ioreg/m4pro16c_t6040_macos26_agx_-r-c.txt", "Apple M4 Pro", "16", 10_977_263_616),
        ("modelled/m5pro_macos27.2_ioreg_IOAccelerator_trim.txt", "Apple M5 Pro", "20", 19_327_352_832),
    ],
)
def test_real_nodes(mac, gpu, name, model, cores, used):
    recorded = recordings.read((shared_captures() / "macos" / name).read_bytes())
    mac.show(Machine(nodes=recorded.machine.nodes))
    seen = sample(gpu)
    assert value(seen, c.GPU_MEMORY_USED) == used
    assert seen.get(c.DEVICE_INFO(device="gpu0", kind="gpu", vendor="Apple", model=model, cores=cores)) == 1


def test_real_residency_of_m4_pro(mac, gpu):
    path = shared_captures() / "macos/ioreport/m4pro_macos27_cpu_gpu_states_partial.txt"
    recording = recordings.read(path.read_bytes())
    mac.show(recording.machine)
    mac.machine.nodes = [chips.pmgr({}, gpu=chips.M4_GPU)]
    mac.show()
    sample(gpu)
    mac.machine.channels = recording.later().channels
    mac.show()
    seen = sample(gpu)
    assert value(seen, c.GPU_UTILIZATION) == pytest.approx(1_480_080 / (1_148_773 + 1_480_080))
    assert value(seen, c.GPU_FREQUENCY) == 338 * MHZ
