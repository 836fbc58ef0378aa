"""A Python process that has imported what takes time, and runs each order in a fork of itself."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_SERVER = """
import importlib, json, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
for line in iter(sys.stdin.readline, ""):
    order = json.loads(line)
    if not (child := os.fork()):
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
# From here on it is the child, and a process like any other.
for number, path in enumerate((os.devnull, order["out"], order["err"])):
    os.dup2(os.open(path, os.O_RDWR), number)
os.environ.clear()
os.environ.update(order["environ"])
sys.argv = order["argv"]
exec(order["code"], {"__name__": "__main__"})
"""


class Warm:
    """Runs Python code in processes of its own that need not import what this one has."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder = process, folder

    def run(
        self, code: str, *args: str, environ: Mapping[str, str] | None = None, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """What the code did as a program: its exit status, output and errors; its environment is the test's now."""
        assert self._process.stdin and self._process.stdout
        out, err = self._folder / "out", self._folder / "err"
        for file in (out, err):
            file.write_text("")
        argv = ["-c", *args]
        order = {"code": code, "argv": argv, "environ": dict(environ or os.environ), "out": str(out), "err": str(err)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(argv, timeout, err.read_bytes())
        status = self._process.stdout.readline()
        assert status, f"the warm process is gone:\n{err.read_text()}"
        return subprocess.CompletedProcess(argv, int(status), out.read_text(), err.read_text())


@contextmanager
def warm(folder: Path, *modules: str) -> Iterator[Warm]:
    """A process that has imported these modules; it and what it still runs end with the block."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER, *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield Warm(process, folder)
        finally:
            os.killpg(process.pid, 9)
