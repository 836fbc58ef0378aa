"""The advice: what each candidate needs, how fast it can be, what was measured; and which is best, if that is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.advisor import bandwidth, measured
from tokwatt_exporter.advisor.candidates import Candidate, candidates
from tokwatt_exporter.advisor.measured import FIGURES, Run
from tokwatt_exporter.advisor.room import Room, room
from tokwatt_exporter.advisor.speed import Speed, speed
from tokwatt_exporter.attached import NotAttached, attach
from tokwatt_exporter.config import Config
from tokwatt_exporter.snapshot import Snapshot


class Verdict(NamedTuple):
    """The best, several where they cannot be told apart, none where it is not known; and why, in a sentence."""

    best: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A candidate with what is known of it."""

    candidate: Candidate
    context: int
    room: Room
    speed: Speed | None
    runs: tuple[Run, ...]

    @property
    def needed(self) -> int | None:
        """Bytes that it needs at the wanted context."""
        return self.candidate.model.needed_bytes(self.context) if self.candidate.model else None

    @property
    def longest(self) -> int | None:
        """The longest context that fits into what is sure."""
        if self.candidate.model is None or self.room.sure_bytes is None:
            return None
        return self.candidate.model.longest_context(self.room.sure_bytes)

    def as_json(self) -> dict[str, Any]:
        """An entry of `candidates` in `tokwatt recommend --json`; null is not known."""
        model = self.candidate.model
        return {
            "name": self.candidate.name, "engine": self.candidate.engine,
            "path": str(model.path) if model else None, "format": model.format if model else None,
            "problem": self.candidate.why,
            "memory": {
                "weights_bytes": model.weights_bytes if model else None,
                "kv_cache_bytes": model.kv_bytes(self.context) if model else None,
                "kv_cache_bytes_per_token": model.kv_bytes_per_token if model else None,
                "overhead_bytes": model.overhead_bytes(self.context) if model else None,
                "needed_bytes": self.needed, "fits": self.room.fits(self.needed),
                "fits_now": self.room.fits_now(self.needed), "longest_context_tokens": self.longest,
                "trained_context_tokens": model.trained_context if model else None,
            },
            "speed": self.speed.as_json() if self.speed else None,
            "measured": [run.as_json() for run in self.runs],
            "notes": list(model.notes) if model else [],
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """Everything that `tokwatt recommend` says."""

    use_case: str
    context: int
    room: Room
    bandwidth: bandwidth.Bandwidth
    thermal_state: str | None
    advice: tuple[Advice, ...]
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """What `tokwatt recommend --json` prints."""
        return {
            "use_case": self.use_case, "context_tokens": self.context,
            "machine": {
                "most_bytes": self.room.most_bytes, "sure_bytes": self.room.sure_bytes,
                "free_bytes": self.room.free_bytes, "memory_why": self.room.why,
                "bandwidth_bytes_per_second": self.bandwidth.bytes_per_second, "bandwidth_why": self.bandwidth.why,
                "thermal_state": self.thermal_state,
            },
            "best": list(self.verdict.best), "why": self.verdict.why,
            "candidates": [one.as_json() for one in self.advice],
        }  # fmt: skip


def recommend(config: Config, paths: Sequence[Path], use_case: str, context: int) -> Recommendation:
    """Advice for these files, or for what engines on this machine list; nothing is started, loaded or written."""
    from tokwatt_exporter.engines.discovery import find_now

    found = candidates(paths, () if paths else find_now(config))
    return advise(
        found, newest(config), measured.runs(config.data_dir, use_case, os.uname().nodename), use_case, context
    )


def newest(config: Config) -> Snapshot:
    """The daemon's newest snapshot, or one taken now where none runs."""
    try:
        return attach(config).snapshot
    except NotAttached:
        from tokwatt_exporter.daemon import sample_once

        return sample_once(config)[1]


def advise(
    found: Sequence[Candidate], now: Snapshot, runs: Sequence[Run], use_case: str, context: int
) -> Recommendation:  # fmt: skip
    """The same of what is given."""
    here, fast = room(now), bandwidth.of(now)
    advice = tuple(
        Advice(
            candidate=one, context=context, room=here,
            speed=speed(one.model, context, fast) if one.model else None,
            runs=tuple(measured.of(one.name, one.engine, runs)),
        )
        for one in found
    )  # fmt: skip
    states = now.values.get(c.THERMAL_STATE, {}).items()
    return Recommendation(
        use_case=use_case, context=context, room=here, bandwidth=fast, advice=advice,
        thermal_state=next((dict(labels)["state"] for labels, current in states if current), None),
        verdict=verdict([one for one in advice if here.fits(one.needed) is not False], use_case),
    )  # fmt: skip


def verdict(advice: Sequence[Advice], use_case: str) -> Verdict:
    """Which is best: by what was measured under the same conditions, else by what bounds it; of one alone nothing."""
    if not advice:
        return Verdict((), "not known: there is nothing to choose from that fits")
    if use_case == "long-context":
        return _by_context(advice)
    groups: dict[tuple[tuple[str, Any], ...], dict[str, Run]] = {}
    for run in (run for one in advice for run in one.runs if run.value is not None and not run.problems):
        groups.setdefault(run.conditions, {}).setdefault(f"{run.model} on {run.engine}", run)
    largest = max(groups.values(), key=len, default={})
    if len(largest) >= 2:
        figure = FIGURES[use_case]
        spans = {name: (run.interval or (run.value or 0.0,) * 2) for name, run in largest.items()}
        said = ", ".join(f"{name} {run.value:.4g} {figure.unit}" for name, run in largest.items())
        best = _ahead(spans, figure.more)
        return Verdict(best, f"measured under the same conditions: {said}{_tie(best)}")
    if len(advice) == 1 and len(largest) <= 1:
        return Verdict((), "not known: there is one candidate, and nothing to compare it with")
    expected = {name: one.speed.expected for name, one in _named(advice).items() if one.speed and one.speed.expected}
    if use_case == "throughput" and len(expected) >= 2:
        best = _ahead(expected, True)
        return Verdict(best, f"nothing was measured under the same conditions; by memory bandwidth{_tie(best)}")
    return Verdict((), "not known: no two of them were measured under the same conditions (tokwatt-bench run)")


def _by_context(advice: Sequence[Advice]) -> Verdict:
    lengths = {name: (float(one.longest),) * 2 for name, one in _named(advice).items() if one.longest}
    if len(lengths) < 2:
        return Verdict((), "not known: of fewer than two of them is known how much context fits")
    best = _ahead(lengths, True)
    said = ", ".join(f"{name} {low:.0f} tokens" for name, (low, _) in lengths.items())
    return Verdict(best, f"by the context that fits: {said}{_tie(best)}")


def _named(advice: Sequence[Advice]) -> dict[str, Advice]:
    """Each under a name that no other has."""
    names = [one.candidate.name for one in advice]
    return {
        f"{name} ({one.candidate.where})" if names.count(name) > 1 else name: one
        for name, one in zip(names, advice, strict=True)
    }


def _ahead(spans: dict[str, tuple[float, float]], more: bool) -> tuple[str, ...]:
    """Those whose interval is not wholly behind the best one's."""
    if more:
        bound = max(low for low, _ in spans.values())
        return tuple(name for name, (_, high) in spans.items() if high >= bound)
    bound = min(high for _, high in spans.values())
    return tuple(name for name, (low, _) in spans.items() if low <= bound)


def _tie(best: Sequence[str]) -> str:
    return f"; {len(best)} of them cannot be told apart" if len(best) > 1 else ""
