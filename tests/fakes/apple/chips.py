"""Apple chips as they differ: cores and their levels, tables of clocks, and the names of what is counted."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from fakes.apple.machine import Machine, Node, SimpleChannel, StateChannel

MHZ = 10**6

#: MHz by state: M1, M2 and M4 as they are, of M5 the first and the last, M6's are made up.
M1_E = (600, 972, 1332, 1704, 2064)
M1_P = (600, 828, 1056, 1284, 1500, 1728, 1956, 2184, 2388, 2592, 2772, 2988, 3096, 3144, 3204)
M1_GPU = (396, 528, 720, 924, 1128, 1278)
M2_E = (912, 1284, 1752, 2004, 2256, 2424)
M2_P = (
    702, 948, 1188, 1452, 1704, 1968, 2208, 2400, 2568, 2724, 2868, 3000, 3132, 3264, 3360, 3408, 3504,
)  # fmt: skip
M2_GPU = (444, 612, 808, 968, 1110, 1236, 1338, 1398)
M4_E = (1020, 1404, 1788, 2112, 2352, 2532, 2592)
M4_P = (
    1260, 1512, 1800, 2088, 2352, 2616, 2868, 3096, 3300, 3468, 3624, 3756, 3828, 3888, 3948, 3996, 4044, 4104, 4416,
    4512,
)  # fmt: skip
M4_GPU = (338, 618, 796, 924, 952, 1056, 1062, 1182, 1182, 1312, 1242, 1380, 1326, 1470, 1578)
M5_M = (1344, 1800, 2304, 2808, 3312, 3696, 4020, 4248, 4380)
M5_P = (1308, 1800, 2304, 2820, 3300, 3756, 4104, 4416, 4608)
M5_GPU = (338, 618, 800, 930, 1056, 1180, 1242, 1314, 1380, 1440, 1500, 1560, 1620)
M6_E, M6_M, M6_P = (1100, 1900, 2900), (1200, 2400, 4000), (1300, 2600, 4800)


def m1() -> Machine:
    """4 efficiency and 4 performance cores, and levels without names, as before macOS 13."""
    machine = _machine("Apple M1", "EEEEPPPP", levels=[("", 4), ("", 4)], gpu_cores=8)
    machine.nodes.append(pmgr({1: table(M1_E, MHZ), 5: table(M1_P, MHZ)}, gpu=M1_GPU))
    cores = [*(f"ECPU0{n}0" for n in range(4)), *(f"PCPU0{n}0" for n in range(4))]
    machine.channels += [core(name, len(M1_E if name.startswith("E") else M1_P)) for name in cores]
    machine.channels += [gpuph(len(M1_GPU)), *energy(*_single_die("ANE0", "DRAM0")), *amc()]
    return machine


def m2_ultra() -> Machine:
    """Two dies, so that each name is there twice."""
    kinds = "EEEEPPPPPPPP" * 2
    machine = _machine("Apple M2 Ultra", kinds, levels=[("Performance", 16), ("Efficiency", 8)], gpu_cores=76)
    tables = {1: table(M2_E, MHZ), 5: table(M2_P, MHZ), 13: table(M2_P, MHZ)}
    machine.nodes.append(pmgr(tables, gpu=M2_GPU))
    for die in range(2):
        machine.channels += [core(f"DIE_{die}_ECPU_CPU{n}", len(M2_E)) for n in range(4)]
        machine.channels += [core(f"DIE_{die}_PCPU{p}_CPU{n}", len(M2_P)) for p in ("", "1") for n in range(4)]
    machine.channels += [gpuph(len(M2_GPU)), *amc()]
    return machine


def m4_pro() -> Machine:
    """Clocks in kHz, the state DOWN, and a table of the GPU that does not rise."""
    machine = _machine("Apple M4 Pro", "E" * 4 + "P" * 10, [("Performance", 10), ("Efficiency", 4)], gpu_cores=16)
    tables = {1: table(M4_E, 1000), 5: table(M4_P, 1000), 13: table(M4_P, 1000)}
    machine.nodes.append(pmgr(tables, gpu=M4_GPU))
    # 19 states of a table of 20: this chip is one of the slower bin.
    cores = {f"ECPU0{n}0": 7 for n in range(4)} | {f"PCPU{p}{n}0": 19 for p in range(2) for n in range(5)}
    machine.channels += [core(name, states, "DOWN", "IDLE") for name, states in cores.items()]
    machine.channels += [gpuph(len(M4_GPU)), *energy(*_single_die("ANE0", "DRAM0"))]
    machine.refused.add("AMC Stats")
    return machine


def m5_max() -> Machine:
    """No efficiency cores: P is what the OS calls super, M performance, and the chip tells its tables itself."""
    machine = _machine("Apple M5 Max", "M" * 12 + "P" * 6, [("Super", 6), ("Performance", 12)], gpu_cores=40)
    tables = {22: table(M5_M, 1000), 23: table(M5_M, 1000), 5: table(M5_P, 1000)}
    node = pmgr(tables, gpu=M5_GPU)
    node.properties["acc-clusters"] = b"".join(struct.pack("<BB6x", *pair) for pair in ((22, 1), (23, 1), (5, 2)))
    machine.nodes.append(node)
    cores = dict.fromkeys((f"MCPU{m}{n}0" for m in range(2) for n in range(6)), len(M5_M))
    cores |= dict.fromkeys((f"PCPU0{n}0" for n in range(6)), len(M5_P))
    machine.channels += [core(name, states, "DOWN", "IDLE") for name, states in cores.items()]
    # 15 states of the GPU and 13 clocks.
    machine.channels.append(gpuph(15))
    whole = ("CPU Energy", "PCPU", "MCPU0", "MCPU1", "GPU0", "ANE0", "DRAM0", "DCS0", "DISP0", "DISPEXT0", "AFR0")
    cores_too = (*(f"MCPU{m}_{n}" for m in range(2) for n in range(6)), *(f"PACC_{n}" for n in range(6)))
    parts = ("GPU SRAM0", "MCPM0", "PCPM", "MCPU0_SRAM", *cores_too)
    machine.channels += energy(*((name, "mJ") for name in (*whole, *parts)), ("GPU Energy", "nJ"))
    return machine


def m6() -> Machine:
    """Three levels, and the tables one node below."""
    levels = [("Super", 2), ("Performance", 4), ("Efficiency", 6)]
    machine = _machine("Apple M6", "E" * 6 + "M" * 4 + "P" * 2, levels, gpu_cores=10)
    node = pmgr({1: table(M6_E, 1000), 22: table(M6_M, 1000), 5: table(M6_P, 1000)}, gpu=M4_GPU)
    node.name = "pmgr-child"
    machine.nodes += [Node("pmgr", "AppleARMIODevice", {"IOClass": "ApplePMGR"}), node]
    cores = [f"{kind}CPU0{n}0" for kind, count in (("E", 6), ("M", 4), ("P", 2)) for n in range(count)]
    machine.channels += [core(name, 3, "DOWN", "IDLE") for name in cores]
    machine.channels += [gpuph(len(M4_GPU)), *energy(*_single_die("ANE0", "DRAM0"))]
    return machine


def a18_pro() -> Machine:
    """Energy of the GPU is all that it counts."""
    machine = _machine("Apple A18 Pro", "EEEEPP", levels=[("Performance", 2), ("Efficiency", 4)], gpu_cores=5)
    machine.channels += [gpuph(len(M4_GPU)), *energy(("GPU Energy", "nJ"))]
    machine.channels += [core(f"ECPU0{n}0", 7, "DOWN", "IDLE") for n in range(4)]
    machine.channels += [core(f"PCPU0{n}0", 17, "DOWN", "IDLE") for n in range(2)]
    return machine


def virtual() -> Machine:
    """A virtual machine: one level of cores, and nothing that measures."""
    machine = _machine("Apple M4 (Virtual)", "PPPP", levels=[("Standard", 4)], gpu_cores=0)
    machine.nodes.clear()
    return machine


def table(mhz: Iterable[int], unit: int) -> bytes:
    """Clocks in Hz (unit MHZ) or kHz (unit 1000), each with its millivolts."""
    return b"".join(struct.pack("<II", clock * unit, 600 + step) for step, clock in enumerate(mhz))


def periods(mhz: Iterable[int]) -> bytes:
    """The same clocks as the table without `-sram` has them."""
    return b"".join(struct.pack("<II", 65_536_000 // clock, 600) for clock in mhz)


def pmgr(sram: dict[int, bytes], gpu: Sequence[int] = ()) -> Node:
    """The power manager with these CPU tables, and the GPU's, whose first step is the GPU switched off."""
    properties: dict[str, object] = {f"voltage-states{index}-sram": data for index, data in sram.items()}
    if gpu:
        properties["voltage-states9"] = table((0, *gpu), MHZ)
    return Node("pmgr", "AppleARMIODevice", properties)


