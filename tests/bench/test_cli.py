"""The command as a user meets it: exit codes, one clear line, and nothing but JSON on stdout."""

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import NamedTuple

import pytest

from support.net import wait_for
from tokwatt_bench.__main__ import main
from tokwatt_exporter import __version__


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Run `tokwatt-bench ARGS` in this process; the data directory is the test's own."""

    def bench(*args, environ=None):
        with monkeypatch.context() as patched:
            for name, value in {"TOKWATT_DATA_DIR": str(tmp_path / "data"), **(environ or {})}.items():
                patched.setenv(name, value)
            patched.setattr(sys, "argv", ["tokwatt-bench", *args])
            capsys.readouterr()
            try:
                main()
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Done(code, *capsys.readouterr())

    return bench


def fast(server, model="base", runs=3):
    return ("run", "--url", server.url, "--model", model, "--runs", str(runs), "--max-tokens", "24",
            "--warmup", "1", "--idle-seconds", "0", "--gate", "annotate", "--no-calibrate")  # fmt: skip


def only(done):
    [found] = json.loads(done.stdout)["results"]
    return found


def test_the_version_comes_before_anything_is_imported(bench):
    assert bench("--version").stdout == f"tokwatt-bench {__version__}\n"
    code = (
        "import sys; sys.argv=['x','--version']; from tokwatt_bench.__main__ import main; main(); print(*sys.modules)"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"typer", "rich", "httpx", "duckdb", "tokwatt_exporter.config"} & set(listed.stdout.split())


