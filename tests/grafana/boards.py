"""What the queries of boards give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from support.boards import BOARDS as BOARDS
from support.boards import GRAFANA as GRAFANA
from support.boards import filled_in as filled_in
from support.boards import panels as panels
from support.tsdb import STEP, Prometheus


def answers(
    database: Prometheus, panel: dict[str, Any], instance: str, end: int | None = None, window: str = "2m"
) -> Iterator[list[dict[str, Any]]]:
    """What each query of a panel gives, `end` seconds after the data begins or at its end."""
    step = max(min(2 * STEP, database.seconds // 5), 1)
    for target in panel["targets"]:
        expression = filled_in(target["expr"], instance, end or database.seconds, window)
        at = database.now - database.seconds + end if end else None
        yield database.query(expression, at) if target["instant"] else database.query_range(expression, step)