def core(name: str, states: int, *at_rest: str) -> StateChannel:
    """The performance states of one core, of which so many are active."""
    active = [f"V{state}P{states - 1 - state}" for state in range(states)]
    names = [*(at_rest or ("IDLE",)), *active]
    return StateChannel("CPU Stats", "CPU Core Performance States", name, [(name, 0) for name in names])


def gpuph(states: int) -> StateChannel:
    """The performance states of the GPU."""
    names = ["OFF", *(f"P{state}" for state in range(1, states + 1))]
    return StateChannel("GPU Stats", "GPU Performance States", "GPUPH", [(name, 0) for name in names])


def energy(
    *units: tuple[str, str | None], group: str = "Energy Model", subgroup: str | None = None
) -> list[SimpleChannel]:
    """Counters of energy: name and unit. All are published when the machine begins."""
    return [SimpleChannel(group, subgroup, name, unit, 50_000, Machine.absolute_ticks) for name, unit in units]


def amc() -> list[SimpleChannel]:
    """Memory traffic: totals, and the parts that are in them."""
    names = [f"{part}DCS {way}" for part in ("", "ECPU ", "PCPU0 ", "GFX ") for way in ("RD", "WR")]
    return [SimpleChannel("AMC Stats", "Perf Counters", name, "B", 10**9) for name in names]


