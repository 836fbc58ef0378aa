"""What `tokwatt sample` shows: the machine on one screen, a line a part; what is not known is left out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.catalogue import Counter, Family, States
from tokwatt_exporter.snapshot import Labels, Snapshot

_GIB = 2**30


def panel(before: Snapshot, now: Snapshot) -> None:
    """Print the machine as it is `now`; rates are those since `before`."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True, min_width=8)
    grid.add_column(overflow="fold")
    for title, parts in rows(View(before, now)):
        for number, part in enumerate(parts):
            grid.add_row(title if number == 0 else "", part)
    terminal = sys.stdout.isatty()
    Console(markup=False, highlight=False, width=None if terminal else 1000).print(grid)


class View(NamedTuple):
    """Two snapshots of one machine, asked by family."""

    before: Snapshot
    now: Snapshot

    def all(self, family: Family) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series."""
        return [(dict(labels), value) for labels, value in self.now.values.get(family, {}).items()]

    def one(self, family: Family, **labels: str) -> float | None:
        """The value of the series with these labels."""
        return self.now.values.get(family, {}).get(_key(family, labels))

    def info(self, family: Family) -> dict[str, str]:
        """The labels of an info family's first series."""
        return next((labels for labels, _ in self.all(family)), {})

    def by(self, family: Family, label: str) -> dict[str, float]:
        """Value by the one label that tells the series apart."""
        return {labels[label]: value for labels, value in self.all(family) if label in labels}

    def state(self, family: States) -> str | None:
        """The current state."""
        return next((labels["state"] for labels, value in self.all(family) if value), None)

    def rate(self, family: Counter, **labels: str) -> float | None:
        """Growth per second."""
        key = _key(family, labels)
        first, last = (snapshot.values.get(family, {}).get(key) for snapshot in self)
        seconds = (self.now.time_ms - self.before.time_ms) / 1000
        return (last - first) / seconds if first is not None and last is not None and seconds > 0 else None

    def total(self, family: Family, **having: str) -> float | None:
        """The sum over the series with these labels, whatever others they have."""
        values = [value for labels, value in self.all(family) if having.items() <= labels.items()]
        return sum(values) if values else None

    def growth(self, family: Counter, **having: str) -> float | None:
        """Growth per second of all series with these labels."""
        rates = [self.rate(family, **labels) for labels, _ in self.all(family) if having.items() <= labels.items()]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None


def rows(view: View) -> Iterator[tuple[str, list[str]]]:
    """Title and lines of each part that has something to say."""
    for title, lines in (
        ("Machine", _machine(view)),
        ("Power", _power(view)),
        ("CPU", _cpu(view)),
        ("GPU", _gpu(view)),
        ("Heat", _heat(view)),
        ("Memory", _memory(view)),
        ("Traffic", _traffic(view)),
        ("Engines", _engines(view)),
        ("Not here", _problems(view)),
    ):
        if said := [line for line in lines if line]:
            yield title, said


def _machine(view: View) -> Iterator[str]:
    host, cpu = view.info(c.HOST_INFO), view.info(c.DEVICE_INFO)
    memory = view.one(c.MEMORY_SIZE)
    os = host.get("os_version") or host.get("os")
    chip = host.get("chip") or cpu.get("model")
    yield _joined([chip, host.get("machine_model"), os, memory and f"{_size(memory)} memory"], ", ")


def _power(view: View) -> Iterator[str]:
    whole = view.one(c.SYSTEM_POWER)
    package = view.rate(c.PACKAGE_ENERGY)
    parts = [whole is not None and f"whole machine {whole:.1f} W", package is not None and f"package {package:.1f} W"]
    parts += [f"{device} {watts:.1f} W" for device, watts in view.by(c.POWER, "device").items()]
    yield _joined(parts)
    source, charge = view.state(c.POWER_SOURCE), view.one(c.BATTERY_CHARGE)
    adapter, flow = view.one(c.ADAPTER_POWER), view.one(c.BATTERY_POWER)
    mode = view.state(c.POWER_MODE)
    yield _joined([
        source and {"ac": "on mains", "battery": "on battery"}[source],
        adapter is not None and f"adapter of {adapter:.0f} W",
        charge is not None and f"battery {charge:.0%}",
        flow is not None and f"{flow:+.1f} W into it",
        mode and f"power mode {mode}",
    ])  # fmt: skip


def _cpu(view: View) -> Iterator[str]:
    for cluster, cores in view.by(c.CPU_CORES, "cluster").items():
        busy = view.rate(c.CPU_BUSY, cluster=cluster)
        clock = _clock(view.one(c.CPU_FREQUENCY, cluster=cluster), view.one(c.CPU_FREQUENCY_MAX, cluster=cluster))
        yield _joined([f"{cluster}: {cores:.0f} cores", busy is not None and f"{busy / cores:.0%} busy", clock])


