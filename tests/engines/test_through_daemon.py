"""Recorded engines → the real daemon → what /metrics says of each, byte for byte; and what it asked them for.

UPDATE_GOLDEN=1 writes the files anew; what changed is then reviewed as a diff.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.daemon import RunningDaemon, daemon, tokwatt
from engines.test_recognise import TABLE as RECORDED
from engines.test_recognise_served import TABLE as SERVED
from fakes.engines import FakeEngine
from support.net import wait_for

pytestmark = pytest.mark.e2e

GOLDEN = Path(__file__).parent / "golden"
TABLE = {re.sub(r"\W+", "-", name): row for name, row in {**RECORDED, **SERVED}.items()}
#: What differs from run to run.
VOLATILE = re.compile(r"tokwatt_(engine_probe_duration_seconds|engine_process|model_expires_timestamp_seconds)")
#: Each of these generates a token, wakes, loads or unloads a model, empties a cache, or shows what people wrote.
FORBIDDEN = {
    "sglang": {"/health", "/health_generate", "/flush_cache", "/unload", "/upstream"},
    "llama_swap": {"/unload", "/upstream", "/flush_cache"},
    "llama_cpp": {"/slots", "/unload", "/models/load", "/models/unload", "/flush_cache"},
    "docker_model_runner": {"/engines/requests", "/unload"},
    "omlx": {"/admin", "/unload"},
}
ANYBODY = {
    "/unload",
    "/health_generate",
    "/flush_cache",
    "/upstream",
    "/slots",
    "/api/show",
    "/api/generate",
    "/api/pull",
}


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, FakeEngine]]:
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(make()) for name, (make, kind) in TABLE.items() if kind}


@pytest.fixture(scope="module")
def running(engines: dict[str, FakeEngine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    folder = tmp_path_factory.mktemp("engines")
    config = folder / "tokwatt.toml"
    tables = [f'[[engine]]\nurl = "{engine.url}"\nname = "{name}"\n' for name, engine in engines.items()]
    config.write_text("".join(tables) + "[discovery]\nenabled = false\n")
    with daemon(folder / "data", "--config.file", str(config), "--sample-interval", "10s") as running:
        yield running


def said(running: RunningDaemon, name: str) -> str:
    """The lines of an engine, without what is never twice the same."""
    lines = running.get("/metrics").text.splitlines(keepends=True)
    return "".join(line for line in lines if f'engine="{name}"' in line and not VOLATILE.match(line))


def read(running: RunningDaemon, name: str) -> bool:
    """Whether the engine has been read to the end, by a machine that may be busy."""
    text = said(running, name)
    return "tokwatt_engine_info" in text and "did not answer" not in text


@pytest.mark.parametrize("name", [name for name, (_, kind) in TABLE.items() if kind])
def test_a_recorded_engine_comes_out_as_reviewed(running: RunningDaemon, engines: dict[str, FakeEngine], name: str):
    kind = TABLE[name][1]
    wait_for(lambda: read(running, name), 60, "the engine to be read")
    text = said(running, name)
    assert f'kind="{kind}"' in text
    golden = GOLDEN / f"{name}.metrics"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


def test_nothing_but_reading_is_asked_of_anybody(running: RunningDaemon, engines: dict[str, FakeEngine]):
    for name, engine in engines.items():
        wait_for(lambda name=name: read(running, name), 60, "the engine to be read")
        assert {request.method for request in engine.requests} == {"GET"}, name
        never = ANYBODY | FORBIDDEN.get(str(TABLE[name][1]), set())
        asked = {request.path for request in engine.requests}
        assert not [path for path in asked for one in never if path == one or path.startswith(one + "/")], name
        assert not [request.target for request in engine.requests if "reload=" in request.target], name
        models = [request.target for request in engine.requests if re.search(r"[?&]model=", request.target)]
        assert all("autoload=false" in target for target in models), name


@pytest.mark.parametrize(
    "name", ["llama-cpp", "ollama", "lm-studio", "mlx-vlm", "vllm", "rapid-mlx", "a-list-as-of-vllm-mlx"]
)
def test_the_command_says_the_same_of_an_engine_at_a_url(engines: dict[str, FakeEngine], name: str):
    found: dict[str, Any] = json.loads(tokwatt("engines", "--url", engines[name].url, "--json").stdout)
    [engine] = found["engines"]
    assert engine["kind"] == TABLE[name][1]
    assert engine["evidence"] and all(engine["evidence"])
    lines = (GOLDEN / f"{name}.metrics").read_text()
    assert all(f'model="{model}"' in lines for model in engine["models"][:1]) or not re.search(' model="', lines)
    assert engine["version"] is None or f'version="{engine["version"]}"' in lines
