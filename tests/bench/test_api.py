"""Measuring by each API of an engine: `--api`."""

import json

import pytest

from fakes import engine_kinds as kinds
from fakes.engines import response
from support.captures import shared_captures
from tokwatt_bench import load
from tokwatt_bench.plan import Plan
from tokwatt_bench.result import result
from tokwatt_bench.target import Target, choose
from tokwatt_exporter.config import load as load_config
from tokwatt_exporter.engines.openai_compatible import OpenAICompatible
from tokwatt_exporter.errors import UsageError


def plan(server, **options):
    target = Target("e", "openai_compatible", None, server.url, "base", OpenAICompatible(), None, None, True)
    return Plan(target=target, max_tokens=16, idle_seconds=0, runs=1, warmup=0, **options)


@pytest.mark.parametrize("api", [None, "chat", "completions"])
def test_tokens_of_both_apis_are_counted(server, api):
    found = result(load.run(plan(server, api=api)))
    assert (found["failures"], found["tokens"]["generated"]) == ([], 16)
    assert found["settings"]["api"] == (api or "chat")


def test_an_api_that_the_engine_does_not_have_is_refused(server):
    with pytest.raises(UsageError, match="openai_compatible has no native API"):
        plan(server, api="native").generation()


def test_lm_studios_own_api_is_measured_with_its_own_figures():
    folder = shared_captures() / "engines/lmstudio"
    numbers = (1, 5, 6, 7, 8, 9, 10, 15, 16, 17, 19)
    documented = [json.loads((folder / f"doc.api-v1-chat-event.{number:02}.json").read_text()) for number in numbers]
    stream = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in documented)
    engine = kinds.lm_studio(folder)
    engine.routes["/api/v1/chat"] = response(200, stream.encode(), "text/event-stream")
    with engine:
        target = choose(load_config({}, {}), engine.url, "lm_studio", "openai/gpt-oss-20b")
        found = result(load.run(Plan(target=target, api="native", idle_seconds=0, runs=1, warmup=0)))
        [request] = [request for request in engine.requests if request.method == "POST"]
    assert (found["failures"], request.path) == ([], "/api/v1/chat")
    assert (found["tokens"]["prompt"], found["tokens"]["generated"], found["tokens"]["source"]) == (329, 268, "stats")
    assert found["engine_time_to_first_token_seconds"]["p50"] == 0.781
