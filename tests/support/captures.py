"""Recorded answers of engines and operating systems, which live beside the repository and not in it."""

from __future__ import annotations

import os
from pathlib import Path

from .missing import missing

ROOT = Path(__file__).resolve().parents[2]


def shared_captures() -> Path:
    """The folder of the recordings: $TOKWATT_SHARED_CAPTURES, or ../shared/captures from the repository's root."""
    given = os.environ.get("TOKWATT_SHARED_CAPTURES")
    folder = Path(given) if given else ROOT.parent / "shared" / "captures"
    if not folder.is_dir():
        missing(f"no recordings at {folder}; TOKWATT_SHARED_CAPTURES names another place")
    return folder
