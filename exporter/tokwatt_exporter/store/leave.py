"""Where the history may go on its own: Parquet in a folder or at a URL, or a fleet's DuckLake."""

from __future__ import annotations

from pathlib import Path

from tokwatt_exporter.store import fleet
from tokwatt_exporter.store.export import Exported, export
from tokwatt_exporter.store.extract import LOCK_WAIT


def leave(
    data_dir: Path, to: str, data_path: str | None, python: Path | str | None, *, wait: float = LOCK_WAIT
) -> Exported:  # fmt: skip
    """Bring the target up to what the history has; what it is says its beginning, `ducklake:` or not."""
    if to.startswith(fleet.PREFIX):
        lake = fleet.Attachment(to, data_path, Path(python) if python else None)
        return fleet.append(data_dir, lake, wait=wait)
    return export(data_dir, to, wait=wait)
