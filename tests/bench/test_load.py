import pytest

from tokwatt_bench import load
from tokwatt_bench.plan import Plan
from tokwatt_bench.result import result
from tokwatt_bench.target import Target
from tokwatt_exporter.engines.openai_compatible import OpenAICompatible


@pytest.fixture
def plan(server):
    def plan(model="base", local=True, key=None, **options):
        target = Target("e", "openai_compatible", None, server.url, model, OpenAICompatible(), key, None, local)
        return Plan(target=target, max_tokens=16, **{"idle_seconds": 0, **options})

    return plan


def test_the_warm_up_comes_first_and_does_not_count(plan):
    done = load.run(plan(runs=2, warmup=3))
    phases = [(request.phase, request.index) for request in done.requests]
    assert phases == [("warmup", 0), ("warmup", 1), ("warmup", 2), ("measured", 0), ("measured", 1)]
    found = result(done)
    assert (found["runs"], found["tokens"]["generated"], found["tokens"]["warmup_generated"]) == (2, 32, 48)
    assert found["time_to_first_token_seconds"]["count"] == 2


def test_energy_of_an_engine_on_another_machine_is_not_ours(plan, rapl):
    done = load.run(plan(local=False, runs=1, warmup=0, procfs=rapl.proc, sysfs=rapl.sys, idle_seconds=30))
    found = result(done)
    assert found["energy_per_token_joules"] is None
    assert found["reasons"]["energy_per_token_joules"] == "the engine runs on another machine"
    assert done.requests[0].energy_joules is None


def test_a_request_has_the_joules_used_meanwhile(plan, rapl):
    done = load.run(plan("itl=20", runs=2, warmup=0, procfs=rapl.proc, sysfs=rapl.sys))
    for request in done.requests:
        assert request.energy_joules == pytest.approx(40 * request.duration_seconds, rel=0.6)


def test_each_prompt_begins_with_something_new(plan):
    first, second = plan().generation()[1], plan().generation()[1]
    texts = [body["messages"][0]["content"] for body in (first, second)]
    assert texts[0][:18] != texts[1][:18]
    assert texts[0].partition("] ")[2] == texts[1].partition("] ")[2] == plan().prompt


def test_the_same_prompt_is_sent_again_where_the_prefix_should_be_warm(plan):
    warm = plan(warm_prefix=True)
    assert warm.generation() == warm.generation()


def test_options_reach_the_engine_only_where_they_were_given(plan):
    assert not {"seed", "temperature"} & plan().generation()[1].keys()
    body = plan(seed=7, temperature=0.0).generation()[1]
    assert (body["seed"], body["temperature"], body["max_tokens"]) == (7, 0.0, 16)


def test_a_key_goes_into_the_header_and_nowhere_else(plan):
    secret = plan(key="sesame")
    assert secret.headers()["Authorization"] == "Bearer sesame"
    assert "sesame" not in str(secret.settings()) + str(secret.generation())
    assert "Authorization" not in plan().headers()


def test_the_prompt_is_not_kept(plan):
    assert "private" not in str(plan(prompt="a private matter").settings())


def test_steps_are_told_as_they_come(plan):
    told = []
    load.run(plan(runs=2, warmup=1), lambda what, done, of: told.append((what, done, of)))
    assert told[1:] == [("warming up", 0, 3), ("measuring", 1, 3), ("measuring", 2, 3), ("done", 3, 3)]
