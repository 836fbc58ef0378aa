"""A history with two benchmark runs that were really measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from fakes.truth_server import truth_server
from tokwatt_exporter.store.folder import prepare


class TwoRuns(NamedTuple):
    """Where they are kept, and their ids: the second has half the decode speed."""

    folder: Path
    ids: list[str]


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> TwoRuns:
    folder = tmp_path_factory.mktemp("two") / "data"
    prepare(folder)
    ids = []
    with truth_server() as server:
        for model in ("itl=2,ttft=10", "itl=4,ttft=10"):
            command = [
                sys.executable, "-m", "tokwatt_bench", "run", "--url", server.url, "--model", model, "--runs", "8",
                "--max-tokens", "24", "--idle-seconds", "0", "--data-dir", str(folder), "--json", "--no-calibrate",
            ]  # fmt: skip
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=120,
                env={**os.environ, "TOKWATT_DISCOVERY_ENABLED": "false"},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            ids.append(json.loads(done.stdout)["results"][0]["run_id"])
    return TwoRuns(folder, ids)
