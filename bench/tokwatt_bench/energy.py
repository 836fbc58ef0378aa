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
    """Joules of each counter so far, how often each has moved so far, and the engine's memory since the last one."""

    at_seconds: float
    joules: Mapping[str, float]
    updates: Mapping[str, int]
    memory_bytes: float | None = None


class Use(NamedTuple):
    """Energy between two observations: joules and seconds, and how often each counter moved meanwhile."""

    joules: float
    seconds: float
    updates: Mapping[str, int]
    counters: tuple[str, ...]


def counters(sources: Iterable[Sequence[Reading]]) -> dict[str, float]:
    """The joules that may be added up without counting any twice: of the machine, else of the processor's package and
    the graphics cards, else of all devices. `sources` are the readings of each collector: who counts a package counts
    the parts of it, and a GPU among them is no card.
    """
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
    if system:
        return system
    return package | cards if package else devices


def between(before: Observation | None, after: Observation | None) -> Use | None:
    """What was used meanwhile; None where a counter came or went, for the sum would be of different things."""
    if before is None or after is None or not before.joules or before.joules.keys() != after.joules.keys():
        return None
    return Use(
        sum(after.joules[name] - joules for name, joules in before.joules.items()),
        after.at_seconds - before.at_seconds,
        {name: after.updates.get(name, 0) - before.updates.get(name, 0) for name in before.joules},
        tuple(before.joules),
    )


def per_token(requests: Sequence[Request], uses: Sequence[Use | None], idle: Use | None, why: str) -> dict[str, Any]:
    """The energy of a run: joules per token with idle subtracted and without, what they are made of, and the reasons.

    `uses` belong to the requests, which all succeeded; `why` is the reason where nothing could be read at all.
    """
    known = [use for use in uses if use is not None]
    tokens = [request.generated_tokens for request in requests if request.generated_tokens is not None]
    found: dict[str, Any] = {
        "per_token_joules": None, "per_token_gross_joules": None, "idle_watts": None,
        "idle_seconds": idle.seconds if idle else None, "joules": None, "seconds": None, "counters": [], "updates": 0,
    }  # fmt: skip
    moved: Counter[str] = Counter()
    for use in known:
        moved.update(use.updates)
    if known:
        found["counters"], found["updates"] = list(known[0].counters), min(moved.values())
    reason = why or _missing(requests, known, moved)
    if reason:
        return found | {"reason": reason}
    joules, seconds = sum(use.joules for use in known), sum(use.seconds for use in known)
    found |= {"joules": joules, "seconds": seconds}
    if len(tokens) < len(requests):
        return found | {"reason": "the engine gives no token count"}
    found["per_token_gross_joules"] = joules / sum(tokens)
    watts, reason = _idle_watts(idle)
    if watts is None:
        return found | {"reason": reason}
    found["idle_watts"] = watts
    net = joules - watts * seconds
    if net <= 0:
        return found | {"reason": "the run used no more than the idle machine"}
    return found | {"per_token_joules": net / sum(tokens), "reason": None}


def _missing(requests: Sequence[Request], known: Sequence[Use], moved: Mapping[str, int]) -> str:
    if not requests:
        return "no request succeeded"
    if len(known) < len(requests) or len({use.counters for use in known}) > 1:
        return "the counters of energy changed during the run"
    return _too_rare(moved)


def _too_rare(moved: Mapping[str, int]) -> str:
    if not any(moved.values()):
        return "no counter of energy moved"
    for name, updates in moved.items():
        if updates < FEWEST_UPDATES:
            return f"the counter {name} moved only {updates} times; it takes {FEWEST_UPDATES}"
    return ""


def _idle_watts(idle: Use | None) -> tuple[float | None, str]:
    if idle is None:
        return None, "idle power was not measured"
    if reason := _too_rare(idle.updates):
        return None, f"idle power is not known: {reason}"
    return idle.joules / idle.seconds, ""
