"""Grafana's own published type of a dashboard, as a JSON schema, and a judge of files by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from . import cache

PACKAGES = ("@grafana/schema@13.2.3", "ajv@8.20.0", "ts-json-schema-generator@2.4.0", "typescript@7.0.2")
TYPE = "@grafana/schema/dist/types/raw/dashboard/x/types.gen"
ROOT = f"import type {{ Dashboard }} from './node_modules/{TYPE}';\nexport type Root = Dashboard;\n"
JUDGE = """\
const fs = require('fs'), Ajv = require('ajv');
const check = new Ajv({strict: false, allErrors: true}).compile(JSON.parse(fs.readFileSync('schema.json')));
check(JSON.parse(fs.readFileSync(0)));
const say = e => `${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`;
console.log(JSON.stringify((check.errors ?? []).map(say)));
"""

# As it was before a test got a home of its own: npm looks there for its settings.
_environment = dict(os.environ)


def faults(dashboard: dict[str, Any]) -> list[str]:
    """What Grafana's type says against a dashboard. The test is skipped where there is no npm to get the type with."""
    if not shutil.which("npm"):
        pytest.skip("this machine has no npm, which gets Grafana's types")
    folder = cache.made(f"grafana-schema-{PACKAGES[0].rpartition('@')[2]}", _install)
    done = subprocess.run(
        ["node", "judge.js"], cwd=folder, input=json.dumps(dashboard), capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    found: list[str] = json.loads(done.stdout)
    return found


def _install(folder: Path) -> None:
    (folder / "judge.js").write_text(JUDGE)
    (folder / "root.ts").write_text(ROOT)
    options = {"strict": True, "module": "esnext", "moduleResolution": "bundler", "skipLibCheck": True, "types": []}
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["root.ts"]}))
    (folder / "package.json").write_text('{"private": true}')
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    got = _run(folder, "npm", "install", *quiet, *PACKAGES)
    if got.returncode:
        pytest.skip(f"Grafana's types cannot be had: {(got.stderr or got.stdout).strip()[-300:]}")
    generator = "node_modules/.bin/ts-json-schema-generator"
    given = "--path root.ts --tsconfig tsconfig.json --type Root --no-type-check -o schema.json"
    made = _run(folder, generator, *given.split())
    assert made.returncode == 0, made.stderr


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=_environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
