"""Compiles the fake once for each state of its sources."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from support import cache
from support.missing import missing

_SOURCES = Path(__file__).parent
_FLAGS = ["-std=gnu17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"]
#: What a Mac's libraries do not export, this one does not either.
_EXPORTS = "{ global: CF*; kCF*; IO*; mach_*; host_*; vm_*; sysctl*; notify_*; proc_*; fake_*; local: *; };"


def library() -> Path:
    """The shared library; the test is skipped where there is no compiler for it."""
    if sys.platform != "linux":
        missing("the fake of a Mac's libraries is built on Linux only")
    compiler = shutil.which("gcc") or ""
    if not compiler:
        missing("gcc is not installed: the fake of a Mac's libraries needs it")
    sources = sorted(_SOURCES.glob("*.[ch]"))
    state = hashlib.sha256("".join([*_FLAGS, _EXPORTS]).encode())
    for source in sources:
        state.update(source.name.encode() + source.read_bytes())

    def make(folder: Path) -> None:
        exports = folder / "exports"
        exports.write_text(_EXPORTS)
        files = [str(source) for source in sources if source.suffix == ".c"]
        linked = ["-Wl,-Bsymbolic,-z,defs", f"-Wl,--version-script={exports}", "-o", str(folder / "libapple.so")]
        subprocess.run([compiler, *_FLAGS, *files, *linked], check=True)

    return cache.made(f"apple-{state.hexdigest()[:16]}", make) / "libapple.so"
