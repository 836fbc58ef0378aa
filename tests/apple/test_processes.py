"""What macOS accounts to the processes of an engine."""

import os
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import psutil
import pytest

from fakes.apple.machine import Machine, Node, Process
from fakes.sysfs import FakeTime
from support.net import wait_for
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors import registry
from tokwatt_exporter.collectors.apple_engines import AppleEngines, AppleUsage
from tokwatt_exporter.config import load
from tokwatt_exporter.engines.processes import Processes
from tokwatt_exporter.selfmetrics import SelfMetrics

GIB = 2**30
OURS = os.getpid()
FAMILIES = {c.ENGINE_PROCESS_FOOTPRINT, c.ENGINE_PROCESS_NEURAL, c.ENGINE_PROCESS_ENERGY, c.ENGINE_PROCESS_GPU_SECONDS}


class Kernel:
    """The processes and GPU clients that the fake shows."""

    def __init__(self, fake):
        self._fake = fake
        self.processes = {}
        self.clients = {}
        self.flavor = 6

    def account(self, pid, footprint=GIB, joules=0.0, neural=0, errno=0):
        usage = {"phys_footprint": footprint, "energy_nj": round(joules * 1e9), "neural_footprint": neural}
        self.processes[pid] = Process(pid, usage, errno)
        self.show()

    def gpu(self, pid, *seconds):
        usages = [{"API": "Metal", "accumulatedGPUTime": round(one * 1e9)} for one in seconds]
        properties = {"IOUserClientCreator": f"pid {pid}, ollama", "AppUsage": usages}
        self.clients[pid] = Node("AGXDeviceUserClient", "AGXDeviceUserClient", properties, registered=False, id=pid)
        self.show()

    def show(self):
        gpu = Node(
            "AGXAcceleratorG13X", "AGXAcceleratorG13X", children=list(self.clients.values()),
            superclasses=("IOAccelerator",),
        )  # fmt: skip
        nodes = [gpu] if self.clients else []
        self._fake.show(Machine(nodes=nodes, processes=list(self.processes.values()), rusage_flavor=self.flavor))


@pytest.fixture
def kernel(fake):
    return Kernel(fake)


@pytest.fixture
def child():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def processes():
    """As an exporter sees it that started after the processes did."""
    clock = FakeTime()
    clock.wall = lambda: time.time() + 3600
    return Processes(AppleUsage(clock))


@pytest.fixture
def since_ever():
    """As an exporter sees it that is older than the processes."""
    clock = FakeTime()
    clock.wall = lambda: 0.0
    return Processes(AppleUsage(clock))


def values(processes, *pids):
    if pids:
        processes._trees = {"e": tuple(psutil.Process(pid) for pid in pids)}
    processes.begin()
    return {reading.family: reading.value for reading in processes.readings("e")}


def test_footprint_and_neural_memory_are_summed_over_the_engine(kernel, processes, child):
    kernel.account(OURS, footprint=2 * GIB, neural=5)
    kernel.account(child.pid, footprint=3 * GIB, neural=7)
    seen = values(processes, OURS, child.pid)
    assert seen[c.ENGINE_PROCESS_FOOTPRINT] == 5 * GIB
    assert seen[c.ENGINE_PROCESS_NEURAL] == 12
    assert seen[c.ENGINE_PROCESS_MEMORY] > 0
    assert seen[c.ENGINE_PROCESSES] == 2


def test_joules_of_before_the_exporter_started_are_not_counted(kernel, processes):
    kernel.account(OURS, joules=100)
    assert values(processes, OURS)[c.ENGINE_PROCESS_ENERGY] == 0
    kernel.account(OURS, joules=130)
    assert values(processes)[c.ENGINE_PROCESS_ENERGY] == 30


def test_a_process_that_started_later_is_counted_from_its_start(kernel, since_ever):
    kernel.account(OURS, joules=100)
    assert values(since_ever, OURS)[c.ENGINE_PROCESS_ENERGY] == 100


def test_joules_do_not_fall_when_a_process_ends(kernel, since_ever, child):
    kernel.account(OURS, joules=10)
    kernel.account(child.pid, joules=20)
    assert values(since_ever, OURS, child.pid)[c.ENGINE_PROCESS_ENERGY] == 30
    child.stdin.close()
    child.wait()
    assert values(since_ever)[c.ENGINE_PROCESS_ENERGY] == 30


def test_a_process_that_is_away_for_a_while_is_not_counted_twice(kernel, since_ever, child):
    kernel.account(OURS, joules=10)
    kernel.account(child.pid, joules=20)
    values(since_ever, OURS, child.pid)
    values(since_ever, OURS)
    assert values(since_ever, OURS, child.pid)[c.ENGINE_PROCESS_ENERGY] == 30


def test_before_macos_13_there_is_a_footprint_and_no_energy(kernel, processes):
    kernel.flavor = 4
    kernel.account(OURS)
    seen = values(processes, OURS)
    assert seen[c.ENGINE_PROCESS_FOOTPRINT] == GIB
    assert not {c.ENGINE_PROCESS_ENERGY, c.ENGINE_PROCESS_NEURAL} & seen.keys()


def test_an_engine_of_another_user_has_no_footprint_and_still_its_gpu_time(kernel, since_ever, monkeypatch):
    def denied(self):
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "oneshot", denied)
    kernel.account(OURS, errno=1)
    kernel.gpu(OURS, 4.5)
    assert values(since_ever, OURS) == {c.ENGINE_PROCESS_GPU_SECONDS: 4.5}


