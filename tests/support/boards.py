"""The boards as they were generated, and their expressions as Grafana sends them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

GRAFANA = Path(__file__).parents[2] / "grafana"
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """What is drawn, rows left out."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def filled_in(text: str, instance: str, seconds: int, window: str = "2m") -> str:
    """The expression with its variables filled in; `seconds` is the shown time."""
    values = {"job": ".+", "instance": instance, "price": "0.30", "__rate_interval": window, "__range": f"{seconds}s"}
    return re.sub(r"\$([a-z_]\w*)", lambda match: values.get(match[1], ".+"), text)
