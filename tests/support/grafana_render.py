"""Pictures of the boards, drawn in a real browser by Grafana's own components, with demo machines in a real Prometheus.

`python -m tests.support.grafana_render FOLDER` draws all of them, light and dark.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tokwatt_exporter.demo import NAMES

from . import cache
from .debian import OS_RELEASE, NotInstallable, unpack
from .demo import HOURS, played
from .tsdb import Prometheus, prometheus

GRAFANA = Path(__file__).parents[2] / "grafana"
PACKAGES = (
    "@grafana/data@13.2.2", "@grafana/ui@13.2.2", "esbuild@0.28.2", "playwright-core@1.65.1", "react@19.3.1",
    "react-dom@19.3.1", "upng-js@2.1.0",
)  # fmt: skip
LOADERS = [f"--loader:.{kind}=dataurl" for kind in ("svg", "woff2", "png", "ttf")]
PAGE = """\
<!doctype html><meta charset=utf8><link rel=stylesheet href=main.css><div id=root></div><script src=main.js></script>
"""
#: Pictures show this time (a day in November 2026), so that they change when boards do; only how long collectors took
#: is of the machine that draws.
SHOWN = 1_794_234_000

_environment = dict(os.environ)


class Scene(NamedTuple):
    """What a picture is of."""

    board: dict[str, Any]
    instance: str
    mode: str = "light"


class Drawn(NamedTuple):
    """What each panel showed (title, rows, error), and faults of the page itself."""

    panels: list[dict[str, Any]]
    faults: list[str]


def draw(scene: Scene, database: Prometheus, picture: Path) -> Drawn:
    """Draw a board into a PNG."""
    tools = _tools()
    given = {
        "chromium": str(_chromium()), "page": str(tools / "index.html"), "picture": str(picture),
        "prometheus": database.url, "from": database.now - database.seconds, "to": database.now, "window": "2m",
        "board": scene.board, "instance": scene.instance, "mode": scene.mode,
    }  # fmt: skip
    done = subprocess.run(
        ["node", GRAFANA / "render/shoot.cjs"], input=json.dumps(given), capture_output=True, text=True, check=False,
        timeout=300, env={**_environment, "NODE_PATH": str(tools / "node_modules")},
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"the browser could not draw: {done.stderr[-2000:]}")
    said = json.loads(done.stdout)
    return Drawn(said["drawn"], said["faults"])


def _tools() -> Path:
    """The page that draws, bundled with what it needs from npm."""
    source = GRAFANA / "render/main.tsx"
    if not shutil.which("npm"):
        raise NotInstallable("Grafana's components are taken from npm, and this machine has none")

    def make(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}')
        quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--legacy-peer-deps", "--silent"]
        _run(folder, "npm", "install", *quiet, *PACKAGES)

    folder = cache.made(f"grafana-render-{hashlib.sha256(repr(PACKAGES).encode()).hexdigest()[:10]}", make)
    with cache.locked("grafana-render-bundle"):
        if not (folder / "main.tsx").exists() or (folder / "main.tsx").read_text() != source.read_text():
            (folder / "index.html").write_text(PAGE)
            shutil.copy(source, folder / "main.tsx")
            _run(folder, "node_modules/.bin/esbuild", "main.tsx", "--bundle", "--outfile=main.js", "--format=iife",
                 "--jsx=automatic", "--minify", '--define:process.env.NODE_ENV="production"', *LOADERS)  # fmt: skip
    return folder


def _chromium() -> Path:
    """Debian's browser, of the suite that this machine is, whose libraries fit together."""

    def make(folder: Path) -> None:
        suite = dict(line.split("=", 1) for line in OS_RELEASE.read_text().splitlines() if "=" in line)
        unpack(suite["VERSION_CODENAME"], ("chromium-headless-shell",), folder, with_dependencies=True)
        libraries = [path for path in folder.glob("usr/lib/*-linux-gnu*/**/") if list(path.glob("*.so*"))]
        libraries += folder.glob("lib/*-linux-gnu*")
        own = ":".join(f"$tree/{path.relative_to(folder)}" for path in libraries)
        [browser] = folder.glob("usr/lib/chromium/*headless*shell")
        start = folder / "chromium"
        start.write_text(
            f'#!/bin/sh\ntree=$(cd "$(dirname "$0")" && pwd)\nexport LD_LIBRARY_PATH="{own}"\n'
            f'exec "$tree/{browser.relative_to(folder)}" "$@"\n'
        )
        start.chmod(0o755)

    return cache.made("chromium-headless-shell", make) / "chromium"


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env=_environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    if done.returncode:
        raise NotInstallable(f"{command[0]}: {(done.stderr or done.stdout).strip()[-300:]}")


def main() -> int:
    """Draw every board; 1 where a panel could not be drawn."""
    parser = argparse.ArgumentParser(description="Draw the boards with demo machines.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    faults = 0
    with TemporaryDirectory() as data, ExitStack() as stack:
        machines = {name: stack.enter_context(played(name)) for name in NAMES}
        keep = ["--storage.tsdb.retention.time=100y"]
        database = stack.enter_context(prometheus(Path(data), machines, HOURS * 3600, now=SHOWN, options=keep))
        for path in sorted((GRAFANA / "dashboards").glob("*.json")):
            name = path.stem.removeprefix("tokwatt-")
            instance = ".+" if name in ("fleet", "benchmarks") else "mac-studio"
            for mode in ("light", "dark"):
                picture = folder / f"{name}-{mode}.png"
                drawn = draw(Scene(json.loads(path.read_text()), instance, mode), database, picture)
                wrong = [panel for panel in drawn.panels if panel.get("error")] + drawn.faults
                faults += len(wrong)
                empty = [panel["title"] for panel in drawn.panels if not panel["rows"]]
                print(f"{picture}: {len(drawn.panels)} panels, {picture.stat().st_size // 1000} kB; "
                      f"empty: {', '.join(empty) or 'none'}; wrong: {wrong or 'none'}", flush=True)  # fmt: skip
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
