"""A small Mac in full, as its drivers describe it: an M1 notebook with macOS 26.5.2 on mains power."""

from __future__ import annotations

import struct
from typing import Any

from fakes.apple.machine import Channel, Interface, Machine, Node, Process, SimpleChannel, StateChannel

_TICKS = 24_000_000
_UPTIME = 100_000
NOW = _UPTIME * _TICKS

_EFFICIENT = (600, 972, 1332, 1704, 2064)
_FAST = (600, 828, 1056, 1284, 1500, 1728, 1956, 2184, 2388, 2592, 2772, 2988, 3096, 3144, 3204)
_GRAPHICS = (0, 396, 528, 720, 924, 1128, 1278)

_PMGR, _GFX, _AMCC, _CLPC = 0x1_0000_0110, 0x1_0000_0111, 0x1_0000_0112, 0x1_0000_0113


def m1() -> Machine:
    """It has every source that any Mac has."""
    return Machine(
        sysctls=_sysctls(),
        nodes=[_pmgr(), _accelerator(), _disk(), _battery(), _clpc(), *_device_tree()],
        channels=[*_energy(), *_residencies(), *_bandwidth(), *_hidden()],
        smc=_smc(),
        hid=[
            ("pACC MTR Temp Sensor2", 45.5),
            ("eACC MTR Temp Sensor0", 41.0),
            ("GPU MTR Temp Sensor1", 39.25),
            ("NAND CH0 temp", 35.0),
            ("NAND CH0 temp", 36.0),
            ("PMU tdev1", -21.7),
            ("PMU tcal", 51.9),
            ("gas gauge battery", None),
        ],
        notify={"com.apple.system.thermalpressurelevel": 0},
        vm={
            "free": 60_000, "active": 300_000, "inactive": 290_000, "wire": 130_000, "purgeable": 10_000,
            "speculative": 20_000, "compressor": 90_000, "external": 200_000, "internal": 400_000,
            "uncompressed_in_compressor": 250_000, "compressions": 5_000_000, "decompressions": 3_000_000,
            "swapins": 1_000, "swapouts": 4_000, "pageins": 700_000, "pageouts": 9_000, "faults": 90_000_000,
        },
        vm_count=40,
        cpu_ticks=[(2_000_000, 1_000_000, 7_000_000, 0)] * 4 + [(1_000_000, 500_000, 8_500_000, 0)] * 4,
        interfaces=[
            Interface("lo0", 5 << 30, 5 << 30, 4_000_000, 4_000_000),
            Interface("en0", 40 << 30, 6 << 30, 50_000_000, 20_000_000),
            Interface("awdl0", 1 << 20, 2 << 20, 1_000, 2_000),
            Interface("utun0", 3 << 20, 1 << 20, 3_000, 1_000),
        ],
        processes=_processes(),
        power_preferences={"AC Power": {"LowPowerMode": 0, "womp": 1}, "Battery Power": {"LowPowerMode": 1, "womp": 0}},
        absolute_ticks=NOW,
    )  # fmt: skip


def text(value: str) -> bytes:
    """As sysctl and the device tree have it."""
    return value.encode() + b"\0"


def table(*pairs: tuple[int, int]) -> bytes:
    """A table of the power manager: what stands for a clock, and millivolts."""
    return b"".join(struct.pack("<II", *pair) for pair in pairs)


def _sysctls() -> dict[str, bytes]:
    texts = {
        "hw.model": "MacBookPro17,1",
        "hw.targettype": "J293",
        "machdep.cpu.brand_string": "Apple M1",
        "kern.osproductversion": "26.5.2",
        "kern.osversion": "25F84",
        "kern.osrelease": "25.5.0",
        "hw.perflevel0.name": "Performance",
        "hw.perflevel1.name": "Efficiency",
    }
    counts = {
        "hw.ncpu": 8, "hw.physicalcpu": 8, "hw.logicalcpu": 8, "hw.nperflevels": 2,
        "hw.perflevel0.physicalcpu": 4, "hw.perflevel0.logicalcpu": 4, "hw.perflevel0.cpusperl2": 4,
        "hw.perflevel1.physicalcpu": 4, "hw.perflevel1.logicalcpu": 4, "hw.perflevel1.cpusperl2": 4,
        "kern.memorystatus_vm_pressure_level": 1, "kern.memorystatus_level": 52, "iogpu.wired_limit_mb": 0,
        "kern.hv_vmm_present": 0, "sysctl.proc_translated": 0,
    }  # fmt: skip
    sizes = {
        "hw.memsize": 16 << 30,
        "hw.memsize_usable": 16_800_000_000,
        "hw.tbfrequency": _TICKS,
        "hw.pagesize": 16384,
    }
    return (
        {name: text(value) for name, value in texts.items()}
        | {name: struct.pack("<i", value) for name, value in counts.items()}
        | {name: struct.pack("<q", value) for name, value in sizes.items()}
        | {"vm.swapusage": struct.pack("<3Q2I", 2 << 30, 3 << 29, 1 << 29, 16384, 1)}
        | {"kern.boottime": struct.pack("<qi4x", 1_767_000_000, 0)}
    )


