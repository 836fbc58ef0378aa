"""`tokwatt fleet sd` as a process, and in this one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.net import NeverWill, get, wait_for

COMMAND = (sys.executable, "-m", "tokwatt_exporter", "fleet", "sd")


def listed(*flags: str) -> Any:
    """What it prints, as JSON; nothing where it only writes."""
    done = subprocess.run([*COMMAND, *flags], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout or "null")


@contextmanager
def served(port: int, log: Path, *flags: str, headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of its http_sd while the block runs; `headers` are what it asks for."""
    with log.open("wb") as output:
        process = subprocess.Popen([*COMMAND, "--listen", f"127.0.0.1:{port}", *flags], stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}/sd"

    def answers() -> bool:
        if process.poll() is not None:
            raise NeverWill(log.read_text())
        return get(url, headers=headers).status_code == 200

    try:
        wait_for(answers, 30, "tokwatt fleet sd to answer")
        yield url
    finally:
        process.terminate()
        assert process.wait(20) == 0
