"""Modelled Macs → the fake of Apple's libraries → the real daemon → the text of /metrics, byte for byte.

UPDATE_GOLDEN=1 writes the files anew; what changed is then reviewed as a diff. Each Mac has been awake for five seconds
between the two samples that are behind it.
"""

import os
import re
from pathlib import Path

import pytest

from e2e.daemon import daemon
from fakes.apple.machines import MACHINES

GOLDEN = Path(__file__).parent / "golden"
TESTS = Path(__file__).parents[1]

#: What differs from run to run; everything else must be equal to the byte.
VOLATILE = re.compile(
    r"tokwatt_(build_info|collector_duration_seconds|engine_probe_duration_seconds|store_|log_messages)"
)


@pytest.mark.e2e
@pytest.mark.parametrize("machine", MACHINES)
def test_a_mac_comes_out_as_reviewed(tmp_path, machine):
    config = tmp_path / "tokwatt.toml"
    config.write_text("[discovery]\nenabled = false\n")
    flags = ("--config.file", str(config), "--sample-interval", "1h", "--no-collector.process")
    environ = {"PYTHONPATH": str(TESTS)}
    with daemon(tmp_path / "data", *flags, environ=environ, module=("fakes.apple.launch", machine)) as running:
        text = running.get("/metrics").text
    lines = [line for line in text.splitlines(keepends=True) if not VOLATILE.search(line)]
    golden = GOLDEN / f"{machine}.metrics"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text("".join(lines))
    assert "".join(lines) == golden.read_text()
