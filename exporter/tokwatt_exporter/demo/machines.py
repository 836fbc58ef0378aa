"""The machines that a demo can play, with plausible figures of their kind; none of them was measured."""

from __future__ import annotations

from typing import NamedTuple

from tokwatt_exporter.demo.load import Course, Range, course

GIB = 2**30


class Engine(NamedTuple):
    """An engine, the model it has loaded, and what it can tell."""

    name: str
    version: str
    model: str
    quantization: str | None
    format: str | None
    memory: float
    context: float
    #: Tokens per second at full load, over all requests, and of one request while it is busy.
    generation: float
    decode: float
    prefill: float
    #: Its share of the machine's load.
    share: float
    #: Whether it publishes queues, caches and histograms, as servers for many clients do.
    metrics: bool = True
    keeps: float | None = None
    #: It was stopped, and does not answer.
    down: bool = False


class Machine(NamedTuple):
    """What a machine is made of and how it is used."""

    name: str
    os: str
    os_version: str
    arch: str
    chip: str
    model: str
    clusters: dict[str, tuple[int, Range]]
    memory: float
    memory_kinds: dict[str, Range]
    gpu: str
    gpu_memory: float
    gpu_clock: Range
    #: Watts by device, and of the whole machine where it tells.
    power: dict[str, Range]
    package: Range
    system: Range | None
    temperatures: dict[str, Range]
    fans: dict[str, tuple[Range, float]]
    bandwidth: float | None
    engines: tuple[Engine, ...]
    #: Minutes and load of the hour that it lives over and over.
    day: tuple[tuple[float, float], ...]
    battery: bool = False
    #: From this load on it is under thermal pressure.
    hot: float = 2.0

    @property
    def load(self) -> Course:
        """How busy its GPU is with engines."""
        return course(self.name, self.day)

    @property
    def crowd(self) -> Course:
        """How much of the load comes when many want something at once; never more than the load."""
        return course(self.name, tuple((minutes, level**2) for minutes, level in self.day))

    @property
    def apple(self) -> bool:
        """Whether it tells what Macs tell."""
        return self.os == "darwin"


OFFICE = ((6, 0.08), (9, 0.55), (4, 0.2), (12, 0.85), (5, 0.1), (8, 0.45), (3, 0.95), (7, 0.65), (6, 0.04))
EVENING = ((10, 0.05), (7, 0.7), (5, 0.1), (14, 0.92), (8, 0.3), (6, 0.6), (10, 0.06))
SERVER = ((5, 0.45), (8, 0.75), (6, 0.55), (12, 0.97), (9, 0.6), (11, 0.8), (9, 0.35))

MAC_STUDIO = Machine(
    name="mac-studio", os="darwin", os_version="26.1", arch="arm64", chip="Apple M3 Ultra", model="Mac15,14",
    clusters={"efficiency": (8, Range(1.0e9, 2.7e9)), "performance": (24, Range(1.4e9, 4.05e9))},
    memory=256 * GIB,
    memory_kinds={"app": Range(34 * GIB, 61 * GIB), "wired": Range(48 * GIB, 96 * GIB),
                  "compressed": Range(0.4 * GIB, 2.5 * GIB)},
    gpu="Apple M3 Ultra", gpu_memory=192 * GIB, gpu_clock=Range(0.39e9, 1.40e9),
    power={"cpu": Range(3, 44), "gpu0": Range(2, 118), "ane": Range(0, 0.4), "dram": Range(1.2, 13)},
    package=Range(9, 186), system=Range(21, 236),
    temperatures={"cpu": Range(38, 81), "gpu0": Range(36, 77), "ssd": Range(33, 42)},
    fans={"fan0": (Range(1320, 2250), 3500), "fan1": (Range(1310, 2230), 3500)},
    bandwidth=640e9,
    engines=(
        Engine("llama_cpp", "b11669", "gpt-oss-120b", "MXFP4", "gguf", 63 * GIB, 32768, 95, 71, 1180, 0.6),
        Engine("ollama", "0.15.0", "qwen3:32b", "Q4_K_M", "gguf", 22 * GIB, 16384, 34, 29, 410, 0.4,
               metrics=False, keeps=300),
        Engine("lm_studio", "0.4.2", "", None, None, 0, 0, 0, 0, 0, 0, metrics=False, down=True),
    ),
    day=OFFICE,
)  # fmt: skip

LAPTOP = Machine(
    name="laptop", os="darwin", os_version="26.1", arch="arm64", chip="Apple M4 Pro", model="Mac16,8",
    clusters={"efficiency": (4, Range(1.0e9, 2.59e9)), "performance": (10, Range(1.3e9, 4.5e9))},
    memory=48 * GIB,
    memory_kinds={"app": Range(14 * GIB, 22 * GIB), "wired": Range(4 * GIB, 17 * GIB),
                  "compressed": Range(1.5 * GIB, 6 * GIB)},
    gpu="Apple M4 Pro", gpu_memory=36 * GIB, gpu_clock=Range(0.34e9, 1.58e9),
    power={"cpu": Range(1, 31), "gpu0": Range(0.4, 27), "ane": Range(0, 0.2), "dram": Range(0.4, 4)},
    package=Range(2.6, 66), system=Range(7, 84),
    temperatures={"cpu": Range(41, 103), "gpu0": Range(38, 97), "battery": Range(29, 36)},
    fans={"fan0": (Range(1350, 6100), 6800), "fan1": (Range(1350, 6500), 7200)},
    bandwidth=215e9,
    engines=(
        Engine("omlx", "0.3.6", "Qwen3-8B-4bit", "4bit", "mlx", 5.1 * GIB, 32768, 61, 58, 690, 0.75, metrics=False),
        Engine("ollama", "0.15.0", "gemma3:4b", "Q4_K_M", "gguf", 4.2 * GIB, 8192, 28, 52, 880, 0.25,
               metrics=False, keeps=240),
    ),
    day=EVENING, battery=True, hot=0.8,
)  # fmt: skip

LINUX_BOX = Machine(
    name="linux-box", os="linux", os_version="Debian GNU/Linux 13", arch="x86_64", chip="AMD Ryzen 9 9950X",
    model="ProArt X870E-CREATOR", clusters={"cpu": (32, Range(2.2e9, 5.5e9))},
    memory=96 * GIB,
    memory_kinds={"anon": Range(17 * GIB, 31 * GIB), "kernel": Range(2 * GIB, 2.6 * GIB),
                  "shmem": Range(0.8 * GIB, 3.2 * GIB), "hugepages": Range(0, 0)},
    gpu="NVIDIA GeForce RTX 5090", gpu_memory=32 * GIB, gpu_clock=Range(0.6e9, 2.85e9),
    power={"cpu": Range(8, 74), "gpu0": Range(19, 560)},
    package=Range(31, 118), system=None,
    temperatures={"cpu": Range(44, 78), "gpu0": Range(37, 79)},
    fans={"cpu": (Range(560, 1320), 2000), "case": (Range(480, 900), 1500)},
    bandwidth=None,
    engines=(
        Engine("vllm", "0.17.1", "Qwen/Qwen3-30B-A3B-AWQ", "awq", "safetensors", 27 * GIB, 32768, 1240, 148, 9800, 1.0),
    ),
    day=SERVER, hot=2.0,
)  # fmt: skip

MACHINES = {machine.name: machine for machine in (MAC_STUDIO, LAPTOP, LINUX_BOX)}
