"""Versions of each engine: what runs, what is installed, what there is; and whether one is older than another."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tokwatt_exporter.config import Config

if TYPE_CHECKING:
    from tokwatt_exporter.engines.discovery import Found

#: Seconds that a program may take to say its version; one that asks a server which hangs would wait.
PATIENCE = 5.0
_MOST_TEXT = 10_000
_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)+)")
#: A build of one's own from a checkout without history calls itself b1.
_BUILD = re.compile(r"\b(?:b|build |version: )(\d{3,})\b")


class Source(NamedTuple):
    """Where the versions of a kind are to be found: a program, a package and an application; and who publishes it."""

    program: str | None = None
    said: str = r"(\d+\.\d+[\w.+-]*)"
    package: str | None = None
    application: str | None = None
    github: str | None = None
    pypi: str | None = None


def _package(name: str) -> Source:
    return Source(package=name, pypi=name)


#: The client of Ollama says first what the server is, and then what itself is where that is another one.
SOURCES = {
    "ollama": Source("ollama", r"(?s)(?:.*client version is|version is) (\d[\w.+-]*)", github="ollama/ollama"),
    "llama_cpp": Source("llama-server", r"(?:build |version: )(\d{3,})", github="ggml-org/llama.cpp"),
    "lm_studio": Source(application="LM Studio.app"),
    "mlx_lm": _package("mlx-lm"),
    "mlx_vlm": _package("mlx-vlm"),
    "omlx": Source(package="omlx", application="oMLX.app", github="jundot/omlx"),
    "vllm": _package("vllm"),
    "vllm_mlx": _package("vllm-mlx"),
    "rapid_mlx": _package("rapid-mlx"),
    "vmlx": _package("vmlx"),
    "sglang": _package("sglang"),
    "exo": Source(package="exo", github="exo-explore/exo"),
    "localai": Source("local-ai", github="mudler/LocalAI"),
    "koboldcpp": Source("koboldcpp", github="LostRuins/koboldcpp"),
    "jan": Source(application="Jan.app", github="menloresearch/jan"),
    "llama_swap": Source("llama-swap", github="mostlygeek/llama-swap"),
}


class Installed(NamedTuple):
    """A version and where it was found."""

    version: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The versions of one engine; None is not known or not there."""

    name: str
    kind: str | None
    running: str | None = None
    installed: str | None = None
    installed_at: str | None = None
    newest: str | None = None
    problem: str | None = None

    @property
    def running_is_older(self) -> bool | None:
        """Whether it was not started again since it was installed anew; None where the two cannot be compared."""
        return older(self.running, self.installed)

    @property
    def update_available(self) -> bool | None:
        """Whether there is a newer one than what is installed, or runs where that is not known."""
        return older(self.installed or self.running, self.newest)

    def as_json(self) -> dict[str, Any]:
        """An entry of `engines` in `tokwatt versions --json`."""
        return {
            "name": self.name, "kind": self.kind, "running": self.running, "installed": self.installed,
            "installed_at": self.installed_at, "newest": self.newest, "running_is_older": self.running_is_older,
            "update_available": self.update_available, "problem": self.problem,
        }  # fmt: skip


#: Gives the newest version of a kind, or None and why it is not known.
Newest = Callable[[str], tuple[str | None, str | None]]


def versions(config: Config, newest: Newest | None = None) -> list[Versions]:
    """Of every engine that runs here, and of those that are only installed; `newest` asks who publishes them."""
    from tokwatt_exporter.engines.discovery import find_now

    return collect(find_now(config), installed, newest)


def collect(
    found: Iterable[Found], look: Callable[[str, int | None], Installed | None], newest: Newest | None
) -> list[Versions]:  # fmt: skip
    """The same of these engines; `look` finds what is installed of a kind, given a process of it."""
    rows = [(one.name, one.kind, one.version, one.pid, one.problem if not one.up else None) for one in found]
    running = {kind for _, kind, *_ in rows}
    rows += [(kind, kind, None, None, None) for kind in SOURCES if kind not in running]
    made = []
    for name, kind, version, pid, problem in rows:
        there = look(kind, pid) if kind else None
        if kind not in running and there is None:
            continue
        latest, why = newest(kind) if newest and kind else (None, None)
        made.append(
            Versions(
                name=name, kind=kind, running=version, installed=there.version if there else None,
                installed_at=there.where if there else None, newest=latest, problem=problem or why,
            )
        )  # fmt: skip
    return made


def installed(kind: str, pid: int | None = None) -> Installed | None:
    """What is on the disk: the package beside the process's Python, a program on PATH, an application."""
    source = SOURCES.get(kind, Source())
    if source.package and (found := _of_package(source.package, prefixes(source.package, pid))):
        return found
    if source.program and (path := shutil.which(source.program)):
        said = _says(path)
        version = re.search(source.said, said) if said else None
        # llama.cpp writes its builds with a b.
        return Installed(f"b{version[1]}" if version[1].isdigit() else version[1], path) if version else None
    return _of_application(source.application) if source.application else None


def prefixes(package: str, pid: int | None) -> list[Path]:
    """Environments that may have the package: that of the process first, then that of its program on PATH."""
    programs = [_python(pid)] if pid else []
    for name in (package, package.replace("-", "_"), f"{package.replace('-', '_')}.server"):
        programs.append(shutil.which(name))
    paths = [Path(program) for program in programs if program]
    # A program may be a link into an environment, and a Python in one is a link out of it.
    return list(
        dict.fromkeys(prefix for path in paths for prefix in (path.parent.parent, path.resolve().parent.parent))
    )


def _python(pid: int) -> str | None:
    import psutil

    try:
        words = psutil.Process(pid).cmdline()
    except (psutil.Error, OSError):
        return None
    return words[0] if words and words[0].startswith("/") else None


def _of_package(name: str, places: Sequence[Path]) -> Installed | None:
    for prefix in places:
        folders = [str(path) for path in sorted(prefix.glob("lib/python3*/site-packages"))]
        for distribution in metadata.distributions(name=name, path=folders) if folders else ():
            if distribution.version:
                return Installed(distribution.version, str(prefix))
    return None


def _of_application(name: str, folders: Sequence[Path] | None = None) -> Installed | None:
    import plistlib

    for folder in folders or (Path("/Applications"), Path.home() / "Applications"):
        try:
            with (folder / name / "Contents/Info.plist").open("rb") as file:
                version = plistlib.load(file)["CFBundleShortVersionString"]
        except (OSError, ValueError, LookupError, TypeError, plistlib.InvalidFileException):
            continue
        if isinstance(version, str) and version:
            return Installed(version[:100], str(folder / name))
    return None


def _says(path: str) -> str | None:
    """What a program answers to --version; None where it does not in time."""
    try:
        done = subprocess.run([path, "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout[:_MOST_TEXT].decode(errors="replace")


def older(one: str | None, other: str | None) -> bool | None:
    """Whether a version is before another; None where one is not known or the two are not of one kind."""
    if one is None or other is None:
        return None
    if one.removeprefix("v") == other.removeprefix("v"):
        return False
    for pattern in (_BUILD, _NUMBERS):
        first, second = (pattern.search(version) for version in (one, other))
        if first and second:
            ours, theirs = (_parts(match[1]) for match in (first, second))
            # What only differs behind the numbers (0.5.0rc1, 0.5.0+cu12) is not told apart.
            return ours < theirs if ours != theirs else None if pattern is _NUMBERS else False
    return None


def _parts(numbers: str) -> tuple[int, ...]:
    parts = [int(part[:18]) for part in numbers.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)
