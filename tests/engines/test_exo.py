"""Exo: what its instances run, on however many nodes."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import engine_kinds as kinds
from fakes.asking import look, model, states
from fakes.engines import as_json
from tokwatt_exporter.engines.base import Model
from tokwatt_exporter.errors import EngineError

QWEN, LLAMA = "mlx-community/Qwen3-4bit", "mlx-community/Llama-8bit"


def test_an_instance_whose_runners_are_all_ready_is_loaded():
    state = look("exo", kinds.exo())
    assert states(state) == {QWEN: "loaded", LLAMA: "available"}
    assert model(state, QWEN) == Model(QWEN, "loaded", "4bit", "mlx")
    assert (state.loaded, state.version, state.readings, state.problem) == (1, None, (), None)


@pytest.mark.parametrize("runner", ["RunnerIdle", "RunnerConnecting", "RunnerLoading", "RunnerLoaded",
                                    "RunnerWarmingUp", "RunnerNew", ""])  # fmt: skip
def test_an_instance_with_a_runner_that_is_not_ready_is_loading(runner: str):
    state = look("exo", kinds.exo(runner))
    assert (states(state)[QWEN], state.loaded) == ("loading", 0)


def test_one_that_generates_is_loaded():
    assert look("exo", kinds.exo("RunnerRunning")).loaded == 1


@pytest.mark.parametrize("runner", ["RunnerFailed", "RunnerShuttingDown", "RunnerShutdown"])
def test_an_instance_with_a_runner_that_is_gone_does_not_run_and_the_user_is_told(runner: str):
    state = look("exo", kinds.exo(runner))
    assert (states(state)[QWEN], state.loaded) == ("available", 0)
    assert QWEN in str(state.problem)


def test_an_instance_as_newer_versions_write_it_is_read():
    shards = {"model_id": "m", "shards": [["n1", "r1", {}], ["n2", "r2", {}]]}
    state = look("exo", kinds.exo(instances={"i": {"LlamaCppInstance": {"shard_assignments": shards}}}))
    assert model(state, "m") == Model("m", "loaded", format="gguf")


def test_an_older_version_without_parts_of_its_state_is_asked_for_all_of_it():
    engine = kinds.exo(parts=False)
    assert states(look("exo", engine))[QWEN] == "loaded"
    assert "/state" in engine.asked()


def test_neither_prompts_nor_the_whole_cluster_are_asked_for():
    engine = kinds.exo()
    look("exo", engine)
    assert engine.asked() == ["/state/instances", "/state/runners", "/v1/models"]
    assert engine.requests[-1].target == "/v1/models?status=downloaded"


def test_nothing_running_is_nothing_loaded():
    state = look("exo", kinds.exo(instances={}))
    assert (states(state), state.loaded) == ({QWEN: "available", LLAMA: "available"}, 0)


@pytest.mark.parametrize(
    "instance",
    [None, [], "x", {}, {"MlxRingInstance": None}, {"MlxRingInstance": {"shardAssignments": []}},
     {"MlxRingInstance": {"shardAssignments": {"modelId": "\x07"}}}],
)  # fmt: skip
def test_an_instance_that_cannot_be_read_is_none(instance: Any):
    assert look("exo", kinds.exo(instances={"i": instance})).loaded == 0


def test_an_instance_of_no_known_runner_is_not_loaded():
    state = look("exo", kinds.exo(instances={"i": {"MlxRingInstance": {"shardAssignments": {"modelId": "m"}}}}))
    assert states(state)["m"] == "loading"


def test_of_two_instances_of_a_model_the_one_that_is_ready_counts():
    shards = {"modelId": "m", "runnerToShard": {"r1": {}}}
    starting = {"MlxRingInstance": {"shardAssignments": shards | {"runnerToShard": {"r3": {}}}}}
    instances = {"i": starting, "j": {"MlxRingInstance": {"shardAssignments": shards}}, "k": starting}
    assert states(look("exo", kinds.exo(instances=instances)))["m"] == "loaded"


def test_another_server_at_its_place_is_an_error():
    engine = kinds.exo(parts=False)
    engine.routes["/state"] = as_json({"state": "ok"})
    with pytest.raises(EngineError, match="not Exo any more"):
        look("exo", engine)
