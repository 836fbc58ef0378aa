"""Two models held against each other with only one of them in memory at a time."""

from __future__ import annotations

import itertools
import json

import pytest

from fakes.engines import FakeEngine, as_json, response
from tokwatt_bench import ab
from tokwatt_bench.plan import Plan
from tokwatt_bench.result import result
from tokwatt_bench.settle import STILL_BYTES, Settled, settle
from tokwatt_bench.target import Target
from tokwatt_exporter.engines.scan import adapter
from tokwatt_exporter.errors import EngineError, UsageError

GB = 1e9


def said(value):
    """JSON, after which the server hangs up and says so."""
    return as_json(value, Connection="close")


class Memory:
    """Used memory that falls for a while; its clock moves when somebody sleeps."""

    def __init__(self, *values):
        self.now, self.values = 0.0, values

    def used(self):
        return self.values[min(int(self.now), len(self.values) - 1)]

    def sleep(self, seconds):
        self.now += seconds

    def settle(self, **options):
        return settle(self.used, clock=lambda: self.now, sleep=self.sleep, **options)


def test_memory_has_settled_when_it_stands_still():
    found = Memory(20 * GB, 18 * GB, 12 * GB, 9 * GB, 8 * GB).settle()
    assert found.still and found.freed_bytes == 12 * GB
    assert 6 <= found.seconds <= 7
    assert str(found).startswith("11.18 GiB of memory came back within 6.")


def test_nobody_waits_forever():
    found = Memory(*itertools.islice(itertools.cycle((8 * GB, 9 * GB)), 100)).settle(most=10)
    assert (found.still, found.seconds) == (False, pytest.approx(10, abs=0.3))
    assert "still moves" in str(found)


def test_small_movements_are_stillness_and_an_unknown_memory_is_not_waited_for():
    assert Memory(8 * GB, 8 * GB + STILL_BYTES / 2, 8 * GB).settle().seconds <= 2.5
    assert Memory(None).settle() is None


@pytest.fixture
def engine():
    """An Ollama with two models, of which it says which are in memory, and a list of what happened to them."""
    with FakeEngine({"/api/version": said({"version": "0.33.0"})}) as made:
        made.routes["/api/tags"] = said({"models": [{"name": "a"}, {"name": "b"}]})
        made.there, made.happened = {"a", "b"}, []

        def listed():
            made.routes["/api/ps"] = said({"models": [{"name": name, "size": 1} for name in sorted(made.there)]})

        async def generate(writer):
            body = json.loads(made.requests[-1].body)
            made.there.discard(body["model"])
            made.happened.append(f"-{body['model']}")
            listed()
            writer.write(said({"done": True}))

        async def chat(writer):
            model = json.loads(made.requests[-1].body)["model"]
            made.there.add(model)
            made.happened.append(model)
            assert made.there == {model}, "the other is in memory, too"
            listed()
            lines = [{"message": {"content": "Hi"}, "done": False}, {
                "message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 1,
                "prompt_eval_count": 30}]  # fmt: skip
            body = "".join(json.dumps(line) + "\n" for line in lines).encode()
            writer.write(response(200, body, "application/x-ndjson"))

        listed()
        made.routes |= {"/api/generate": generate, "/api/chat": chat}
        yield made


def plans(url, kind="ollama", **options):
    made = adapter(kind)
    targets = [Target("e", kind, None, url, model, made, None, None, True) for model in ("a", "b")]
    return tuple(Plan(target=target, idle_seconds=0, timeout=5, **{"warmup": 1, **options}) for target in targets)


def test_only_one_model_is_in_memory_and_each_is_warmed_up(engine, monkeypatch, capsys):
    monkeypatch.setattr("tokwatt_bench.ab.settle", lambda used: Settled(3.2, True, 5 * 2**30))
    first, second = ab.run(plans(engine.url), 8, solo=True)
    blocks = [name for name, _ in itertools.groupby(engine.happened)]
    # Dropped, a warm-up and two requests, two blocks after each other where the order turns.
    assert [one for one in blocks if one.startswith("-")] == ["-a", "-b", "-a", "-b", "-a"]
    assert [len(one.measured) for one in (first, second)] == [8, 8]
    assert sorted(request.block for request in first.measured) == list(range(8))
    assert len(first.requests) + len(second.requests) == 16 + 5
    line = "was unloaded; 5.00 GiB of memory came back within 3.2 s"
    assert capsys.readouterr().err.count(line) == 5
    assert any(line in note for one in (first, second) for note in result(one)["notes"])


def test_a_model_that_comes_back_is_warmed_up_anew_until_it_is_no_faster(engine, monkeypatch):
    monkeypatch.setattr("tokwatt_bench.ab.settle", lambda used: None)
    runs = ab.run(plans(engine.url, warmup=None), 8, solo=True)
    # Whether it gets faster takes two requests to say.
    assert sum(len(one.requests) - len(one.measured) for one in runs) >= 2 * 5


def test_an_engine_that_does_not_unload_is_refused_or_keeps_what_was_measured(engine, monkeypatch, tmp_path):
    from tokwatt_bench.measure import Kept

    with pytest.raises(UsageError, match=r"--solo: e \(vllm\) has no way to unload a model"):
        ab.ab(plans(engine.url, "vllm"), 6, 0.02, Kept(None), solo=True)
    calls = itertools.count()

    def unload(plan):
        if next(calls) == 2:
            raise EngineError("e did not unload a")
        engine.there.discard(plan.target.model)
        return False

    monkeypatch.setattr("tokwatt_bench.cold.unload", unload)
    runs = ab.run(plans(engine.url), 8, solo=True)
    assert runs[0].problem == "e did not unload a"
    assert sum(len(one.measured) for one in runs) == 6


def test_the_client_of_two_engines_in_turns_is_calibrated(server):
    made = adapter("openai_compatible")
    targets = [Target("t", "openai_compatible", None, server.url, model, made, None, None, False)
               for model in ("itl=1,ttft=5,tokens=4", "itl=2,ttft=5,tokens=4")]  # fmt: skip
    both = tuple(Plan(target=target, idle_seconds=0, warmup=0, calibrate=True) for target in targets)
    runs = ab.run(both, 1)
    assert runs[0].calibration is runs[1].calibration is not None
    assert result(runs[1])["calibration"]["concurrency"] == 1