def _pmgr() -> Node:
    def clocks(name: str, megahertz: tuple[int, ...]) -> dict[str, bytes]:
        sram = table(*((mhz * 1_000_000, 600 + 20 * step) for step, mhz in enumerate(megahertz)))
        # The one without -sram has the clock as a period.
        plain = table(*((65_536_000 // mhz, 580 + 20 * step) for step, mhz in enumerate(megahertz)))
        return {f"{name}-sram": sram, name: plain}

    gpu = table(*((mhz * 1_000_000, 400 + 30 * step) for step, mhz in enumerate(_GRAPHICS)))
    properties = clocks("voltage-states1", _EFFICIENT) | clocks("voltage-states5", _FAST) | {"voltage-states9": gpu}
    return Node("pmgr", "AppleARMIODevice", {"compatible": text("pmgr1,t8103"), **properties})


def _accelerator() -> Node:
    properties: dict[str, Any] = {
        "model": "Apple M1",
        "gpu-core-count": 8,
        "IONameMatched": "gpu,t8103",
        "AGXParameterBufferMaxSize": 18446744071562067968,
        "GPUConfigurationVariable": {"num_cores": 8, "gpu_gen": 13},
        "PerformanceStatistics": {
            "In use system memory (driver)": 0,
            "In use system memory": 500 << 20,
            "Alloc system memory": 2 << 30,
            "Tiler Utilization %": 1,
            "Renderer Utilization %": 2,
            "Device Utilization %": 4,
            "recoveryCount": 0,
            "lastRecoveryTime": 0,
            "SplitSceneCount": 0,
        },
    }
    clients = [_client(357, "WindowServer", 5_000_000_000), _client(900, "ollama", 7_000_000_000)]
    clients.append(_client(900, "ollama", 1_000_000_000))
    superclasses = ("AGXAcceleratorG13G", "AGXAccelerator", "IOGPU", "IOAccelerator")
    return Node("AGXAcceleratorG13G_B0", "AGXAcceleratorG13G_B0", properties, clients, superclasses=superclasses)


def _client(pid: int, name: str, nanoseconds: int) -> Node:
    usage = {"API": "Metal", "lastSubmittedTime": NOW, "accumulatedGPUTime": nanoseconds}
    properties = {"IOUserClientCreator": f"pid {pid}, {name}", "AppUsage": [usage]}
    return Node("AGXDeviceUserClient", "AGXDeviceUserClient", properties, registered=False)


def _disk() -> Node:
    statistics = {
        "Bytes (Read)": 900_000_000_000, "Bytes (Write)": 400_000_000_000, "Operations (Read)": 30_000_000,
        "Operations (Write)": 15_000_000, "Total Time (Read)": 9_000_000_000, "Errors (Read)": 0, "Retries (Read)": 0,
    }  # fmt: skip
    media = Node("APPLE SSD AP0512Q Media", "IOMedia", {"BSD Name": "disk0", "Whole": True, "Size": 500_277_790_720})
    return Node("IOBlockStorageDriver", "IOBlockStorageDriver", {"Statistics": statistics}, [media])


def _battery() -> Node:
    properties = {
        "BatteryInstalled": True, "CurrentCapacity": 80, "MaxCapacity": 100, "AppleRawMaxCapacity": 4_800,
        "AppleRawCurrentCapacity": 3_840, "DesignCapacity": 5_103, "CycleCount": 120, "Temperature": 3_095,
        "Voltage": 12_400, "InstantAmperage": 500, "Amperage": 510, "ExternalConnected": True, "IsCharging": True,
        "FullyCharged": False, "TimeRemaining": 65_535, "AdapterDetails": {"Watts": 61, "Name": "61W USB-C"},
        "PowerTelemetryData": {"SystemLoad": 9_000},
    }  # fmt: skip
    return Node("AppleSmartBattery", "AppleSmartBattery", properties)


def _clpc() -> Node:
    return Node("AppleCLPC", "AppleCLPC", {"CFBundleIdentifier": "com.apple.driver.AppleT8103CLPCv3"}, id=_CLPC)


def _device_tree() -> list[Node]:
    cpus = [
        Node(
            f"cpu{number}",
            "IOService",
            {"logical-cpu-id": struct.pack("<I", number), "cluster-type": text("E" if number < 4 else "P")},
            plane="IODeviceTree",
        )
        for number in range(8)
    ]
    product = {"product-name": text("MacBook Pro (13-inch, M1, 2020)")}
    return [
        Node("cpus", "IOService", {}, cpus, plane="IODeviceTree"),
        Node("product", "IOService", product, plane="IODeviceTree"),
    ]


def _energy() -> list[Channel]:
    """Millijoules since boot; the GPU has them a second time in nanojoules."""
    cores = [f"{kind}CPU{core}" for kind in ("EACC_", "PACC0_") for core in range(4)]
    names = ["CPU Energy", "EACC_CPU", "PACC0_CPU", *cores, "EACC_CPU0_SRAM", "PACC0CPM", "PACC0_CPU0_DTL00"]
    names += ["GPU", "GPU SRAM", "ANE", "DRAM", "DCS0", "AMCC0", "AFR0", "FAB0", "ISP0", "AVE0", "DISP0", "DISPEXT0"]
    channels: list[Channel] = [SimpleChannel("Energy Model", None, name, "mJ", 1_000_000, NOW, _PMGR) for name in names]
    channels.append(SimpleChannel("Energy Model", None, "PCIe Port 0 Energy", "uJ", 1_000_000_000, NOW, _PMGR))
    channels.append(SimpleChannel("Energy Model", None, "GPU Energy", "nJ", 10**12, NOW, _GFX, driver="AGXG13G"))
    return channels


def _residencies() -> list[Channel]:
    def states(names: list[str]) -> list[tuple[str | None, int]]:
        return [(name, NOW if name in ("IDLE", "OFF") else 0) for name in names]

    def core(kind: str, count: int) -> list[tuple[str | None, int]]:
        return states(["IDLE", *(f"V{step}P{count - 1 - step}" for step in range(count))])

    counts = {"E": len(_EFFICIENT), "P": len(_FAST)}
    cores = [(kind, number) for kind in "EP" for number in range(4)]
    gpu = states(["OFF", *(f"P{step}" for step in range(1, len(_GRAPHICS)))])
    return [
        *(
            StateChannel("CPU Stats", "CPU Core Performance States", f"{kind}CPU0{number}0", core(kind, counts[kind]))
            for kind, number in cores
        ),
        *(
            StateChannel("CPU Stats", "CPU Complex Performance States", f"{kind}CPU", core(kind, counts[kind]))
            for kind in "EP"
        ),
        StateChannel("CPU Stats", "CPU Complex Performance States", "PCPM", states(["IDLE", "V0P1", "V1P0"])),
        StateChannel("GPU Stats", "GPU Performance States", "GPUPH", gpu, driver_id=_GFX, driver="AGXG13G"),
        StateChannel("GPU Stats", "Temperature", "AVG", states(["0-10C", "10-20C"]), driver_id=_GFX, driver="AGXG13G"),
    ]


def _bandwidth() -> list[Channel]:
    names = [
        "ECPU DCS RD",
        "ECPU DCS WR",
        "PCPU0 DCS RD",
        "PCPU0 DCS WR",
        "GFX DCS RD",
        "GFX DCS WR",
        "DCS RD",
        "DCS WR",
    ]
    return [
        SimpleChannel("AMC Stats", "Perf Counters", name, "B", 1 << 40, NOW, _AMCC, driver="AppleT8103MemCache")
        for name in names
    ]


def _hidden() -> list[Channel]:
    """What AppleCLPC answers on macOS 26 to who knows the numbers."""
    reports = {"cpu": 16 << 32 | 0x2CDD31F2, "gpu0": 24 << 32 | 0x21BECF42, "ane": 23 << 32 | 0x0667FB81}
    return [
        SimpleChannel("CLPC", "Energy Counters", name, "nJ", 10**12, NOW, _CLPC, report, "AppleCLPC", hidden=True)
        for name, report in reports.items()
    ]


def _smc() -> dict[str, tuple[str, bytes]]:
    floats = {
        "PSTR": 12.5, "PDTR": 20.0, "PPBR": -6.2, "PHPC": 3.0, "F0Ac": 1_300.0, "F0Mn": 1_200.0, "F0Mx": 7_199.0,
        "F0Tg": 1_300.0, "TB0T": 30.9, "TB1T": 30.5, "TAOL": 28.0, "TaLP": 33.0, "Tm02": 38.0,
        "Tp01": 45.5, "Tp05": 47.25, "Tp09": 0.0, "Tp0D": 46.0, "Te05": 41.0, "Te0L": 41.5, "Tg05": 39.0, "Tg0D": 39.5,
    }  # fmt: skip
    # A real one has well over a thousand keys, nearly all of them nobody's business.
    others: dict[str, tuple[str, bytes]] = {f"zX{number:02d}": ("ui8 ", bytes([number])) for number in range(100)}
    whole: dict[str, tuple[str, bytes]] = {"FNum": ("ui8 ", b"\1"), "RPlt": ("ch8*", b"J293\0\0\0\0")}
    return whole | {key: ("flt ", struct.pack("<f", value)) for key, value in floats.items()} | others


def _processes() -> list[Process]:
    usage = {
        "user_time": 30 * _TICKS, "system_time": 10 * _TICKS, "resident_size": 4 << 30, "phys_footprint": 5 << 30,
        "proc_start_abstime": NOW - 3_600 * _TICKS, "energy_nj": 90 * 10**9, "penergy_nj": 80 * 10**9,
        "neural_footprint": 32 << 20, "instructions": 10**12, "cycles": 9 * 10**11,
    }  # fmt: skip
    return [Process(900, usage), Process(357, errno=1)]
