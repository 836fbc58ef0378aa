"""Engines that answer anything at all, twenty at a time, before the real daemon: each costs only itself."""

from __future__ import annotations

import contextlib
import math
import subprocess
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from e2e.daemon import daemon
from fakes import engines as fake
from fakes.engines import Behaviour, FakeEngine, as_json, response
from support.captures import shared_captures
from support.components import component
from support.net import wait_for
from tokwatt_exporter.catalogue import ENGINE_UP, MODELS_PER_ENGINE, SAMPLES_DROPPED

pytestmark = pytest.mark.e2e

LONG = "x" * 5000
MANY = as_json({"object": "list", "data": [{"id": f"m{number}", "owned_by": "me"} for number in range(10_000)]})
PAGE = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="m"} NaN
vllm:num_requests_running{model_name="m"} 1
vllm:num_requests_waiting{model_name="m"} -3
vllm:generation_tokens_total{model_name="m"} +Inf
vllm:prompt_tokens_total{model_name="m} 7
vllm:time_to_first_token_seconds_bucket{model_name="m",le="1"} 5
vllm:time_to_first_token_seconds_bucket{model_name="m",le="+Inf"} 4
vllm:time_to_first_token_seconds_sum{model_name="m"} 3
vllm:time_to_first_token_seconds_count{model_name="m"} 4
"""
NAMES = ["a\nb\x00c\x1b[31m", LONG, '"} 1\ntokwatt_engine_up{engine="forged"} 1', "m\ud83d"]
#: What a server answers to everything; after it, the kind it is configured as.
EVERYTHING: dict[str, tuple[Behaviour, str]] = {
    "silent": (fake.silence, "ollama"),
    "garbage": (fake.garbage, "llama_cpp"),
    "hangs-up": (fake.hang_up, "vllm"),
    "endless": (fake.endless, "ollama"),
    "trickle": (fake.trickle, "lm_studio"),
    "endless-headers": (fake.endless_headers, "omlx"),
    "too-short": (fake.too_short, "exo"),
    "bomb": (fake.bomb(), "vllm"),
    "redirects": (fake.redirect("http://127.0.0.1:9/"), "ollama"),
    "no-head": (fake.no_head, "ollama"),
    "bad-chunks": (fake.BAD_CHUNKS, "llama_cpp"),
    "bad-lengths": (fake.BAD_LENGTHS, "koboldcpp"),
    "half-json": (response(200, b'{"models": [{"na'), "ollama"),
    "deep-json": (response(200, b"[" * 10**5), "koboldcpp"),
    "wrong-type": (response(200, b"<html>fine</html>", "text/html"), "openai_compatible"),
    "error-page-200": (response(200, b'{"error":"Unexpected endpoint or method. (GET /x)"}'), "omlx"),
    "wants-a-password": (response(401, b""), "openai_compatible"),
    "http-500": (response(500, b""), "sglang"),
    "many-models": (MANY, "openai_compatible"),
    "strange-names": (as_json({"object": "list", "data": [{"id": name} for name in NAMES]}), "openai_compatible"),
}
VLLM: dict[str, Behaviour] = {
    "/v1/models": as_json({"object": "list", "data": [{"id": "m", "owned_by": "vllm"}]}),
    "/version": as_json({"version": "0.33.0"}),
    "/metrics": response(200, PAGE.encode(), "text/plain"),
}
MANY_OLLAMA: dict[str, Behaviour] = {
    "/api/ps": as_json({"models": [{"name": f"m{n}", "digest": "d" * 64, "size": 5} for n in range(10_000)]}),
    "/api/version": as_json({"version": "0.33.0"}),
}


def test_hostile_engines_cost_only_themselves(tmp_path: Path):
    with contextlib.ExitStack() as stack:
        servers = {name: (FakeEngine({}, behaviour), kind) for name, (behaviour, kind) in EVERYTHING.items()}
        servers["bad-counters"] = FakeEngine(VLLM), "vllm"
        servers["many-loaded"] = FakeEngine(MANY_OLLAMA), "ollama"
        servers["good"] = fake.llama_cpp(shared_captures() / "engines/llama.cpp"), "llama_cpp"
        tables = [
            f'[[engine]]\nurl = "{stack.enter_context(server).url}"\nname = "{name}"\nkind = "{kind}"\n'
            for name, (server, kind) in servers.items()
        ]
        config = tmp_path / "tokwatt.toml"
        config.write_text("".join(tables) + "[discovery]\nenabled = false\n")
        running = stack.enter_context(
            daemon(tmp_path / "data", "--config.file", str(config), "--sample-interval", "2s", "--log.level", "info")
        )
        of = {name: {} for name in servers}

        def all_seen() -> bool:
            for engine in of.values():
                engine.clear()
            for (name, labels), value in running.series().items():
                known = dict(labels)
                if "engine" in known:
                    of[known["engine"]][name, tuple((k, v) for k, v in labels if k != "engine")] = value
            # Of one that is slow to answer a sample may have no more than that it is up.
            many = any("model_info" in series for series, _ in of["many-loaded"])
            return many and all((ENGINE_UP.name, ()) in engine for engine in of.values()) and len(of["good"]) > 8

        wait_for(all_seen, 60, "every engine to be probed and the good one read")
        up = {name: engine[ENGINE_UP.name, ()] for name, engine in of.items()}
        assert {name for name, value in up.items() if value} == {
            "good", "bad-counters", "many-loaded", "many-models", "strange-names", "wants-a-password",
        }  # fmt: skip
        for name, engine in of.items():
            assert len(engine) <= 5 * MODELS_PER_ENGINE, name
            assert up[name] or any("problem_info" in series for series, _ in engine), f"{name} is down for no reason"
            assert all(math.isfinite(value) and value >= 0 for value in engine.values()), name
        _no_counter_was_invented(of["bad-counters"])
        assert sum("model_info" in series for series, _ in of["many-loaded"]) == MODELS_PER_ENGINE
        text = running.get("/metrics").text
        assert (running.value(SAMPLES_DROPPED(0, reason="label_limit")) or 0) >= 10_000 - MODELS_PER_ENGINE
        assert {
            s.labels["engine"] for f in text_string_to_metric_families(text) for s in f.samples if "engine" in s.labels
        } == set(servers)
        check = subprocess.run(
            [str(component("promtool")), "check", "metrics"], input=text.encode(), capture_output=True, check=False
        )
        assert (check.returncode, check.stdout + check.stderr) == (0, b"")
        assert psutil.Process(running.process.pid).memory_info().rss < 200e6
        assert running.stop() == 0
        assert "Traceback" not in running.log.read_text()


def _no_counter_was_invented(engine: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> None:
    said = {series.removeprefix("tokwatt_engine_") for series, _ in engine}
    assert not said & {"requests_running", "requests_waiting", "generation_tokens_total", "prompt_tokens_total"}
    assert not any("time_to_first_token" in series for series in said)
