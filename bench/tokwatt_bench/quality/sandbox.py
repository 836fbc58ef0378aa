"""Running code that a model wrote: a process of its own that may use little, write nowhere and reach nobody.

Limits are the kernel's and hold everywhere. Where Linux lets a user make namespaces, the process has no network,
reaches no other process, and all files are read-only to it; on macOS `sandbox-exec` forbids network and writing.
`Outcome.guards` says what held. It is no prison for code that was written to break out of one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

MEMORY_BYTES = 512 * 2**20
#: Also of what it prints.
FILE_BYTES = 2**20
_FILES = 32
_READY = b"ready "

_PROFILE = "(version 1)(allow default)(deny network*)(deny file-write*)(deny process-fork)(deny signal)"

#: Runs first in the process, before it reads what it is to run; what it sets cannot be taken back by what comes after.
_GUARD = """\
import ctypes, os, resource, sys
def limit(name, value, more=0):
    try:
        resource.setrlimit(getattr(resource, name), (value, value + more))
    except (AttributeError, ValueError, OSError):
        pass
guards = ["limits"]
folder, seconds, memory, size, files = sys.argv[1], *map(int, sys.argv[2:6])
if sys.platform == "linux":
    libc = ctypes.CDLL(None, use_errno=True)
    USER, PID, NET, IPC, MOUNT = 0x10000000, 0x20000000, 0x40000000, 0x8000000, 0x20000
    if libc.unshare(USER | PID | NET | IPC | MOUNT) == 0:
        guards += ["network", "processes"]
        REC, PRIVATE = 0x4000, 1 << 18
        libc.mount(b"none", b"/", None, REC | PRIVATE, None)
        read_only = (ctypes.c_uint64 * 4)(1, 0, 0, 0)
        # mount_setattr of the whole tree, which glibc has no function for before 2.36.
        if libc.syscall(442, -100, b"/", 0x8000, ctypes.byref(read_only), ctypes.c_size_t(32)) == 0:
            guards.append("files")
        # The first process of a new space of processes: all others in it end with it, whatever they did to get away.
        if child := os.fork():
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if code < 0:
                os.kill(os.getpid(), -code)
            os._exit(code)
        DIE_WITH_PARENT = 1
        libc.prctl(DIE_WITH_PARENT, 9, 0, 0, 0)
    # No program that it starts gets rights that it does not have.
    libc.prctl(38, 1, 0, 0, 0)
elif len(sys.argv) > 6:
    guards += ["network", "files"]
os.chdir(folder)
limit("RLIMIT_CPU", seconds, 1)
limit("RLIMIT_AS", memory)
limit("RLIMIT_DATA", memory)
limit("RLIMIT_FSIZE", size)
limit("RLIMIT_NOFILE", files)
limit("RLIMIT_NPROC", 0)
limit("RLIMIT_CORE", 0)
code = sys.stdin.buffer.read()
os.write(1, ("ready " + ",".join(guards) + "\\n").encode())
exec(compile(code, "answer", "exec"), {"__name__": "answer"})
"""


class Outcome(NamedTuple):
    """What the code printed, why it did not end well (None where it did), and what held it."""

    output: str
    problem: str | None
    guards: tuple[str, ...]


def run(code: str, cpu_seconds: int = 5, seconds: float = 15.0) -> Outcome:
    """Run Python code; never raises for what it does. Everything that it started is killed when it is over."""
    with tempfile.TemporaryDirectory(prefix="tokwatt-code-") as folder, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            _command(folder, cpu_seconds), stdin=subprocess.PIPE, stdout=output, stderr=subprocess.DEVNULL, cwd=folder,
            env={"PATH": os.defpath, "HOME": folder, "TMPDIR": folder}, start_new_session=True,
        )  # fmt: skip
        late = False
        try:
            process.communicate(code.encode(errors="replace"), timeout=seconds)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            # The whole group: what it left behind goes with it.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        first, _, rest = output.read(FILE_BYTES).partition(b"\n")
    if not first.startswith(_READY):
        return Outcome("", "the sandbox could not be made", ())
    guards = tuple(first.removeprefix(_READY).decode(errors="replace").split(","))
    problem = f"it ran for more than {seconds:g} s" if late else _ended(process.returncode, cpu_seconds)
    return Outcome(rest.decode(errors="replace"), problem, guards)


def guards() -> tuple[str, ...]:
    """What holds the code that is run on this machine."""
    return run("").guards


def _command(folder: str, cpu_seconds: int, platform: str = sys.platform) -> Sequence[str]:
    # -I and -S: nothing of the user's environment, folder or packages is in reach of an import.
    python = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", _GUARD, folder, str(cpu_seconds),
              str(MEMORY_BYTES), str(FILE_BYTES), str(_FILES)]  # fmt: skip
    seatbelt = shutil.which("sandbox-exec", path="/usr/bin") if platform == "darwin" else None
    return [seatbelt, "-p", _PROFILE, *python, "seatbelt"] if seatbelt else python


def _ended(code: int, cpu_seconds: int) -> str | None:
    if code == 0:
        return None
    if code == -signal.SIGXCPU or code == -signal.SIGKILL:
        return f"it used more than {cpu_seconds} s of CPU"
    return "it failed" if code > 0 else f"it was ended by {signal.Signals(-code).name}"