def test_a_run_measures_what_the_server_sent(server, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tokwatt_bench", *fast(server, "itl=10", runs=6), "--json",
         "--data-dir", str(tmp_path / "data")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = only(done)
    sent = server.truths()[-7:]
    assert found["tokens"] == {
        "prompt": found["tokens"]["prompt"], "generated": sum(one.tokens for one in sent[1:]), "source": "usage",
        "cached": 0, "warmup_prompt": found["tokens"]["warmup_prompt"], "warmup_generated": 24,
    }  # fmt: skip
    assert (found["runs"], found["failures"], found["concurrency"]) == (6, [], 1)
    assert found["time_to_first_token_seconds"]["p50"] == pytest.approx(0.02, abs=0.08)
    low, high = found["generation_tokens_per_second"]["ci95"]
    assert low <= found["generation_tokens_per_second"]["p50"] <= high
    assert found["inter_token_latency_seconds"]["p99"] is not None
    assert found["time_to_first_token_seconds"]["p95"] is None
    assert found["reasons"]["time_to_first_token_seconds.p95"] == "needs 20 samples, there are 6"


def test_the_json_has_the_shape_that_was_promised(bench, server):
    found = only(bench(*fast(server), "--json"))
    promised = {
        "engine", "model", "scenario", "concurrency", "runs", "time_to_first_token_seconds",
        "inter_token_latency_seconds", "generation_tokens_per_second", "prompt_tokens_per_second", "tokens",
        "energy_per_token_joules", "failures",
    }  # fmt: skip
    assert promised <= found.keys()
    for name in ("time_to_first_token_seconds", "inter_token_latency_seconds", "generation_tokens_per_second",
                 "prompt_tokens_per_second"):  # fmt: skip
        assert {"p50", "p95", "p99", "ci95"} <= found[name].keys()
    assert {"prompt", "generated", "source"} <= found["tokens"].keys()


def nulls(value, path=""):
    if isinstance(value, dict):
        for name, part in value.items():
            yield from nulls(part, f"{path}.{name}" if path else name)
    elif value is None:
        yield path


@pytest.mark.parametrize("model", ["base", "nousage", "tpc=4", "burst=8", "err500"])
def test_every_figure_that_is_null_has_its_reason(bench, server, model):
    found = only(bench(*fast(server, model, runs=1), "--json"))
    no_figures = ("version", "settings", "chunks", "tokens.source", "tokens.warmup", "longest_pause")
    for path in nulls(found):
        whole = path.rpartition(".")[0]
        reasons = found["reasons"].keys() | ({"energy"} if "energy_per_token_joules" in found["reasons"] else set())
        assert path.startswith(no_figures) or path.endswith(".source") or {path, whole} & reasons, path


def test_the_prompt_is_a_new_one_each_time_unless_it_should_be_cached(bench, server):
    cold = only(bench(*fast(server), "--json"))
    assert cold["tokens"]["cached"] == 0
    assert cold["prompt_tokens_per_second"]["p50"] == pytest.approx(cold["tokens"]["prompt"] / 3 / 0.02, rel=0.5)
    warm = only(bench(*fast(server), "--warm-prefix", "--json"))
    assert warm["tokens"]["cached"] == warm["tokens"]["prompt"]
    assert warm["prompt_tokens_per_second"]["p50"] is None
    assert "were not cached" in warm["reasons"]["prompt_tokens_per_second"]


def test_an_unknown_cache_is_only_cold_with_a_prompt_never_sent_before(bench, server):
    assert only(bench(*fast(server, "cached_unknown"), "--json"))["prompt_tokens_per_second"]["p50"] is not None
    warm = only(bench(*fast(server, "cached_unknown"), "--warm-prefix", "--json"))
    assert warm["prompt_tokens_per_second"]["p50"] is None
    assert "does not say" in warm["reasons"]["prompt_tokens_per_second"]


def test_requests_that_fail_are_counted_by_class_and_make_no_figure(bench, server):
    done = bench(*fast(server, "cutclean"), "--json")
    assert done.returncode == 1
    found = only(done)
    assert [(f["class"], f["count"]) for f in found["failures"]] == [("cut", 3)]
    assert found["generation_tokens_per_second"]["p50"] is None
    assert found["reasons"]["generation_tokens_per_second"] == "no request succeeded"
    assert found["tokens"]["generated"] is None
    [line] = [line for line in done.stderr.splitlines() if "failed" in line]
    assert line.startswith("tokwatt-bench: 3 of 3 requests failed (cut): ended without finish reason and terminator")


def test_a_failed_run_is_kept_as_one(bench, server):
    assert bench(*fast(server, "err500")).returncode == 1
    [row] = json.loads(bench("history", "--json").stdout)["runs"]
    assert (row["runs"], row["failed"], row["generation_tokens_per_second"]) == (3, 3, None)


def test_nobody_there_is_one_line_and_exit_code_1(bench):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    done = bench("run", "--url", url, "--model", "m", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"tokwatt-bench: {url}: refuses connections\n"


def test_a_server_that_is_not_recognised_is_measured_with_a_model(bench, server):
    done = bench("run", "--url", server.url + "/other", "--model", "base", "--runs", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert "was not recognised" in done.stderr
    assert bench("run", "--url", server.url + "/other").returncode == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "--runs", "0"], "--runs: 0 is not 1 or more"),
        (["run", "--warmup", "-1"], "--warmup: -1 is not 0 or more"),
        (["run", "--max-tokens", "0"], "--max-tokens"),
        (["run", "--runs", "many"], "--runs"),
        (["run", "--precision", "none"], "--precision: 'none' is not a share"),
        (["run", "--precision", "200%"], "--precision: 200% is not between"),
        (["run", "--runs", "1", "--duration", "1m"], "--runs and --duration exclude each other"),
        (["run", "--concurrency", "1,x"], "--concurrency: 'x' is not a whole number"),
        (["run", "--concurrency", "0"], "--concurrency: 0 is not 1 or more"),
        (["run", "--concurrency", "2", "--rate", "1"], "--rate and --concurrency exclude each other"),
        (["run", "--concurrency", "2", "--cold"], "--cold loads the model before each request"),
        (["run", "--rate", "0"], "--rate: 0 is not 0.001 or more"),
        (["run", "--rate", "1", "--cold"], "--rate and --cold exclude each other"),
        (["run", "--rate", "1", "--arrivals", "often"], "--arrivals"),
        (["run", "--slo", "fast"], "--slo: 'fast' is not NAME=DURATION with a name of ttft, itl, e2e"),
        (["run", "--slo", "ttft=soon"], "--slo: 'soon' is not a duration"),
        (["run", "--gate", "shut"], "--gate"),
        (["run", "--scenario", "chess"], "--scenario: there is no chess; there are default, "),
        (["run", "--context", "1k", "--scenario", "chat"], "--context brings its own prompt"),
        (["run", "--context", "few"], "--context: 'few' is not a whole number"),
        (["sweep", "--most", "1"], "--most: 1 is not 2 or more"),
        (["run", "--timeout", "soon"], "--timeout: 'soon' is not a duration"),
        (["run", "--idle-seconds", "nan"], "--idle-seconds"),
        (["run", "--scenario", ""], "--scenario"),
        (["run", "--prompt", "a", "--prompt-file", "b"], "exclude each other"),
        (["run", "--prompt", " "], "the prompt is empty"),
        (["run", "--prompt-file", "/nowhere.txt"], "/nowhere.txt: No such file or directory"),
        (["run", "--url", "nonsense"], "--url: 'nonsense' is not a URL"),
        (["run", "--csv", "/nowhere/x.csv"], "--csv: /nowhere is no directory"),
        (["run", "--data-dir", "/dev/null/x", "--url", "URL", "--model", "base"], "data-dir: /dev/null/x"),
        (["run", "--url", "URL"], "models, choose one with --model: base, stall, tpc=4"),
        (["run", "--url", "URL", "--engine", "lemonade"], "--engine"),
        (["run", "--speed", "high"], "no such option"),
        (["history", "--limit", "none"], "--limit"),
        (["history", "--limit", "0"], "limit"),
        (["history", "--json", "--csv"], "exclude each other"),
        (["measure"], "no such command"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_exit_code_2(bench, server, args, said):
    done = bench(*(server.url if arg == "URL" else arg for arg in args))
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("tokwatt-bench: ")
    assert said in line


def test_no_engine_at_all_is_one_clear_line(bench):
    done = bench("run", environ={"TOKWATT_DISCOVERY_ENABLED": "false"})
    assert done.returncode == 2
    assert "no engine was found" in done.stderr


def test_the_table_has_the_figures_and_no_json(bench, server):
    done = bench(*fast(server))
    assert done.returncode == 0, done.stderr
    assert "time to first token" in done.stdout
    assert "tokens/s" in done.stdout
    assert done.stderr == ""
    for line in ("generated (counted by usage)", "no energy_per_token_joules:", "p95"):
        assert line in done.stdout


def test_csv_has_a_line_a_request(bench, server, tmp_path):
    assert bench(*fast(server), "--csv", str(tmp_path / "out.csv")).returncode == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [(row["phase"], row["generated_tokens"], row["chunks"]) for row in rows] == [
        ("warmup", "24", "24"), *[("measured", "24", "24")] * 3,
    ]  # fmt: skip


def test_what_is_not_to_be_stored_is_not(bench, server, tmp_path):
    assert bench(*fast(server), "--no-store").returncode == 0
    assert not (tmp_path / "data").exists()


def test_history_gives_past_runs_newest_first(bench, server):
    empty = bench("history")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert bench(*fast(server, runs=1), "--scenario", "one", "--prompt", "a").returncode == 0
    assert bench(*fast(server, "stall", runs=1), "--scenario", "two", "--prompt", "b").returncode == 0
    rows = json.loads(bench("history", "--json").stdout)["runs"]
    assert [(row["model"], row["scenario"]) for row in rows] == [("stall", "two"), ("base", "one")]
    assert [row["model"] for row in json.loads(bench("history", "--json", "--model", "base").stdout)["runs"]] == [
        "base"
    ]
    assert len(json.loads(bench("history", "--json", "--limit", "1").stdout)["runs"]) == 1
    table = bench("history").stdout
    assert table.index("stall") < table.index("base")
    # The id that is shown is one that other commands take.
    shown = table.splitlines()[1].split()[0]
    assert bench("report", shown, "--format", "markdown").returncode == 0
    rows = list(csv.DictReader(io.StringIO(bench("history", "--csv").stdout)))
    assert [row["scenario"] for row in rows] == ["two", "one"]


def test_energy_per_token_comes_from_the_counters_of_the_machine(bench, server, rapl):
    done = bench(
        "run", "--url", server.url, "--model", "itl=20", "--runs", "3", "--warmup", "0", "--max-tokens", "24",
        "--idle-seconds", "1.2", "--json", "--gate", "annotate", "--no-calibrate",
        environ={"TOKWATT_PATH_SYSFS": str(rapl.sys), "TOKWATT_PATH_PROCFS": str(rapl.proc)},
    )  # fmt: skip
    found = only(done)
    energy = found["energy"]
    # The counter goes on at 40 W whether or not the machine is idle, so what is left over is about nothing.
    assert energy["counters"] == ["package"]
    assert energy["idle_watts"] == pytest.approx(40, rel=0.5)
    assert energy["per_token_gross_joules"] == pytest.approx(energy["joules"] / 72)
    assert energy["joules"] / energy["seconds"] == pytest.approx(40, rel=0.5)
    net = energy["joules"] - energy["idle_watts"] * energy["seconds"]
    if net > 0:
        assert found["energy_per_token_joules"] == pytest.approx(net / 72)
    else:
        assert found["reasons"]["energy_per_token_joules"] == "the run used no more than the idle machine"


def test_an_interrupt_keeps_what_was_measured(server, tmp_path, bench):
    environ = {**os.environ, "TOKWATT_DATA_DIR": str(tmp_path / "data")}
    # What a shell starts in the background, it starts deaf to Ctrl-C.
    main = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" \
           "from tokwatt_bench.__main__ import main; main()"  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", main, *fast(server, "ttft=100", runs=1000), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ,
    )  # fmt: skip
    before = len(server.truths())
    wait_for(lambda: len(server.truths()) >= before + 4, 20, "some requests")
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    [found] = json.loads(out)["results"]
    assert found["aborted"] is True
    assert 2 <= found["runs"] < 1000
    [row] = json.loads(bench("history", "--json").stdout)["runs"]
    assert (row["runs"], row["result"]["aborted"]) == (found["runs"], True)


def test_two_benchmarks_at_once_are_refused(bench, server, tmp_path):
    from tokwatt_bench import keep
    from tokwatt_exporter.store import folder

    folder.prepare(tmp_path / "data")
    with keep.running(tmp_path / "data"):
        done = bench(*fast(server))
    assert done.returncode == 1
    assert "another benchmark is running" in done.stderr


def test_a_result_that_cannot_be_kept_is_still_printed(bench, server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/journal").write_text("in the way")
    done = bench(*fast(server), "--json")
    assert done.returncode == 1
    assert only(done)["failures"] == []
    assert "could not be kept" in done.stderr


def test_an_api_that_cannot_be_asked_is_wrong_usage(bench, server):
    for api, said in (("native", "--api: openai_compatible has no native API; it has: chat, completions"),
                      ("grpc", "--api: 'grpc' is not one of chat, completions, native")):  # fmt: skip
        done = bench(*fast(server), "--api", api)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr.splitlines()[-1]


def test_an_engine_that_cannot_unload_is_named(bench, server):
    done = bench(*fast(server), "--cold")
    assert (done.returncode, done.stdout) == (2, "")
    said = "openai_compatible (openai_compatible) has no way to unload a model; restart it instead"
    assert done.stderr.splitlines()[-1] == f"tokwatt-bench: --cold: {said}"
