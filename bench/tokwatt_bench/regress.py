"""Whether something got worse: shown by an interval, under the same conditions, or not claimed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokwatt_bench.compare import CONDITIONS, FIGURES, compared, failed_more, unmatched
from tokwatt_bench.comparison import PLAIN
from tokwatt_bench.measured import Measured
from tokwatt_exporter.errors import UsageError

#: What may be compared only where it is the same engine.
_ENGINE = "engine"


def regress(
    baseline: Sequence[Measured], candidate: Sequence[Measured], threshold: float, allow: Sequence[str] = ()
) -> dict[str, Any]:
    """What `compared` says, with `regressions`, a sentence each, and whether anything was `comparable`.

    `UsageError` where conditions differ that are not in `allow`: such a difference is none of the engine's.
    """
    if unknown := set(allow) - {*CONDITIONS, _ENGINE}:
        raise UsageError(
            f"--allow: there is no condition {sorted(unknown)[0]}; there are {_ENGINE}, {', '.join(CONDITIONS)}"
        )
    differing = [one for one in unmatched(baseline[0], candidate[0]) if one["name"] not in allow]
    engines = [one[0].result["engine"] for one in (baseline, candidate)]
    if engines[0] != engines[1] and _ENGINE not in allow:
        differing.append({"name": _ENGINE, "first": engines[0], "second": engines[1]})
    if differing:
        told = ", ".join(f"{one['name']} ({one['first']} and {one['second']})" for one in differing)
        raise UsageError(f"the runs were not measured alike: {told}; --allow NAME overlooks one")
    found = compared(baseline, candidate, margin=threshold)
    regressions = list(_worse(found["figures"], threshold))
    if failed_more(baseline, candidate):
        regressions.append("more requests failed than chance explains")
    comparable = any(one["verdict"] for one in found["figures"])
    return found | {"threshold": threshold, "regressions": regressions, "comparable": comparable}


def _worse(figures: Sequence[Mapping[str, Any]], threshold: float) -> Iterator[str]:
    words = {figure.name: figure.words for figure in FIGURES}
    for one in figures:
        bad = "higher" if words[one["name"]] == PLAIN else "slower"
        ratio = one["ratio"]
        if one["verdict"] != bad or max(ratio, 1 / ratio) - 1 < threshold:
            continue
        low, high = one["ci95"]
        yield f"{one['label']} is {bad}: {ratio - 1:+.1%} ({low - 1:+.1%} to {high - 1:+.1%})"
