"""The data directory: made once, for its owner only."""

import os
from pathlib import Path

from tokwatt_exporter.errors import UsageError


def prepare(data_dir: Path) -> None:
    """Make the data directory for its owner only; `UsageError` where it cannot be written."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"data-dir: {data_dir} cannot be made: {error.strerror}") from None
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise UsageError(f"data-dir: {data_dir} is not writable by this user")
