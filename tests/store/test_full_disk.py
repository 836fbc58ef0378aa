"""A disk that is really full: a small file system of the test's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.missing import missing

SCRIPT = Path(__file__).with_name("full_disk.py")


def on_a_small_disk(tmp_path, scenario):
    unshare = shutil.which("unshare")
    if unshare is None:
        missing("unshare is not there to mount a small file system with")
    inside = [unshare, "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    mount = 'mount -t tmpfs -o size=12m tmpfs "$1" || exit 77; exec "$2" "$3" "$1" "$4"'
    result = subprocess.run(
        [*inside, "sh", "-c", mount, "sh", str(tmp_path), sys.executable, str(SCRIPT), scenario],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if result.returncode == 77 or "unshare" in result.stderr.partition("\n")[0]:
        missing(f"a small file system cannot be mounted here: {result.stderr.strip()[:200]}")
    assert result.returncode == 0, result.stderr


SCENARIOS = ["journal_fills_up", "history_fills_up", "history_cannot_be_made", "upkeep_fills_up", "copies_fill_up"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_full_disk_loses_nothing_and_doubles_nothing_once_there_is_room(tmp_path, scenario):
    on_a_small_disk(tmp_path, scenario)
