"""Recorded engines → the real daemon → what /metrics says of each, byte for byte; and what it asked them for.

UPDATE_GOLDEN=1 writes the files anew; what changed is then reviewed as a diff.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from e2e.daemon import daemon
from engines.moments import MOMENTS
from engines.test_recognise import TABLE as RECORDED
from engines.test_recognise_served import TABLE as SERVED
from fakes.engines import Request, recorded
from support.captures import shared_captures
from support.net import wait_for
from tokwatt_exporter.config import load
from tokwatt_exporter.engines import discovery

pytestmark = pytest.mark.e2e

GOLDEN = Path(__file__).parent / "golden"
TABLE = {re.sub(r"\W+", "-", name): row for name, row in {**RECORDED, **SERVED, **MOMENTS}.items()}
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


#: Recorded answers that the daemon never gets, and why.
NEVER_GOT = {
    "*/chat.*": "to a prompt: tests/streams", "*/completion*": "to a prompt: tests/streams",
    "*/v1-completions.*": "to a prompt: tests/streams", "*/*.stream.http": "to a prompt: tests/streams",
    "*/*chat*.response.http": "to a prompt: tests/streams", "*/*generate-stream*": "to a prompt: tests/streams",
    "*/*completions-stream*": "to a prompt: tests/streams", "llama.cpp/router.chat*": "to a prompt",
    "vmlx/api-generate.http": "to a prompt", "*/*error*.response.http": "to a request that is wrong",
    "llama.cpp/bad-json.http": "to a request that is wrong",
    "llama.cpp/router.load.http": "to a POST: tests/engines/test_loading.py",
    "llama.cpp/router.unload.http": "to a POST: tests/engines/test_loading.py",
    "vmlx/admin-*.http": "to a POST that changes the engine", "llama.cpp/lora.http": "/lora-adapters",
    "llama.cpp/tokenize.http": "to a POST: the benchmark asks it", "llama.cpp/router.models.sse.http": "/models/sse",
    "llama.cpp/router.props.model.http": "of one model: it would be loaded",
    "llama.cpp/router.slots.model.http": "of one model: it would be loaded",
    "mlx-vlm/v1-cache-stats.http": "/v1/cache/stats", "rapid-mlx/v1-cache-stats.http": "/v1/cache/stats",
    "mlx-vlm/v1-settings.http": "/v1/settings", "rapid-mlx/v1-runtime-config.http": "/v1/runtime/config",
    "rapid-mlx/health-ready.http": "/health/ready", "rapid-mlx/livez.http": "/livez",
    "rapid-mlx/openapi-404.http": "/openapi.json", "rapid-mlx/version.http": "/version",
    "vllm-mlx/root.404.http": "/", "vllm-mlx/version.404.http": "/version", "vmlx/api-show.http": "/api/show",
    "vmlx/health.mtp.http": "/health/mtp", "vmlx/metrics.404.http": "/metrics", "vmlx/version.404.http": "/version",
    "vmlx/v1-capabilities.http": "/v1/capabilities", "vmlx/v1-cluster-status.http": "/v1/cluster/status",
}  # fmt: skip

#: Some at a time: all of them at once would be a load of their own.
GROUPS = [list(TABLE)[number::8] for number in range(8)]


def said(text: str, name: str) -> str:
    """The lines of an engine, without what is never twice the same."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if f'engine="{name}"' in line and not VOLATILE.match(line))


@pytest.mark.parametrize("names", GROUPS, ids=[names[0] for names in GROUPS])
def test_recorded_engines_come_out_as_reviewed_and_are_only_read(tmp_path: Path, names: list[str]):
    with contextlib.ExitStack() as stack:
        engines = {name: stack.enter_context(TABLE[name][0]()) for name in names if TABLE[name][1]}
        config = tmp_path / "tokwatt.toml"
        tables = [f'[[engine]]\nurl = "{engine.url}"\nname = "{name}"\n' for name, engine in engines.items()]
        config.write_text("".join(tables) + "[discovery]\nenabled = false\n")
        running = stack.enter_context(
            daemon(tmp_path / "data", "--config.file", str(config), "--sample-interval", "5s")
        )  # fmt: skip
        found: dict[str, str] = {}

        def all_read() -> bool:
            text = running.get("/metrics").text
            found.update({name: said(text, name) for name in engines})
            return all("tokwatt_engine_info" in text and "did not answer" not in text for text in found.values())

        wait_for(all_read, 90, "every engine to be read to the end")
        for name, engine in engines.items():
            _only_read(engine.requests, str(TABLE[name][1]), name)
    for name, text in found.items():
        assert f'kind="{TABLE[name][1]}"' in text
        if os.environ.get("UPDATE_GOLDEN"):
            GOLDEN.mkdir(exist_ok=True)
            (GOLDEN / f"{name}.metrics").write_text(text)
    assert found == {name: (GOLDEN / f"{name}.metrics").read_text() for name in found}


def test_every_recorded_answer_to_what_is_asked_is_replayed():
    replayed = set()
    for make, _ in TABLE.values():
        engine = make()
        replayed |= {answer for answer in [*engine.routes.values(), engine.default] if isinstance(answer, bytes)}
    folder = shared_captures() / "engines"
    left = [
        str(file.relative_to(folder)) for file in sorted(folder.glob("*/*.http"))
        if ".request." not in file.name and recorded(file) not in replayed
    ]  # fmt: skip
    assert [name for name in left if not any(fnmatch(name, pattern) for pattern in NEVER_GOT)] == []
    assert [pattern for pattern in NEVER_GOT if not any(fnmatch(name, pattern) for name in left)] == []


def _only_read(requests: list[Request], kind: str, name: str) -> None:
    assert {request.method for request in requests} == {"GET"}, name
    never = ANYBODY | FORBIDDEN.get(kind, set())
    assert not [r.path for r in requests for one in never if r.path == one or r.path.startswith(one + "/")], name
    assert not [r.target for r in requests if "reload=" in r.target], name
    # A question about a model would load it.
    assert all("autoload=false" in r.target for r in requests if re.search(r"[?&]model=", r.target)), name


@pytest.mark.parametrize("name", [name for name, (_, kind) in TABLE.items() if kind])
def test_the_engine_at_a_url_is_listed_with_what_the_daemon_says(name: str):
    with TABLE[name][0]() as engine:
        # As `tokwatt engines --url --json`, with time enough for a busy machine.
        listed = asyncio.run(discovery.find(load({}, {}, None), engine.url, within=10.0))
    [found] = discovery.as_json(listed)["engines"]
    golden = (GOLDEN / f"{name}.metrics").read_text()
    assert found["kind"] == TABLE[name][1]
    assert found["evidence"]
    assert all(found["evidence"])
    version = re.search(r' version="([^"]*)"|,version="([^"]*)"', golden)
    assert found["version"] == (version and version[version.lastindex or 1])
    loaded = set(re.findall(r'model_info\{.*?model="([^"]*)"', golden))
    assert loaded <= set(found["models"])
