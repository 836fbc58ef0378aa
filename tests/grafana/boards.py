"""The boards as they were generated, and their queries as Grafana would send them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.tsdb import STEP, Prometheus

GRAFANA = Path(__file__).parents[2] / "grafana"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """What is drawn, rows left out."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def filled_in(text: str, instance: str, seconds: int, window: str = "2m") -> str:
    """The expression as Grafana sends it."""
    values = {"job": ".+", "instance": instance, "price": "0.30", "__rate_interval": window, "__range": f"{seconds}s"}
    return re.sub(r"\$([a-z_]\w*)", lambda match: values.get(match[1], ".+"), text)


def answers(
    database: Prometheus, panel: dict[str, Any], instance: str, end: int | None = None, window: str = "2m"
) -> Iterator[list[dict[str, Any]]]:
    """What each query of a panel gives, `end` seconds after the data begins or at its end."""
    step = max(min(2 * STEP, database.seconds // 5), 1)
    for target in panel["targets"]:
        expression = filled_in(target["expr"], instance, end or database.seconds, window)
        at = database.now - database.seconds + end if end else None
        yield database.query(expression, at) if target["instant"] else database.query_range(expression, step)
