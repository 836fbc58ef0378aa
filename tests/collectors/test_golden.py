"""Every collector on whole machines, against reviewed text; UPDATE_GOLDEN=1 writes it anew."""

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from fakes.machines import MACHINES, later, make
from tokwatt_exporter.catalogue import BUILD_INFO
from tokwatt_exporter.collectors.battery import Battery
from tokwatt_exporter.collectors.host import Host
from tokwatt_exporter.collectors.linux_amdgpu import LinuxAmdgpu
from tokwatt_exporter.collectors.linux_cpu import LinuxCpu
from tokwatt_exporter.collectors.linux_fan import LinuxFan
from tokwatt_exporter.collectors.linux_memory import LinuxMemory
from tokwatt_exporter.collectors.linux_power_mode import LinuxPowerMode
from tokwatt_exporter.collectors.linux_rapl import LinuxRapl
from tokwatt_exporter.collectors.linux_temperature import LinuxTemperature
from tokwatt_exporter.errors import NotAvailable

GOLDEN = Path(__file__).parent / "golden"


def collectors(machine, arch):
    system = SimpleNamespace(system=lambda: "Linux", machine=lambda: arch, python_version=lambda: "3.13.1")
    return [
        Host(machine.proc, machine.sys, machine.etc, system),
        LinuxCpu(machine.proc, machine.sys, ticks=100),
        LinuxMemory(machine.proc, page_size=4096),
        LinuxTemperature(machine.sys),
        LinuxFan(machine.sys),
        Battery(supplies=machine.supplies),
        LinuxPowerMode(machine.sys),
        LinuxRapl(machine.sys, machine.clock),
        LinuxAmdgpu(machine.sys, machine.clock),
    ]


def read(collector):
    """What a collector gives now, as text."""
    try:
        readings = list(collector.read())
    except NotAvailable as why:
        return [f"# not available: {why}"]
    return [line(reading) for reading in readings if reading.family is not BUILD_INFO]


def line(reading):
    labels = ",".join(f'{name}="{text}"' for name, text in reading.labels)
    return f"{reading.family.name}{{{labels}}} {reading.value:.12g}"


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_gives_what_was_reviewed(name, tmp_path, monkeypatch):
    machine = make(name, tmp_path)
    monkeypatch.setattr(psutil._pslinux, "POWER_SUPPLY_PATH", str(machine.supplies))
    running = collectors(machine, MACHINES[name].arch)
    for collector in running:
        read(collector)
    later(name, machine)
    text = "\n".join(row for collector in running for row in (f"## {collector.name}", *read(collector))) + "\n"
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("name", MACHINES)
def test_no_series_of_a_machine_occurs_twice(name, tmp_path, monkeypatch):
    machine = make(name, tmp_path)
    monkeypatch.setattr(psutil._pslinux, "POWER_SUPPLY_PATH", str(machine.supplies))
    rows = [row for collector in collectors(machine, "x") for row in read(collector) if not row.startswith("#")]
    series = [row.rpartition(" ")[0] for row in rows]
    assert sorted(series) == sorted(set(series))
