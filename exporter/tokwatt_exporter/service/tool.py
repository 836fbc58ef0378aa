"""Running the managers' own tools: by absolute path, without a shell, in C's language, and not for ever."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tokwatt_exporter.errors import ServiceError

#: `systemctl stop` returns when the service has ended, which may take its TimeoutStopSec.
_SECONDS = 60.0


class Result(NamedTuple):
    """How a tool ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """The first line of its complaint, or of anything; may be empty."""
        lines = [line.strip() for line in (self.err + "\n" + self.out).splitlines() if line.strip()]
        return lines[0] if lines else ""


def run(path: str | Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Result:
    """Run a tool to its end; `ServiceError` where it cannot be started or does not end."""
    try:
        done = subprocess.run(
            [str(path), *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False,
            text=True, errors="replace", env={**os.environ, **(environ or {}), "LC_ALL": "C", "LANG": "C"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ServiceError(f"{path} {' '.join(arguments)} did not end within {_SECONDS:g} s") from None
    except OSError as error:
        raise ServiceError(f"{path} cannot be run: {error.strerror}") from None
    return Result(done.returncode, done.stdout, done.stderr)
