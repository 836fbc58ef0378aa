"""What IOReport and the kernel count while nothing is done but wait."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from tokwatt_exporter.apple import mach
from tokwatt_exporter.apple.ioreport import Channel, Simple, States, Subscription

#: Energy, residencies, traffic. Each is subscribed to by itself: one that is refused would take the others along.
_GROUPS = ("Energy Model", "CPU Stats", "GPU Stats", "AMC Stats", "PMP", "PMP0")
_INVENTORY = "Energy Model"
_JOULES = {"mJ": 1e-3, "uJ": 1e-6, "nJ": 1e-9}

Sample = dict[Channel, Simple | States]


def texts(
    seconds: float, sleep: Callable[[float], None], clock: Callable[[], float]
) -> dict[str, tuple[str, str]]:  # fmt: skip
    """By file: what it is to hold (empty: this Mac counts nothing of it) and where that is from; takes `seconds`."""
    found = (Subscription.open(group) for group in _GROUPS)
    subscriptions = [subscription for subscription in found if subscription]
    try:
        began, ticks, first = clock(), _ticks(), _sample(subscriptions)
        sleep(seconds)
        second, later = _sample(subscriptions), _ticks()
        passed = clock() - began
    finally:
        for subscription in subscriptions:
            subscription.close()
    pairs = [(first[channel], now) for channel, now in second.items() if channel in first]
    energy = [line for before, now in pairs if (line := _inventory(before, now, passed))]
    states = [line for before, now in pairs if (line := _line(before, now, passed))]
    head = f"# sampled for {passed:.6f} s\n"
    return {
        "energy_model.tsv": (head + "".join(energy) if energy else "", "IOReport: name, unit, watts; - stood still"),
        "states.txt": (head + "".join(states) if states else "", "IOReport: ticks and counts"),
        "processor_ticks.txt": ("".join(_processors(ticks, later)), "host_processor_info: since boot + meanwhile"),
    }


def _sample(subscriptions: Iterable[Subscription]) -> Sample:
    return {one.channel: one for subscription in subscriptions for one in subscription.sample()}


def _ticks() -> list[mach.CpuTicks]:
    try:
        return mach.processor_ticks()
    except OSError:
        return []


def _inventory(before: Simple | States, now: Simple | States, passed: float) -> str:
    if now.channel.group != _INVENTORY or not isinstance(before, Simple) or not isinstance(now, Simple):
        return ""
    stands = now.value == before.value and now.published == before.published
    watts = "-" if stands else _watts(before, now, passed)
    return f"{now.channel.name}\t{now.channel.unit}\t{watts}\n"


def _watts(before: Simple, now: Simple, passed: float) -> str:
    """With as many digits as it takes to get the counts back."""
    return f"{max(now.value - before.value, 0) * _JOULES.get(now.channel.unit, 0.0) / passed:.12f}"


def _line(before: Simple | States, now: Simple | States, passed: float) -> str:
    channel = now.channel
    if channel.group == _INVENTORY:
        return ""
    head = f"{channel.group} :: {channel.subgroup} :: {channel.name} ({channel.unit}) = "
    if isinstance(before, Simple) and isinstance(now, Simple):
        if channel.unit in _JOULES:
            return f"{head}{_watts(before, now, passed)}W\n"
        return f"{head}{now.value - before.value}\n" if now.value >= before.value else ""
    if isinstance(before, States) and isinstance(now, States) and len(before.residencies) == len(now.residencies):
        grown = [(n, ticks - then) for (n, ticks), (_, then) in zip(now.residencies, before.residencies, strict=True)]
        # Counters that were reset meanwhile tell nothing.
        if all(ticks >= 0 for _, ticks in grown):
            return f"{head}[{', '.join(f'({json.dumps(name)}, {ticks})' for name, ticks in grown)}]\n"
    return ""


def _processors(before: list[mach.CpuTicks], now: list[mach.CpuTicks]) -> Iterator[str]:
    if len(before) != len(now):
        return
    for cpu, (then, later) in enumerate(zip(before, now, strict=True)):
        counts = (f"{name} {a}+{max(b - a, 0)}" for name, a, b in zip(then._fields, then, later, strict=True))
        yield f"cpu{cpu} {' '.join(counts)}\n"
