"""The 95 % intervals of figures that are one number for all requests of a run; others have theirs in their summary.

What is a sum ÷ a sum (joules by tokens, tokens by seconds) has that of the block bootstrap, a share Wilson's, and what
is made of another figure that of the other figure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tokwatt_bench import energy
from tokwatt_bench.bootstrap import by_chance, inflation, memory, ratio_interval, students_t
from tokwatt_bench.explain import lookup
from tokwatt_bench.goodput import met
from tokwatt_bench.load import Run
from tokwatt_bench.phases import cut, joules_at, uncached
from tokwatt_bench.quality.score import wilson
from tokwatt_bench.request import Request
from tokwatt_bench.throughput import span_seconds

Interval = tuple[float, float]
Found = dict[str, Interval | None]

#: Idle time is looked at in so many parts, of which each has counters that moved.
_FEWEST_PARTS, _MOST_PARTS = 4, 10
_TOO_FEW = "too few requests, or they differ too much from each other"


def add(found: dict[str, Any], reasons: dict[str, str], run: Run) -> None:
    """Put `intervals`, by a figure's dotted name, into a result, and the reasons where a figure has none."""
    known = _throughput(found, run) | _goodput(found, run) | _energy(found, run) | _made_of_others(found, run)
    known = {name: pair for name, pair in known.items() if lookup(found, name)[1] is not None}
    found["intervals"] = {name: list(pair) for name, pair in known.items() if pair}
    reasons |= {f"{name}.ci95": _TOO_FEW for name, pair in known.items() if not pair}


def _scaled(pair: Interval | None, by: float | None, of: float | None) -> Interval | None:
    """An interval of one value as that of another that is known as well."""
    return (pair[0] * by / of, pair[1] * by / of) if pair and by and of else None


def _throughput(found: Mapping[str, Any], run: Run) -> Found:
    known: Found = {}
    for name, tokens in (("generation_tokens_per_second", True), ("requests_per_second", False)):
        parts = _ended(run, tokens=tokens)
        pair = ratio_interval(parts, 1 if run.plan.arrivals else run.plan.concurrency)
        # The figure has the beginnings of the answers in it that did not end in time.
        whole = sum(brought for brought, _ in parts) / (sum(seconds for _, seconds in parts) or math.inf)
        known[f"throughput.{name}"] = _scaled(pair, found["throughput"][name], whole)
    return known


def _ended(run: Run, *, tokens: bool) -> list[tuple[float, float]]:
    """What each answer brought, and the seconds it took: in a closed loop its lane's, in an open one those since the
    end of the one before. Lanes that are slow at a time are side by side here.
    """
    found, lanes = [], run.plan.concurrency
    for one in run.measured_rounds:
        before = one.took.started_ns
        for request in sorted(one.requests, key=lambda request: request.ended_ns):
            brought = (request.generated_tokens or 0) if tokens else 1
            seconds = (request.ended_ns - before) / 1e9 if run.plan.arrivals else request.busy_seconds / lanes
            found.append((float(brought if request.ok else 0), seconds))
            before = request.ended_ns
    return found


def _goodput(found: Mapping[str, Any], run: Run) -> Found:
    wanted, seconds = run.plan.objective, span_seconds(run.measured_rounds)
    if wanted is None or found["goodput"]["ratio"] is None:
        return {}
    good = [float(bool(met(request, wanted))) for request in run.measured]
    # What is like the one before says less than as many independent ones.
    rho = memory(good)
    alike = inflation(rho) ** 2 if rho >= by_chance(len(good)) else 1.0
    low, high = wilson(sum(good) / alike, len(good) / alike)
    rate = len(good) / (seconds or math.inf)
    pace: Interval | None = (rate, rate)
    if not run.plan.arrivals:
        # How many are sent is the engine's doing here.
        ended = ratio_interval([(1.0, seconds) for _, seconds in _ended(run, tokens=False)], run.plan.concurrency)
        pace = _scaled(ended, rate, math.sqrt(ended[0] * ended[1])) if ended else None
    return {
        "goodput.ratio": (low, high),
        "goodput.requests_per_second": (low * pace[0], high * pace[1]) if pace else None,
    }


def _energy(found: Mapping[str, Any], run: Run) -> Found:
    windows = [energy.Window(one.requests, one.use) for one in run.measured_rounds]
    whole = [one for one in windows if one.use and one.requests and all(request.ok for request in one.requests)]
    used = [(one.use.joules, one.use.seconds, _tokens(one.requests)) for one in whole if one.use]
    watts, idle = found["energy"]["idle_watts"], idle_interval(run.idle)
    known: Found = {
        "energy.per_token_gross_joules": ratio_interval([(joules, tokens) for joules, _, tokens in used]),
        "energy.idle_watts": idle,
    }
    if watts is None:
        return known
    net = _net(used, watts, idle)
    known |= {"energy_per_token_joules": net, "energy.per_token_joules": net}
    known["energy.tokens_per_joule"] = (1 / net[1], 1 / net[0]) if net and net[0] > 0 else None
    apart = cut(windows)
    for name, parts in (
        ("prefill", [(before, uncached(request)) for request, before, _ in apart]),
        ("decode", [(after, request.generated_tokens) for request, _, after in apart]),
    ):
        used = [(part.joules, part.seconds, float(tokens or 0)) for part, tokens in parts]
        known[f"energy.{name}_per_token_joules"] = _net(used, watts, idle)
    return known


def _net(used: Sequence[tuple[float, float, float]], watts: float, idle: Interval | None) -> Interval | None:
    """Joules per token beyond the idle power, which is not known exactly either."""
    tokens = sum(count for _, _, count in used)
    pair = ratio_interval([(joules - watts * seconds, count) for joules, seconds, count in used])
    if not pair or not idle or not tokens:
        return None
    middle = sum(joules - watts * seconds for joules, seconds, _ in used) / tokens
    off = (idle[1] - idle[0]) / 2 * sum(seconds for _, seconds, _ in used) / tokens
    return middle - math.hypot(middle - pair[0], off), middle + math.hypot(pair[1] - middle, off)


def idle_interval(idle: energy.Use | None) -> Interval | None:
    """The interval of the idle power in watts, from how much it differs between parts of the time it was measured."""
    if idle is None or len(idle.timeline) < 2:
        return None
    line = idle.timeline
    moved = sum(low != high for (_, low), (_, high) in itertools.pairwise(line))
    parts = min(moved // 2, _MOST_PARTS)
    if parts < _FEWEST_PARTS:
        return None
    begun, seconds = line[0][0], (line[-1][0] - line[0][0]) / parts
    joules = [joules_at(line, begun + seconds * number) for number in range(parts + 1)]
    watts = [(after - before) / seconds for before, after in itertools.pairwise(joules)]
    mean = sum(watts) / parts
    off = math.sqrt(sum((one - mean) ** 2 for one in watts) / (parts - 1) / parts)
    off *= students_t(0.975, parts - 1) * inflation(memory(watts))
    return mean - off, mean + off


def _made_of_others(found: Mapping[str, Any], run: Run) -> Found:
    decode = found["generation_tokens_per_second"]
    pair = tuple(decode["ci95"]) if decode["ci95"] else None
    known: Found = {"memory_bandwidth_ratio": _scaled(pair, found["memory_bandwidth_ratio"], decode["p50"])}
    if run.calibration:
        known["calibration.inter_token_latency_error_ratio"] = run.calibration.token_gap_interval
    return known


def _tokens(requests: Sequence[Request]) -> float:
    return float(sum(request.generated_tokens or 0 for request in requests))
