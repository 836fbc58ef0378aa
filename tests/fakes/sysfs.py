"""Small trees of /proc and /sys, written file by file as a kernel would show them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Files = Mapping[str, object]


class FakeTime:
    """Both clocks of a machine, moved by hand."""

    def __init__(self) -> None:
        self.now, self.uptime = 1_700_000_000.0, 1_000.0

    def wall(self) -> float:
        return self.now

    def awake(self) -> float:
        return self.uptime

    def pass_time(self, seconds: float, asleep: float = 0.0) -> None:
        self.now += seconds + asleep
        self.uptime += seconds


class Machine:
    """A machine of files under `root`; a value of None takes the file away."""

    def __init__(self, root: Path) -> None:
        self.root, self.proc, self.sys, self.etc = root, root / "proc", root / "sys", root / "etc"
        self.clock = FakeTime()
        self.supplies = self.sys / "class/power_supply"
        for folder in (self.proc, self.sys, self.etc):
            folder.mkdir(parents=True)

    def write(self, folder: str, files: Files) -> Path:
        """Write `files` (name to content) into `folder`, a path from the root; lines end as the kernel ends them."""
        for name, content in files.items():
            path = self.root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink(missing_ok=True)
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(f"{content}\n")
        return self.root / folder

    def link(self, path: str, target: str) -> None:
        """A symbolic link at `path` to `target`, both from the root."""
        at = self.root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        (self.root / target).mkdir(parents=True, exist_ok=True)
        at.symlink_to(self.root / target)

    def stat(self, **cpus: str) -> None:
        """/proc/stat with the fields of each CPU: user nice system idle iowait irq softirq steal guest guest_nice."""
        rows = [[int(field) for field in row.split()] for row in cpus.values()]
        total = " ".join(str(sum(column)) for column in zip(*rows, strict=True))
        lines = [f"cpu  {total}", *(f"{cpu} {row}" for cpu, row in cpus.items()), "intr 1 0 0", "ctxt 5"]
        self.write("proc", {"stat": "\n".join(lines)})

    def cpuinfo(self, cpus: int, **fields: str) -> None:
        """/proc/cpuinfo with the same fields for each CPU, and a core id of its own."""
        head = {key.replace("_", " ") if key != "vendor_id" else key: value for key, value in fields.items()}
        blocks = [
            "\n".join(f"{key}\t: {value}" for key, value in {"processor": n, **head}.items()) for n in range(cpus)
        ]
        self.write("proc", {"cpuinfo": "\n\n".join(blocks)})

    def meminfo(self, **kib: int) -> None:
        """/proc/meminfo; names with parentheses are of no interest here."""
        lines = [f"{name + ':':15} {value:8} kB" for name, value in kib.items()]
        self.write("proc", {"meminfo": "\n".join([*lines, "HugePages_Total:       0"])})

    def pressure(self, some: float, full: float, some_us: int, full_us: int) -> None:
        """/proc/pressure/memory: averages in percent, totals in microseconds."""
        rows = (("some", some, some_us), ("full", full, full_us))
        lines = [f"{scope} avg10={avg:.2f} avg60=0.00 avg300=0.00 total={total}" for scope, avg, total in rows]
        self.write("proc/pressure", {"memory": "\n".join(lines)})

    def cpufreq(self, policy: int, cpus: str, khz: int | str, max_khz: int) -> None:
        """A clock that the CPUs `0 1 2` share."""
        files = {"related_cpus": cpus, "affected_cpus": cpus, "scaling_cur_freq": khz, "cpuinfo_max_freq": max_khz}
        self.write(f"sys/devices/system/cpu/cpufreq/policy{policy}", files)

    def hwmon(self, number: int, name: str, parent: str, files: Files, device: str | None = None) -> str:
        """A chip of the driver `name` under `sys/devices/<parent>`; gives its folder, from the root."""
        folder = f"sys/devices/{parent}/hwmon/hwmon{number}"
        self.write(folder, {"name": name, **files})
        self.link(f"{folder}/device", device or f"sys/devices/{parent}")
        self.link(f"sys/class/hwmon/hwmon{number}", folder)
        return folder

    def pci(self, address: str, vendor: str, device: str, kind: str = "0x030000") -> str:
        """A PCI device; gives its folder, from the root."""
        folder = f"sys/devices/pci0000:00/{address}"
        self.write(folder, {"vendor": vendor, "device": device, "class": kind})
        self.link(f"sys/bus/pci/devices/{address}", folder)
        return folder

    def amdgpu(self, card: int, address: str, device: str, files: Files, hwmon: tuple[int, Files]) -> str:
        """A GPU of the amdgpu driver; gives its PCI folder, from the root."""
        folder = self.pci(address, "0x1002", device)
        self.write(folder, files)
        self.hwmon(hwmon[0], "amdgpu", f"pci0000:00/{address}", hwmon[1])
        self.write(f"{folder}/drm/card{card}", {"dev": f"226:{card}"})
        self.link(f"{folder}/drm/card{card}/device", folder)
        self.link(f"sys/class/drm/card{card}", f"{folder}/drm/card{card}")
        self.link(f"sys/class/drm/card{card}-DP-1", f"{folder}/drm/card{card}/card{card}-DP-1")
        return folder

    def rapl(self, zone: str, name: str, microjoules: int, wrap: int = 262_143_328_850) -> None:
        """A zone of powercap, `intel-rapl:0:1`."""
        files = {"name": name, "energy_uj": microjoules, "max_energy_range_uj": wrap}
        self.write(f"sys/devices/virtual/powercap/{zone}", files)
        if not (self.sys / "class/powercap" / zone).exists():
            self.link(f"sys/class/powercap/{zone}", f"sys/devices/virtual/powercap/{zone}")

    def energy(self, zone: str, microjoules: int) -> None:
        """Move the counter of a zone."""
        self.write(f"sys/devices/virtual/powercap/{zone}", {"energy_uj": microjoules})
