"""A histogram of an engine's, taken only whole: what is missing in one place makes every quantile of it wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tokwatt_exporter.families import Distribution

#: More bounds than this make no better quantiles, only more series.
MAX_BOUNDS = 48


def distribution(
    buckets: Mapping[str, float | None], count: float | None, total: float | None, factor: float = 1.0
) -> Distribution | None:
    """Their buckets by bound, the number of values and their sum; bounds and sum are multiplied with the factor.

    None where a part is not known, counts fall with rising bounds, or the last bucket does not hold every value.
    """
    rows = [(bound, held) for text, held in buckets.items() if (bound := _bound(text)) is not None and held is not None]
    rows.sort()
    if len(rows) < len(buckets) or not 1 < len(rows) <= MAX_BOUNDS or total is None:
        return None
    bounds, held = [bound for bound, _ in rows], [number for _, number in rows]
    if bounds[-1] != math.inf or held[-1] != count or held != sorted(held) or len(set(bounds)) < len(bounds):
        return None
    return Distribution(tuple((bound * factor, number) for bound, number in rows), total * factor)


def _bound(text: str) -> float | None:
    try:
        bound = float(text)
    except ValueError:
        return None
    return bound if bound >= 0 else None
