"""However many models an engine counts for, it gets series for 64, and what is left out is counted."""

from __future__ import annotations

from fakes.engines import response
from fakes.served import listed, vllm
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.config import Config, EngineConfig, load
from tokwatt_exporter.engines.monitor import EngineMonitor
from tokwatt_exporter.selfmetrics import SelfMetrics


def published(models: int) -> tuple[set[str], float]:
    """The models with series after one sample of a vLLM that counts for this many, and how many samples it cost."""
    lines = [f'vllm:num_requests_running{{engine="0",model_name="m{i}"}} 1' for i in range(models)]
    lines += ["# TYPE vllm:num_requests_running gauge"]
    metrics = SelfMetrics()
    with vllm(b"", models=listed("vllm", "m0")) as server:
        server.routes["/metrics"] = response(200, "\n".join(lines).encode(), "text/plain")
        base = load({}, {})
        changed = {"engines": (EngineConfig(server.url, kind="vllm"),), "discovery_enabled": False}
        config = Config(**{name: getattr(base, name) for name in base.__dataclass_fields__} | changed)
        watched = EngineMonitor(config, metrics)
        try:
            readings = watched.read()
        finally:
            watched.close()
    names = {dict(r.labels).get("model", "") for r in readings if r.family is c.REQUESTS_RUNNING}
    dropped = [
        r.value for r in metrics.readings() if r.family is c.SAMPLES_DROPPED and ("reason", "label_limit") in r.labels
    ]
    return names, sum(dropped)


def test_as_many_models_as_there_is_room_for():
    names, dropped = published(c.MODELS_PER_ENGINE)
    assert (len(names), dropped) == (c.MODELS_PER_ENGINE, 0)


def test_one_model_too_many():
    names, dropped = published(c.MODELS_PER_ENGINE + 1)
    assert (len(names), dropped) == (c.MODELS_PER_ENGINE, 1)


def test_ten_thousand_models():
    names, dropped = published(10_000)
    assert (len(names), dropped) == (c.MODELS_PER_ENGINE, 10_000 - c.MODELS_PER_ENGINE)