def _gpu(view: View) -> Iterator[str]:
    models = {labels["device"]: labels for labels, _ in view.all(c.DEVICE_INFO) if labels.get("kind") == "gpu"}
    families = (c.GPU_UTILIZATION, c.GPU_DRIVER_UTILIZATION, c.GPU_MEMORY_USED)
    devices = {labels["device"] for family in families for labels, _ in view.all(family)}
    for device in sorted(devices | models.keys()):
        model, cores = models.get(device, {}).get("model"), models.get(device, {}).get("cores")
        busy = view.one(c.GPU_UTILIZATION, device=device)
        if busy is None:
            busy = view.one(c.GPU_DRIVER_UTILIZATION, device=device, kind="device")
        used, size = view.one(c.GPU_MEMORY_USED, device=device), view.one(c.GPU_MEMORY_SIZE, device=device)
        yield _joined([
            f"{device}: {_joined([model, cores and f'{cores} cores'], ', ')}".rstrip(": "),
            busy is not None and f"{busy:.0%} busy",
            _clock(view.one(c.GPU_FREQUENCY, device=device), view.one(c.GPU_FREQUENCY_MAX, device=device)),
            used is not None and f"{_size(used)} in use" + (f" of {_size(size)}" if size else ""),
        ])  # fmt: skip


def _heat(view: View) -> Iterator[str]:
    hottest: dict[str, float] = {}
    for labels, value in view.all(c.TEMPERATURE):
        hottest[labels["device"]] = max(value, hottest.get(labels["device"], value))
    yield _joined(f"{device} {value:.0f} °C" for device, value in hottest.items())
    fans = [f"{fan} {rpm:.0f} rpm" for fan, rpm in view.by(c.FAN_SPEED, "fan").items()]
    thermal = view.state(c.THERMAL_STATE)
    yield _joined([*fans, thermal and f"thermal pressure {thermal}"])


def _memory(view: View) -> Iterator[str]:
    available, cached = view.one(c.MEMORY_AVAILABLE), view.one(c.MEMORY_CACHED)
    parts = [f"{kind} {_size(used)}" for kind, used in view.by(c.MEMORY_USED, "kind").items() if used]
    parts += [f"{_size(value)} {what}" for value, what in ((cached, "cached files"), (available, "available"))
              if value is not None]  # fmt: skip
    yield _joined(parts)
    pressure, swap = view.state(c.MEMORY_PRESSURE), view.one(c.SWAP_USED)
    yield _joined([pressure and f"pressure {pressure}", swap is not None and f"{_size(swap)} swapped out"])


def _traffic(view: View) -> Iterator[str]:
    for what, into, out in (
        ("memory", (c.DRAM_READ, "read"), (c.DRAM_WRITTEN, "written")),
        ("disk", (c.DISK_READ, "read"), (c.DISK_WRITTEN, "written")),
        ("network", (c.NETWORK_RECEIVED, "received"), (c.NETWORK_SENT, "sent")),
    ):
        said = [f"{_size(total)}/s {verb}" for family, verb in (into, out)
                if (total := view.growth(family)) is not None]  # fmt: skip
        yield f"{what}: {_joined(said)}" if said else ""


def _engines(view: View) -> Iterator[str]:
    up = view.by(c.ENGINE_UP, "engine")
    for labels, _ in view.all(c.ENGINE_INFO):
        engine = labels["engine"]
        models = [m["model"] for m, _ in view.all(c.MODEL_INFO) if m["engine"] == engine]
        yield _joined([
            _joined([engine, labels.get("version")], " "),
            "up" if up.get(engine) else "down",
            f"loaded: {', '.join(models)}" if models else None,
            _joined(_numbers(view, engine)),
        ])  # fmt: skip


def _numbers(view: View, engine: str) -> Iterator[str]:
    if (running := view.total(c.REQUESTS_RUNNING, engine=engine)) is not None:
        yield f"{running:.0f} running"
    for family in (c.ENGINE_PROCESS_FOOTPRINT, c.ENGINE_PROCESS_MEMORY):
        if memory := view.one(family, engine=engine):
            yield f"{_size(memory)} memory"
            return


def _problems(view: View) -> Iterator[str]:
    for labels, _ in view.all(c.COLLECTOR_PROBLEM):
        yield f"{labels['collector']}: {labels['reason']}"


def _clock(now: float | None, highest: float | None) -> str | None:
    if now is None:
        return f"up to {highest / 1e9:.2f} GHz" if highest else None
    return f"{now / 1e9:.2f} GHz" + (f" of {highest / 1e9:.2f}" if highest else "")


def _size(size: float) -> str:
    for unit, factor in (("GiB", _GIB), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"


def _joined(parts: Iterable[str | float | bool | None], by: str = " · ") -> str:
    return by.join(str(part) for part in parts if part)


def _key(family: Family, labels: dict[str, str]) -> Labels:
    return tuple((name, labels[name]) for name in family.labels if name in labels)
