"""Runs held against runs: planted differences are found, none is claimed between equals, unlike runs are refused."""

from __future__ import annotations

import json
import random
import sys

import pytest

from tokwatt_bench.__main__ import main
from tokwatt_bench.compare import compared, unmatched
from tokwatt_bench.measured import Measured, document
from tokwatt_bench.regress import regress
from tokwatt_exporter.errors import UsageError

TOKENS = 40


def row(index, gap, first=0.2, block=None, ok=True, cached=0, load=None):
    offsets = [round((first + gap * n) * 1e9) for n in range(TOKENS)]
    return {
        "run_id": "", "request_index": index, "phase": "measured", "ok": ok, "failure": None if ok else "cut: early",
        "prompt_tokens": 200, "cached_tokens": cached, "generated_tokens": TOKENS, "token_source": "usage",
        "time_to_first_token_seconds": first, "duration_seconds": first + gap * (TOKENS - 1),
        "chunk_offsets_ns": offsets, "energy_joules": None, "block": block, "load_seconds": load, "finish": "stop",
    }  # fmt: skip


def run(rows, run_id="a" * 32, **result):
    failed = sum(not one["ok"] for one in rows)
    found = {
        "engine": "e", "kind": "openai_compatible", "version": None, "url": "http://127.0.0.1:1", "model": "m",
        "scenario": "default", "concurrency": 1, "runs": len(rows), "failed": failed, "aborted": False, "host": "h",
        "run_id": run_id, "energy": {"idle_watts": None}, "settings": {"max_tokens": 128, "api": "chat"},
        "tool_version": "1", "load": {"mode": "closed"}, "conditions": {"before": {}, "problems": []},
    } | result  # fmt: skip
    return Measured(found, [{**one, "run_id": run_id} for one in rows])