def test_a_sum_without_one_of_its_processes_is_no_sum(kernel, processes, child):
    kernel.account(OURS, footprint=2 * GIB)
    kernel.account(child.pid, errno=1)
    assert not FAMILIES & values(processes, OURS, child.pid).keys()


def test_a_process_that_has_just_ended_does_not_hide_the_others(kernel, processes, child):
    kernel.account(OURS, footprint=2 * GIB)
    gone = psutil.Process(child.pid)
    processes._trees = {"e": (psutil.Process(OURS), gone)}
    child.stdin.close()
    child.wait()
    wait_for(lambda: not gone.is_running())
    readings = AppleUsage(FakeTime()).readings("e", processes._trees["e"])
    assert {r.family: r.value for r in readings}[c.ENGINE_PROCESS_FOOTPRINT] == 2 * GIB


def test_gpu_seconds_are_summed_over_the_engine(kernel, since_ever, child):
    kernel.gpu(OURS, 1.5, 2.0)
    kernel.gpu(child.pid, 0.5)
    assert values(since_ever, OURS, child.pid)[c.ENGINE_PROCESS_GPU_SECONDS] == 4


def test_gpu_seconds_of_before_the_exporter_started_are_not_counted(kernel, processes):
    kernel.gpu(OURS, 100.0)
    assert values(processes, OURS)[c.ENGINE_PROCESS_GPU_SECONDS] == 0
    kernel.gpu(OURS, 101.0)
    assert values(processes)[c.ENGINE_PROCESS_GPU_SECONDS] == pytest.approx(1)


def test_gpu_seconds_go_on_when_the_driver_forgets_what_it_counted(kernel, processes):
    kernel.gpu(1, 1.0)
    kernel.gpu(OURS, 100.0)
    values(processes, OURS)
    kernel.gpu(OURS, 101.0)
    values(processes)
    del kernel.clients[OURS]
    kernel.show()
    for _ in range(5):
        assert values(processes)[c.ENGINE_PROCESS_GPU_SECONDS] == pytest.approx(1)
    kernel.gpu(OURS, 0.5)
    assert values(processes)[c.ENGINE_PROCESS_GPU_SECONDS] == pytest.approx(1.5)


def test_an_engine_that_does_not_use_the_gpu_has_0_gpu_seconds(kernel, processes):
    kernel.gpu(1, 100.0)
    assert values(processes, OURS)[c.ENGINE_PROCESS_GPU_SECONDS] == 0
    kernel.gpu(OURS, 2.0)
    assert values(processes)[c.ENGINE_PROCESS_GPU_SECONDS] == 2


def test_a_machine_whose_gpu_counts_for_nobody_has_no_gpu_seconds(kernel, processes):
    kernel.account(OURS)
    seen = values(processes, OURS)
    assert c.ENGINE_PROCESS_GPU_SECONDS not in seen
    assert c.ENGINE_PROCESS_FOOTPRINT in seen


def test_the_gpu_is_read_once_a_sample_for_all_engines(kernel, processes, monkeypatch):
    kernel.gpu(OURS, 1.0)
    reads = []
    clients = processes._usage._clients
    monkeypatch.setattr(clients, "read", lambda: reads.append(1) or {OURS: 1.0})
    processes._trees = {"a": (psutil.Process(OURS),), "b": (psutil.Process(OURS),)}
    for _ in range(2):
        processes.begin()
        for engine in "ab":
            list(processes.readings(engine))
    assert len(reads) == 2


def test_an_engine_that_is_gone_starts_from_0_when_it_comes_back(kernel, processes):
    for count in (10, 30):
        kernel.account(OURS, joules=count)
        kernel.gpu(OURS, count)
        values(processes, OURS)
    processes.find({"other": None})
    seen = values(processes, OURS)
    assert (seen[c.ENGINE_PROCESS_ENERGY], seen[c.ENGINE_PROCESS_GPU_SECONDS]) == (0, 0)


def test_an_engine_of_which_psutil_may_not_see_all_has_no_sums_of_it(kernel, processes, child, monkeypatch):
    def denied(self, oneshot=psutil.Process.oneshot):
        if self.pid == child.pid:
            raise psutil.AccessDenied(self.pid)
        return oneshot(self)

    kernel.account(OURS)
    kernel.account(child.pid)
    monkeypatch.setattr(psutil.Process, "oneshot", denied)
    seen = values(processes, OURS, child.pid)
    assert seen.keys() == {c.ENGINE_PROCESS_FOOTPRINT, c.ENGINE_PROCESS_NEURAL, c.ENGINE_PROCESS_ENERGY}


def test_without_the_libraries_of_macos_engines_have_what_psutil_reads():
    seen = values(Processes(AppleUsage()), OURS)
    assert seen.keys() == {c.ENGINE_PROCESSES, c.ENGINE_PROCESS_CPU, c.ENGINE_PROCESS_MEMORY}


@pytest.fixture
def engines():
    settings = {"config": replace(load({}, {}), discovery_enabled=False), "metrics": SelfMetrics()}
    [built] = registry.build(lambda name, default: name == "engines", platform="darwin", engines=settings)
    with closing(built):
        yield built


def test_on_a_mac_the_engines_are_those_with_its_accounting(engines):
    assert isinstance(engines, AppleEngines)
    assert isinstance(engines._processes._usage, AppleUsage)


def test_each_sample_of_the_engines_reads_anew(engines, monkeypatch):
    begun = []
    monkeypatch.setattr(AppleUsage, "begin", lambda self: begun.append(1))
    engines.read()
    engines.read()
    assert len(begun) == 2
