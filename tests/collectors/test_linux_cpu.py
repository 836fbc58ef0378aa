"""CPU of a Linux host."""

import pytest

from fakes.sysfs import Machine
from tokwatt_exporter.catalogue import CPU_BUSY, CPU_CORES, CPU_FREQUENCY, CPU_FREQUENCY_MAX, DEVICE_INFO
from tokwatt_exporter.collectors.linux_cpu import LinuxCpu
from tokwatt_exporter.collectors.linux_topology import clusters
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot

IDLE = "0 0 0 0 0 0 0 0 0 0"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def cpu(machine):
    return LinuxCpu(machine.proc, machine.sys, ticks=100)


def sample(collector):
    return Snapshot.of(0, collector.read())


def busy(collector, cluster="cpu"):
    return sample(collector).get(CPU_BUSY(0, cluster=cluster))


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ("100 0 0 0 0 0 0 0 0 0", 1),
        ("0 100 0 0 0 0 0 0 0 0", 1),
        ("0 0 100 0 0 0 0 0 0 0", 1),
        ("0 0 0 100 0 0 0 0 0 0", 0),
        ("0 0 0 0 100 0 0 0 0 0", 0),
        ("0 0 0 0 0 100 0 0 0 0", 1),
        ("0 0 0 0 0 0 100 0 0 0", 1),
        ("0 0 0 0 0 0 0 100 0 0", 1),
        ("100 0 0 0 0 0 0 0 100 0", 1),
        ("0 100 0 0 0 0 0 0 0 100", 1),
    ],
    ids=["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"],
)
def test_busy_is_all_but_idle_and_iowait_and_guests_are_counted_once(machine, cpu, fields, seconds):
    machine.stat(cpu0=fields)
    assert busy(cpu) == seconds


def test_busy_sums_the_cores_and_not_the_line_that_sums_them(machine, cpu):
    machine.stat(cpu0="100 0 0 0 0 0 0 0 0 0", cpu1="50 0 0 0 0 0 0 0 0 0")
    assert busy(cpu) == 1.5


def test_a_core_that_goes_offline_takes_none_of_its_seconds_away(machine, cpu):
    machine.stat(cpu0="100 0 0 0 0 0 0 0 0 0", cpu1="700 0 0 0 0 0 0 0 0 0")
    assert busy(cpu) == 8
    machine.stat(cpu0="200 0 0 0 0 0 0 0 0 0")
    now = sample(cpu)
    assert now.get(CPU_BUSY(0, cluster="cpu")) == 9
    assert now.get(CPU_CORES(0, cluster="cpu")) == 1


def test_a_cluster_whose_cores_are_all_offline_has_none_and_keeps_its_seconds(machine, cpu):
    machine.write("sys/devices/cpu_core", {"cpus": "0"})
    machine.write("sys/devices/cpu_atom", {"cpus": "1"})
    machine.stat(cpu0=IDLE, cpu1="700 0 0 0 0 0 0 0 0 0")
    sample(cpu)
    machine.stat(cpu0=IDLE)
    now = sample(cpu)
    assert now.get(CPU_CORES(0, cluster="efficiency")) == 0
    assert now.get(CPU_BUSY(0, cluster="efficiency")) == 7


def test_steal_that_falls_in_a_virtual_machine_does_not_turn_the_counter_back(machine, cpu):
    machine.stat(cpu0="100 0 0 0 0 0 0 900 0 0")
    assert busy(cpu) == 10
    machine.stat(cpu0="100 0 0 0 0 0 0 300 0 0")
    assert busy(cpu) == 10


def test_a_kernel_with_fewer_fields_is_read(machine, cpu):
    machine.stat(cpu0="100 0 50 900")
    assert busy(cpu) == 1.5


def test_cores_of_a_hybrid_chip_are_told_apart(machine, cpu):
    machine.write("sys/devices/cpu_core", {"cpus": "0-1"})
    machine.write("sys/devices/cpu_atom", {"cpus": "2"})
    machine.stat(cpu0=IDLE, cpu1=IDLE, cpu2=IDLE)
    now = sample(cpu)
    assert now.get(CPU_CORES(0, cluster="performance")) == 2
    assert now.get(CPU_CORES(0, cluster="efficiency")) == 1


