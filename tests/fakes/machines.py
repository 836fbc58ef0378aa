"""Whole machines, each as it is and as it is five seconds later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fakes.sysfs import Machine


class Kind(NamedTuple):
    """A machine, what happens to it in five seconds, and what `uname -m` says there."""

    build: Callable[[Machine], None]
    later: Callable[[Machine], None]
    arch: str = "x86_64"


def make(name: str, root: Path) -> Machine:
    """The machine of that name under `root`."""
    machine = Machine(root)
    MACHINES[name].build(machine)
    return machine


def later(name: str, machine: Machine) -> None:
    """Five seconds pass on it."""
    machine.clock.pass_time(5)
    MACHINES[name].later(machine)


def intel_hybrid_laptop(m: Machine) -> None:
    """Two performance cores with two threads each, two efficiency cores; battery, platform profile, RAPL with psys."""
    m.write("etc", {"os-release": 'NAME="Ubuntu"\nVERSION_ID="26.04"\nPRETTY_NAME="Ubuntu 26.04 LTS"'})
    m.write("sys/class/dmi/id", {"product_name": "21KCS0AB00", "product_serial": "PF-SECRET"})
    m.cpuinfo(6, vendor_id="GenuineIntel", model_name="Intel(R) Core(TM) Ultra 7 155H", physical_id="0")
    m.write("sys/devices/cpu_core", {"cpus": "0-3"})
    m.write("sys/devices/cpu_atom", {"cpus": "4-5"})
    m.stat(**{f"cpu{n}": "1000 10 500 90000 200 5 15 0 0 0" for n in range(6)})
    for policy in range(6):
        m.cpufreq(policy, str(policy), 2_400_000 if policy < 4 else 1_200_000, 4_800_000 if policy < 4 else 3_800_000)
    m.meminfo(
        MemTotal=32_000_000, MemFree=4_000_000, MemAvailable=20_000_000, Cached=15_000_000, SwapTotal=8_000_000,
        SwapFree=7_500_000, AnonPages=9_000_000, Shmem=700_000, Slab=900_000, SReclaimable=600_000, SUnreclaim=300_000,
        KernelStack=20_000, PageTables=60_000, SecPageTables=0, Percpu=10_000, Zswap=100_000, Hugetlb=0,
    )  # fmt: skip
    m.write("proc", {"vmstat": "nr_free_pages 1\npswpin 1000\npswpout 3000\npswpin_x 7"})
    m.pressure(0.0, 0.0, 2_500_000, 1_000_000)
    m.hwmon(5, "coretemp", "platform/coretemp.0", {
        "temp1_label": "Package id 0", "temp1_input": 62000, "temp1_max": 105000, "temp1_crit": 110000,
        "temp2_label": "Core 0", "temp2_input": 60000, "temp2_max": 105000, "temp2_crit": 110000,
    })  # fmt: skip
    m.hwmon(2, "thinkpad", "platform/thinkpad_hwmon", {
        "temp1_label": "CPU", "temp1_input": 61000, "temp2_label": "GPU", "temp2_input": -128000,
        "fan1_input": 2700, "fan2_input": 0,
    })  # fmt: skip
    nvme = "sys/devices/pci0000:00/0000:04:00.0/nvme/nvme0"
    m.hwmon(3, "nvme", "pci0000:00/0000:04:00.0/nvme/nvme0", {
        "temp1_label": "Composite", "temp1_input": 38850, "temp1_crit": 84850, "temp1_max": 81850,
        "temp2_label": "Sensor 1", "temp2_input": 38850, "temp2_max": 65261850,
    }, device=nvme)  # fmt: skip
    m.write("sys/class/power_supply/AC", {"type": "Mains", "online": 0})
    m.write("sys/class/power_supply/BAT0", {
        "type": "Battery", "status": "Discharging", "energy_now": 39_000_000, "energy_full": 52_000_000,
    })  # fmt: skip
    m.write("sys/class/power_supply/hidpp_battery_0", {"type": "Battery", "scope": "Device", "capacity": 5})
    m.write("sys/firmware/acpi", {"platform_profile": "balanced"})
    m.rapl("intel-rapl:0", "package-0", 5_000_000)
    m.rapl("intel-rapl:0:0", "core", 3_000_000)
    m.rapl("intel-rapl:0:1", "uncore", 1_000_000)
    m.rapl("intel-rapl:1", "psys", 9_000_000)
    m.rapl("intel-rapl-mmio:0", "package-0", 77_000_000)


def _laptop_later(m: Machine) -> None:
    m.stat(**{f"cpu{n}": f"{1400 if n < 4 else 1100} 10 500 90100 300 5 15 0 0 0" for n in range(6)})
    m.energy("intel-rapl:0", 105_000_000)
    m.energy("intel-rapl:0:0", 63_000_000)
    m.energy("intel-rapl:0:1", 11_000_000)
    m.energy("intel-rapl:1", 159_000_000)
    m.energy("intel-rapl-mmio:0", 177_000_000)
    m.pressure(12.5, 1.0, 3_100_000, 1_050_000)


def amd_desktop(m: Machine) -> None:
    """An 8-core Ryzen with a Radeon card, its own graphics unit (an APU to the driver), super-I/O and DDR5 sensors."""
    m.write("etc", {"os-release": 'NAME="Arch Linux"\nID=arch\nBUILD_ID=rolling'})
    m.write("sys/class/dmi/id", {"product_name": "System Product Name", "board_name": "ROG STRIX B650E-F"})
    m.cpuinfo(2, vendor_id="AuthenticAMD", model_name="AMD Ryzen 7 7700X 8-Core Processor", physical_id="0")
    m.stat(cpu0="800 0 200 9000 0 0 0 0 300 0", cpu1="900 0 100 9000 0 0 0 0 0 0")
    m.cpufreq(0, "0 1", 4_500_000, 5_573_000)
    m.meminfo(MemTotal=64_000_000, MemAvailable=50_000_000, AnonPages=8_000_000, Shmem=100_000, SUnreclaim=400_000,
              SwapTotal=0, SwapFree=0, Hugetlb=2_097_152)  # fmt: skip
    m.write("proc", {"vmstat": "pswpin 0\npswpout 0"})
    m.hwmon(0, "k10temp", "pci0000:00/0000:00:18.3", {"temp1_label": "Tctl", "temp1_input": 55125})
    m.hwmon(1, "spd5118", "i2c-1/1-0051", {"temp1_input": 41000, "temp1_max": 55000, "temp1_crit": 85000})
    m.hwmon(4, "spd5118", "i2c-1/1-0053", {"temp1_input": 42500, "temp1_max": 55000, "temp1_crit": 85000})
    m.hwmon(6, "nct6799", "platform/nct6775.656", {
        "temp1_label": "SYSTIN", "temp1_input": 33000, "temp2_label": "AUXTIN0", "temp2_input": 12000, "temp2_fault": 1,
        "fan1_input": 890, "fan1_max": 1800, "fan2_label": "CPU Fan", "fan2_input": 1210, "fan3_input": 700,
        "fan3_fault": 1,
    })  # fmt: skip
    m.amdgpu(1, "0000:03:00.0", "0x744c", {
        "gpu_busy_percent": 40, "mem_info_vram_total": 25753026560, "mem_info_vram_used": 8_000_000_000,
        "mem_info_gtt_total": 33_000_000_000, "mem_info_gtt_used": 50_000_000, "power/runtime_status": "active",
        "pp_dpm_sclk": "0: 500Mhz\n1: 1900Mhz *\n2: 2371Mhz", "gpu_metrics": b"\x78\x00\x01\x03" + bytes(116),
    }, (7, {
        "power1_average": 120_000_000, "power1_cap": 339_000_000, "freq1_label": "sclk", "freq1_input": 1_900_000_000,
        "temp1_label": "edge", "temp1_input": 55000, "temp1_crit": 100000, "temp2_label": "junction",
        "temp2_input": 71000, "temp2_crit": 110000, "temp3_label": "mem", "temp3_input": 76000, "temp3_crit": 105000,
        "fan1_input": 0, "fan1_max": 3200,
    }))  # fmt: skip
    m.amdgpu(0, "0000:0d:00.0", "0x164e", {
        "gpu_busy_percent": 2, "mem_info_vram_total": 536870912, "mem_info_vram_used": 100_000_000,
        "mem_info_gtt_total": 33_000_000_000, "mem_info_gtt_used": 40_000_000,
        "gpu_metrics": b"\x80\x00\x02\x01" + bytes(124),
    }, (8, {
        "power1_input": 31_000_000, "freq1_input": 600_000_000, "temp1_label": "edge", "temp1_input": 47000,
    }))  # fmt: skip
    m.rapl("intel-rapl:0", "package-0", 0, 65_532_610_987)
    m.rapl("intel-rapl:0:0", "core", 1_000_000, 65_532_610_987)


def _desktop_later(m: Machine) -> None:
    m.stat(cpu0="1000 0 300 9200 0 0 0 0 500 0", cpu1="900 0 100 9500 0 0 0 0 0 0")
    gpu = m.root / "sys/devices/pci0000:00/0000:03:00.0"
    m.write(str(gpu), {"gpu_busy_percent": 80, "hwmon/hwmon7/power1_average": 280_000_000})
    m.energy("intel-rapl:0:0", 21_000_000)


def dual_socket_server(m: Machine) -> None:
    """Two sockets, no clocks to read, package and memory counters, the second about to wrap."""
    m.write("etc", {"os-release": "NAME='Rocky Linux'\nVERSION_ID='9.6'"})
    m.write("sys/class/dmi/id", {"product_name": "PowerEdge R760"})
    m.cpuinfo(4, vendor_id="GenuineIntel", model_name="Intel(R) Xeon(R) Platinum 8480+")
    m.stat(**{f"cpu{n}": "5000 0 1000 50000 0 0 0 0 0 0" for n in range(4)})
    m.meminfo(MemTotal=1_000_000_000, MemAvailable=900_000_000, AnonPages=50_000_000, SUnreclaim=2_000_000)
    for socket in (0, 1):
        m.hwmon(3 - socket, "coretemp", f"platform/coretemp.{socket}", {
            "temp1_label": f"Package id {socket}", "temp1_input": 50000 + socket * 4000, "temp1_crit": 100000,
        })  # fmt: skip
        m.rapl(f"intel-rapl:{socket}", f"package-{socket}", 262_143_000_000)
        m.rapl(f"intel-rapl:{socket}:0", "dram", 1_000_000, 65_712_999_613)


def _server_later(m: Machine) -> None:
    m.stat(**{f"cpu{n}": "5400 0 1000 50100 0 0 0 0 0 0" for n in range(4)})
    m.energy("intel-rapl:0", 262_143_300_000)
    m.energy("intel-rapl:1", 999_671_150)
    m.energy("intel-rapl:0:0", 101_000_000)
    m.energy("intel-rapl:1:0", 51_000_000)


def arm_board(m: Machine) -> None:
    """big.LITTLE, a device tree instead of DMI, thermal zones and no hwmon, no swap, no RAPL."""
    m.write("etc", {"os-release": 'NAME="Debian GNU/Linux"\nVERSION_ID="13"'})
    m.write("sys/firmware/devicetree/base", {"model": b"Radxa ROCK 5B\0"})
    m.cpuinfo(4)
    for cpu in range(4):
        m.write(f"sys/devices/system/cpu/cpu{cpu}", {"cpu_capacity": 414 if cpu < 2 else 1024})
    m.stat(**{f"cpu{n}": "100 0 100 8000 0 0 0" for n in range(4)})
    m.cpufreq(0, "0 1", 1_800_000, 1_800_000)
    m.cpufreq(2, "2 3", 408_000, 2_400_000)
    m.meminfo(MemTotal=16_000_000, MemAvailable=14_000_000, AnonPages=800_000, SUnreclaim=80_000, Shmem=20_000)
    zones = {"soc-thermal": 47_153, "bigcore0-thermal": 48_076, "gpu-thermal": -273_000}
    for number, (kind, celsius) in enumerate(zones.items()):
        m.write(f"sys/class/thermal/thermal_zone{number}", {
            "type": kind, "temp": celsius, "trip_point_0_type": "passive", "trip_point_0_temp": 85_000,
            "trip_point_1_type": "critical", "trip_point_1_temp": 115_000,
        })  # fmt: skip


def _board_later(m: Machine) -> None:
    m.stat(**{f"cpu{n}": "100 0 100 8500 0 0 0" for n in range(2)}, cpu2="600 0 100 8000 0 0 0")


def container(m: Machine) -> None:
    """Nothing but /proc: no sensors, no pressure, no os-release, no counters."""
    m.cpuinfo(1, vendor_id="AuthenticAMD", model_name="AMD EPYC")
    m.stat(cpu0="10 0 10 1000 0 0 0 5 0 0")
    m.meminfo(MemTotal=2_000_000, MemAvailable=1_500_000, AnonPages=100_000, SUnreclaim=10_000)


MACHINES = {
    "intel_hybrid_laptop": Kind(intel_hybrid_laptop, _laptop_later),
    "amd_desktop": Kind(amd_desktop, _desktop_later),
    "dual_socket_server": Kind(dual_socket_server, _server_later),
    "arm_board": Kind(arm_board, _board_later, "aarch64"),
    "container": Kind(container, lambda machine: None),
}
