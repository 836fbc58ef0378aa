"""Recorded sources → the real daemon → the text of /metrics, byte for byte.

UPDATE_GOLDEN=1 writes the files anew; what changed is then reviewed as a diff.
"""

import os
import re
from pathlib import Path

import pytest

from e2e.daemon import daemon
from fakes.engines import FakeEngine
from fakes.machines import MACHINES, make

pytestmark = pytest.mark.e2e

GOLDEN = Path(__file__).parent / "golden"
CAPTURES = Path(__file__).parents[1] / "captures/llama_cpp"
ENGINE = {"/health": "health", "/props": "props", "/v1/models": "v1-models", "/metrics": "metrics", "/slots": "slots"}

#: What differs from run to run or from machine to machine; everything else must be equal to the byte.
VOLATILE = re.compile(
    r"tokwatt_(build_info|host_info|collector_duration_seconds|collector_last_success_timestamp_seconds"
    r"|engine_probe_duration_seconds|engine_process|store_|log_messages_total)"
)


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_a_recorded_machine_and_engine_come_out_as_reviewed(tmp_path, machine):
    root = make(machine, tmp_path / "machine").root
    with FakeEngine({path: (CAPTURES / f"{name}.http").read_bytes() for path, name in ENGINE.items()}) as engine:
        config = tmp_path / "tokwatt.toml"
        config.write_text(f'[[engine]]\nurl = "{engine.url}"\nname = "recorded"\n[discovery]\nenabled = false\n')
        with daemon(
            tmp_path / "data", "--config.file", str(config), "--sample-interval", "1h",
            "--path.procfs", str(root / "proc"), "--path.sysfs", str(root / "sys"),
            "--no-collector.battery", "--no-collector.process", "--no-collector.nvidia",
        ) as running:  # fmt: skip
            text = running.get("/metrics").text
    lines = [line for line in text.splitlines(keepends=True) if not VOLATILE.search(line)]
    golden = GOLDEN / f"{machine}.metrics"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text("".join(lines))
    assert "".join(lines) == golden.read_text()
