"""Joules per token, from the counters that the exporter reads too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tokwatt_bench.request import Request
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.snapshot import Reading

#: The collectors with counters of energy.
COLLECTORS = ("rapl", "nvidia", "amdgpu", "energy", "system_power")
#: A counter that moved less often than this in a run tells more about when it moves than about the run.
FEWEST_UPDATES = 5
#: Graphics cards, and the GPU of a chip, which is in the energy of its package.
_GPU = re.compile(r"gpu\d+")


class Observation(NamedTuple):
    """Joules of each counter so far, how often each has moved so far, and the engine's memory since the last one.

    `timeline` are (seconds, joules of all) since the last one; `devices` the joules of the devices where the counters
    are of the whole machine.
    """

    at_seconds: float
    joules: Mapping[str, float]
    updates: Mapping[str, int]
    memory_bytes: float | None = None
    timeline: tuple[tuple[float, float], ...] = ()
    devices: float | None = None


class Use(NamedTuple):
    """Energy between two observations: joules and seconds, and how often each counter moved meanwhile.

    `timeline` are (seconds, joules so far) in between, both ends included.
    """

    joules: float
    seconds: float
    updates: Mapping[str, int]
    counters: tuple[str, ...]
    timeline: tuple[tuple[float, float], ...] = ()
    devices: float | None = None


class Window(NamedTuple):
    """Requests and the energy used while they ran."""

    requests: Sequence[Request]
    use: Use | None


def counters(sources: Iterable[Sequence[Reading]]) -> dict[str, float]:
    """The joules that may be added up without counting any twice: of the machine, else of the processor's package and
    the graphics cards, else of all devices. `sources` are the readings of each collector: who counts a package counts
    the parts of it, and a GPU among them is no card.
    """
    system, devices = levels(sources)
    return system or devices


def levels(sources: Iterable[Sequence[Reading]]) -> tuple[dict[str, float], dict[str, float]]:
    """The joules of the whole machine, and those of its devices that may be added up."""
    system: dict[str, float] = {}
    package: dict[str, float] = {}
    devices: dict[str, float] = {}
    cards: dict[str, float] = {}
    for readings in sources:
        known = {family: value for family, _, value in readings}
        parts = {dict(labels)["device"]: value for family, labels, value in readings if family == c.ENERGY}
        devices |= parts
        if c.SYSTEM_ENERGY in known:
            system["system"] = known[c.SYSTEM_ENERGY]
        if c.PACKAGE_ENERGY in known:
            package["package"] = known[c.PACKAGE_ENERGY]
        else:
            cards |= {device: value for device, value in parts.items() if _GPU.fullmatch(device)}
    return system, package | cards if package else devices


def between(before: Observation | None, after: Observation | None) -> Use | None:
    """What was used meanwhile; None where a counter came or went, for the sum would be of different things."""
    if before is None or after is None or not before.joules or before.joules.keys() != after.joules.keys():
        return None
    known = before.devices is not None and after.devices is not None
    return Use(
        sum(after.joules[name] - joules for name, joules in before.joules.items()),
        after.at_seconds - before.at_seconds,
        {name: after.updates.get(name, 0) - before.updates.get(name, 0) for name in before.joules},
        tuple(before.joules),
        (*before.timeline[-1:], *after.timeline),
        after.devices - before.devices if known else None,  # type: ignore[operator]
    )


def per_token(windows: Sequence[Window], idle: Use | None, why: str) -> dict[str, Any]:
    """The energy of a run: joules per token with idle subtracted and without, what they are made of, and the reasons.

    A window with a request that failed is left out: its tokens are not known. `why` is the reason where nothing could
    be read at all.
    """
    whole = [window for window in windows if window.requests and all(request.ok for request in window.requests)]
    requests = [request for window in whole for request in window.requests]
    known = [window.use for window in whole if window.use is not None]
    found: dict[str, Any] = {
        "per_token_joules": None, "per_token_gross_joules": None, "tokens_per_joule": None, "idle_watts": None,
        "idle_seconds": idle.seconds if idle else None, "joules": None, "device_joules": None, "seconds": None,
        "counters": [], "updates": 0,
    }  # fmt: skip
    moved: Counter[str] = Counter()
    for use in known:
        moved.update(use.updates)
    if known:
        found["counters"], found["updates"] = list(known[0].counters), min(moved.values())
    reason = why or _missing(whole, windows, known, moved)
    if reason:
        return found | {"reason": reason}
    joules, seconds = sum(use.joules for use in known), sum(use.seconds for use in known)
    devices = [use.devices for use in known if use.devices is not None]
    found |= {"joules": joules, "seconds": seconds}
    found["device_joules"] = sum(devices) if len(devices) == len(known) else None
    tokens = [request.generated_tokens for request in requests if request.generated_tokens is not None]
    if len(tokens) < len(requests):
        return found | {"reason": "the engine gives no token count"}
    found["per_token_gross_joules"] = joules / sum(tokens)
    watts, reason = idle_watts(idle)
    if watts is None:
        return found | {"reason": reason}
    found["idle_watts"] = watts
    net = joules - watts * seconds
    if net <= 0:
        return found | {"reason": "the run used no more than the idle machine"}
    return found | {"per_token_joules": net / sum(tokens), "tokens_per_joule": sum(tokens) / net, "reason": None}


def _missing(whole: Sequence[Window], all_: Sequence[Window], known: Sequence[Use], moved: Mapping[str, int]) -> str:
    if not whole:
        some = any(request.ok for window in all_ for request in window.requests)
        return "a request failed among each that ran side by side" if some else "no request succeeded"
    if len(known) < len(whole) or len({use.counters for use in known}) > 1:
        return "the counters of energy changed during the run"
    return _too_rare(moved)


def _too_rare(moved: Mapping[str, int]) -> str:
    if not any(moved.values()):
        return "no counter of energy moved"
    for name, updates in moved.items():
        if updates < FEWEST_UPDATES:
            return f"the counter {name} moved only {updates} times; it takes {FEWEST_UPDATES}"
    return ""


def idle_watts(idle: Use | None) -> tuple[float | None, str]:
    """The power of the idle machine, or the reason why it is not known."""
    if idle is None:
        return None, "idle power was not measured"
    if reason := _too_rare(idle.updates):
        return None, f"idle power is not known: {reason}"
    return idle.joules / idle.seconds, ""