def in_turns(chance, slower=1.0, warming=0.06, pairs=20):
    """Two runs in ABBA on a machine that gets slower, with noise and now and then a hiccup."""
    sides = ([], [])
    order = [side for pair in range(pairs) for side in ((0, 1) if pair % 2 == 0 else (1, 0))]
    for place, side in enumerate(order):
        drift = 1 + warming * place / len(order)
        noise = chance.gauss(1, 0.012) + (0.15 if chance.random() < 0.05 else 0)
        gap = 0.01 * drift * noise * (slower if side else 1)
        sides[side].append(row(len(sides[side]), gap, 0.2 * drift * chance.gauss(1, 0.03), block=place // 2))
    return run(sides[0]), run(sides[1], "b" * 32)


def verdicts(found):
    return {one["name"]: one["verdict"] for one in found["figures"]}


def test_a_server_five_percent_slower_is_found_in_95_of_100_runs_in_turns():
    found = sum(
        verdicts(compared(*([side] for side in in_turns(random.Random(seed), 1.05))))["generation_tokens_per_second"]
        == "slower"
        for seed in range(100)
    )
    assert found >= 95


def test_between_equals_no_difference_is_claimed_in_95_of_100():
    claimed = sum(
        verdicts(compared(*([side] for side in in_turns(random.Random(1000 + seed)))))["generation_tokens_per_second"]
        in ("slower", "faster")
        for seed in range(100)
    )
    assert claimed <= 5


def test_pairs_are_those_that_both_answered():
    first, second = in_turns(random.Random(1))
    first.requests[3]["ok"] = False
    found = compared([first], [second])
    assert found["paired"] is True
    assert verdicts(found)["generation_tokens_per_second"] in ("equivalent", "no difference shown")


def test_a_prefix_that_was_cached_is_no_faster_prefill():
    cold = run([row(n, 0.01, 0.2 + n / 1000) for n in range(10)])
    cached = run([row(n, 0.01, 0.02 + n / 10000, cached=180) for n in range(10)], "b" * 32)
    found = {one["name"]: one for one in compared([cold], [cached])["figures"]}
    assert found["time_to_first_token_seconds"]["verdict"] == "faster"
    # 20 tokens in a tenth of the time are as many a second as 200 in all of it.
    assert found["prompt_tokens_per_second"]["ratio"] == pytest.approx(1, rel=0.05)


def test_several_runs_on_a_side_are_compared_by_their_medians():
    sides = [
        [run([row(n, gap * (1 + 0.001 * number)) for n in range(8)], f"{name}{number}" * 16) for number in range(4)]
        for name, gap in (("a", 0.010), ("b", 0.012))
    ]
    found = compared(*sides)
    assert (found["runs"], found["paired"]) == ([4, 4], False)
    assert verdicts(found)["generation_tokens_per_second"] == "slower"


def test_without_requests_the_intervals_of_the_results_are_compared():
    def printed(middle, half):
        return run([], generation_tokens_per_second={"p50": middle, "ci95": [middle - half, middle + half]})

    assert verdicts(compared([printed(100.0, 1)], [printed(80.0, 1)]))["generation_tokens_per_second"] == "slower"
    found = compared([printed(100.0, 9)], [printed(95.0, 9)])
    assert verdicts(found)["generation_tokens_per_second"] == "no difference shown"
    assert verdicts(found)["time_to_first_token_seconds"] is None


def test_conditions_that_differ_are_named():
    first = run([row(0, 0.01)])
    second = run([row(0, 0.01)], scenario="chat", settings={"max_tokens": 64, "api": "chat"})
    assert unmatched(first, second) == [
        {"name": "scenario", "first": "default", "second": "chat"},
        {"name": "settings.max_tokens", "first": 128, "second": 64},
    ]


def test_what_to_know_before_believing_it_is_said():
    looping = {"kind": "looping", "count": 3, "detail": "'a' comes 9 times", "requests": [0]}
    bad = run(
        [row(0, 0.01), row(1, 0.01, ok=False)], client_bound=["the client is late"], answer_problems=[looping],
        conditions={"before": {}, "problems": ["thermal pressure was serious"]},
    )  # fmt: skip
    assert compared([run([row(0, 0.01)])], [bad])["warnings"] == [
        "second: the client is late", "second: thermal pressure was serious",
        "second: 3 answers looping: 'a' comes 9 times", "second: 1 of 2 requests failed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("slower", "threshold", "shown"), [(1.1, 0.05, True), (1.03, 0.05, False), (0.9, 0.02, False), (1.0, 0.02, False)]
)
def test_a_regression_is_as_large_as_was_asked_and_shown_by_its_interval(slower, threshold, shown):
    chance = random.Random(5)
    sides = [[row(n, 0.01 * factor * chance.gauss(1, 0.01)) for n in range(30)] for factor in (1.0, slower)]
    found = regress([run(sides[0])], [run(sides[1], "b" * 32)], threshold)
    assert any("decode speed is slower" in line for line in found["regressions"]) == shown
    assert found["comparable"]


def test_more_failures_are_a_regression():
    good, bad = ([row(n, 0.01, ok=n >= failed) for n in range(40)] for failed in (0, 20))
    assert "more requests failed than chance explains" in regress([run(good)], [run(bad)], 0.02)["regressions"]
    assert regress([run(good)], [run(good)], 0.02)["regressions"] == []


def test_runs_that_were_not_measured_alike_are_refused_unless_it_is_allowed():
    first, second = run([row(n, 0.01) for n in range(8)]), run([row(n, 0.01) for n in range(8)], model="other")
    with pytest.raises(UsageError, match=r"not measured alike: model \(m and other\)"):
        regress([first], [second], 0.02)
    assert regress([first], [second], 0.02, ["model"])["comparable"]
    with pytest.raises(UsageError, match="there is no condition weather"):
        regress([first], [second], 0.02, ["weather"])


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run `tokwatt-bench ARGS` here: exit code, stdout and stderr."""

    def command(*args):
        monkeypatch.setenv("TOKWATT_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setattr(sys, "argv", ["tokwatt-bench", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code, *capsys.readouterr())

    return command


def test_the_commands_tell_by_their_exit_codes(command, server, tmp_path):
    def measure(model):
        code, out, _ = command("run", "--url", server.url, "--model", model, "--runs", "8", "--warmup", "0", "--gate",
                               "annotate", "--idle-seconds", "0", "--no-calibrate", "--no-store", "--json")  # fmt: skip
        assert code == 0
        return json.loads(out)["results"][0]

    files = {}
    for name, itl in (("fast", 2), ("slow", 4)):
        found = measure(f"itl={itl},tokens=16")
        # Nothing else than the speed differs.
        found["model"] = "m"
        files[name] = tmp_path / f"{name}.json"
        files[name].write_text(json.dumps(document([Measured(found, [])])))
    code, out, _ = command("compare", files["fast"], files["slow"], "--json")
    assert code == 0
    assert verdicts(json.loads(out))["generation_tokens_per_second"] == "slower"
    code, out, error = command("regress", "--baseline", files["fast"], "--candidate", files["slow"])
    assert (code, "decode speed" in out) == (3, True)
    [wait] = [line.split() for line in out.splitlines() if line.startswith("time to first token ")]
    slow = json.loads(files["slow"].read_text())["results"][0]["time_to_first_token_seconds"]["p50"]
    assert float(wait[5]) == pytest.approx(1e3 * slow, rel=1e-3) and wait[6] == "ms"
    assert "tokwatt-bench: regression: decode speed is slower: -" in error
    # A busy machine may delay the first tokens of one of them; twice as fast is no regression whatever it does.
    better = command(
        "regress", "--baseline", files["slow"], "--candidate", files["fast"], "--threshold", "90%", "--json"
    )
    assert better[0] == 0 and verdicts(json.loads(better[1]))["generation_tokens_per_second"] == "faster"
    code, _, error = command("regress", "--baseline", files["fast"], "--candidate", files["fast"])
    assert (code, error) == (2, "tokwatt-bench: --baseline and --candidate are the same run\n")
    code, _, error = command("regress", "--baseline", tmp_path / "nowhere.json")
    assert (code, len(error.splitlines())) == (2, 1)


def test_two_engines_in_turns(command, server):
    code, out, _ = command(
        "ab", "--a", f"{server.url}#itl=1,tokens=16", "--b", f"{server.url}#itl=3,tokens=16", "--pairs", "8",
        "--warmup", "0", "--idle-seconds", "0", "--json",
    )  # fmt: skip
    assert code == 0
    found = json.loads(out)
    assert [one["model"] for one in found["results"]] == ["itl=1,tokens=16", "itl=3,tokens=16"]
    assert found["comparison"]["paired"] is True
    assert verdicts(found["comparison"])["generation_tokens_per_second"] == "slower"
    code, _, error = command("ab", "--a", f"{server.url}#base", "--b", f"{server.url}#base")
    assert (code, error.count("\n")) == (2, 1)