def test_a_core_that_comes_online_later_joins_the_cluster_of_its_kind(machine, cpu):
    machine.write("sys/devices/cpu_core", {"cpus": "0"})
    machine.write("sys/devices/cpu_atom", {"cpus": "2"})
    machine.stat(cpu0=IDLE, cpu2=IDLE)
    sample(cpu)
    machine.write("sys/devices/cpu_core", {"cpus": "0-1"})
    machine.stat(cpu0=IDLE, cpu1=IDLE, cpu2=IDLE)
    assert sample(cpu).get(CPU_CORES(0, cluster="performance")) == 2


@pytest.mark.parametrize(
    ("capacities", "expected"),
    [
        ((1024, 1024), ("cpu", "cpu")),
        ((414, 1024), ("efficiency", "performance")),
        ((250, 600, 1024), ("efficiency", "performance", "prime")),
        ((718, 997, 1024), ("efficiency", "performance", "performance")),
        ((100, 300, 600, 1024), ("cluster3", "cluster2", "cluster1", "cluster0")),
    ],
)
def test_arm_cores_are_grouped_by_capacity_and_favoured_cores_are_no_kind_of_their_own(machine, capacities, expected):
    for number, capacity in enumerate(capacities):
        machine.write(f"sys/devices/system/cpu/cpu{number}", {"cpu_capacity": capacity})
    assert tuple(clusters(machine.sys).values()) == expected


def test_the_clock_is_the_mean_over_online_cores_in_hertz(machine, cpu):
    machine.cpufreq(0, "0 1 2", 1_000_000, 3_000_000)
    machine.cpufreq(3, "3", 3_000_000, 4_000_000)
    machine.stat(cpu0=IDLE, cpu1=IDLE, cpu3=IDLE)
    now = sample(cpu)
    assert now.get(CPU_FREQUENCY(0, cluster="cpu")) == pytest.approx(5e9 / 3)
    assert now.get(CPU_FREQUENCY_MAX(0, cluster="cpu")) == 4e9


def test_cores_that_share_a_clock_and_are_all_offline_have_none(machine, cpu):
    machine.cpufreq(0, "0", 1_000_000, 3_000_000)
    machine.cpufreq(1, "1", 2_000_000, 5_000_000)
    machine.write("sys/devices/system/cpu/cpufreq", {"boost": 1})
    machine.stat(cpu0=IDLE)
    now = sample(cpu)
    assert now.get(CPU_FREQUENCY(0, cluster="cpu")) == 1e9
    assert now.get(CPU_FREQUENCY_MAX(0, cluster="cpu")) == 3e9


def test_a_machine_that_counts_no_capacity_has_one_cluster(machine):
    machine.write("sys/devices/system/cpu/cpu0", {"online": 1})
    machine.write("sys/devices/system/cpu/cpuidle", {"current_driver": "none"})
    assert clusters(machine.sys) == {}


def test_a_clock_the_driver_does_not_know_is_absent(machine, cpu):
    machine.cpufreq(0, "0", "<unknown>", 3_000_000)
    machine.stat(cpu0=IDLE)
    assert CPU_FREQUENCY not in sample(cpu).values


def test_a_virtual_machine_without_cpufreq_has_no_clock(machine, cpu):
    machine.stat(cpu0=IDLE)
    now = sample(cpu)
    assert CPU_FREQUENCY not in now.values
    assert CPU_FREQUENCY_MAX not in now.values


def test_identity_counts_physical_cores_of_all_sockets(machine, cpu):
    blocks = [
        f"processor\t: {n}\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 9654\n"
        f"physical id\t: {n % 2}\ncore id\t\t: {n // 4}"
        for n in range(8)
    ]
    machine.write("proc", {"cpuinfo": "\n\n".join(blocks)})
    machine.stat(cpu0=IDLE)
    expected = DEVICE_INFO(device="cpu", kind="cpu", vendor="AMD", model="AMD EPYC 9654", cores="4")
    assert sample(cpu).get(expected) == 1


def test_identity_is_read_once_and_what_is_not_known_is_left_out(machine, cpu):
    machine.stat(cpu0=IDLE)
    assert sample(cpu).get(DEVICE_INFO(device="cpu", kind="cpu")) == 1
    machine.cpuinfo(1, vendor_id="AuthenticAMD")
    assert sample(cpu).get(DEVICE_INFO(device="cpu", kind="cpu")) == 1


def test_without_proc_there_is_no_cpu_to_read(cpu):
    with pytest.raises(NotAvailable, match="is /proc mounted"):
        sample(cpu)