def _single_die(ane: str, dram: str) -> list[tuple[str, str]]:
    """What is counted on a chip with one die, and much that is a part of it."""
    whole = ("CPU Energy", "EACC_CPU", "PACC0_CPU", "GPU0", "GPU SRAM0", ane, dram, "DCS0", "AMCC0", "ISP0", "AVE0")
    cores = [f"{cluster}_CPU{n}" for cluster in ("EACC", "PACC0") for n in range(4)]
    parts = (*cores, "EACC_CPM", "PACC0_CPM", "EACC_SRAM", "PACC0_SRAM", "ECPUDTL00", "PCPU0DTL0a")
    return [*((name, "mJ") for name in (*whole, *parts)), ("GPU Energy", "nJ"), ("apciec0 Energy", "uJ")]


def _machine(brand: str, kinds: str, levels: Sequence[tuple[str, int]], gpu_cores: int) -> Machine:
    """`kinds` are the letters of the CPUs in their order, `levels` the OS's names, fastest first, and counts."""
    sysctls = {
        "machdep.cpu.brand_string": brand.encode() + b"\0",
        "hw.physicalcpu": struct.pack("<i", len(kinds)),
        "hw.nperflevels": struct.pack("<i", len(levels)),
    }
    for level, (name, count) in enumerate(levels):
        sysctls[f"hw.perflevel{level}.logicalcpu"] = struct.pack("<i", count)
        if name:
            sysctls[f"hw.perflevel{level}.name"] = name.encode() + b"\0"
    nodes = [device_tree(kinds), accelerator(brand, gpu_cores)]
    ticks = [(1_000, 500, 100_000, 0)] * len(kinds)
    return Machine(sysctls=sysctls, nodes=nodes, cpu_ticks=ticks)


def device_tree(kinds: str) -> Node:
    """The CPUs, by the letters of their kinds in the order of their numbers."""
    cpus = Node("cpus", "IOService", plane="IODeviceTree")
    for number, kind in enumerate(kinds):
        properties = {"cluster-type": f"{kind}\0".encode(), "logical-cpu-id": struct.pack("<I", number)}
        cpus.children.append(Node(f"cpu{number}", "IOPlatformDevice", properties, plane="IODeviceTree"))
    return cpus


def accelerator(model: str, cores: int) -> Node:
    """The node of the GPU's driver, idle."""
    statistics = {
        "In use system memory (driver)": 0,
        "Alloc system memory": 2_411_806_720,
        "Tiler Utilization %": 0,
        "recoveryCount": 0,
        "Renderer Utilization %": 0,
        "Device Utilization %": 0,
        "Allocated PB Size": 20_185_088,
        "In use system memory": 6_373_376,
    }
    properties = {
        "model": model,
        "gpu-core-count": cores,
        # What the silicon has, of which some cores are switched off.
        "GPUConfigurationVariable": {"num_cores": cores + 4},
        "PerformanceStatistics": statistics,
    }
    return Node("AGXAcceleratorG16X", "AGXAcceleratorG16X", properties, superclasses=("IOAccelerator",))
