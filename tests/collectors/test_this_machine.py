"""Every collector of this platform on the machine that runs the tests."""

import sys

import psutil
import pytest

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.registry import REGISTRY, build
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot

#: Collectors of the hardware and the process; engines, proxy and benchmark need a daemon around them.
PAIRS = [(e.name, system) for e in REGISTRY if e.name not in ("engines", "proxy", "benchmark") for system in e.classes]


def collector(name, platform=sys.platform):
    [built] = build(lambda each, default: each == name, platform)
    return built


def sample(name, platform=sys.platform):
    running = collector(name, platform)
    try:
        list(running.read())
        return Snapshot.of(0, running.read())
    finally:
        running.close()


@pytest.mark.parametrize(("name", "platform"), PAIRS)
def test_a_collector_reads_or_says_that_the_source_is_not_there(name, platform):
    try:
        assert len(sample(name, platform)) > 0
    except NotAvailable as why:
        assert len(str(why)) > 10


def test_cpu_and_memory_are_read_and_agree_with_psutil():
    cpu, memory = sample("cpu"), sample("memory")
    assert sum(cpu.values[c.CPU_CORES].values()) == psutil.cpu_count()
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0) + getattr(times, "guest", 0) + getattr(times, "guest_nice", 0)
    assert sum(cpu.values[c.CPU_BUSY].values()) == pytest.approx(sum(times) - idle, abs=3)
    size = memory.get(c.MEMORY_SIZE(0))
    assert size == psutil.virtual_memory().total
    assert 0 < memory.get(c.MEMORY_AVAILABLE(0)) < size
    assert sum(memory.values.get(c.MEMORY_USED, {}).values()) < size


@pytest.mark.parametrize("name", ["host", "cpu", "memory", "process"])
def test_what_every_machine_has_is_read_here(name):
    assert len(sample(name)) > 0
