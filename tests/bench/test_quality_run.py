"""A real llama-server is asked, and scored as what it is: a model that knows nothing and does not stop."""

import json

import pytest
import typer

from support.engine import llama_server
from tokwatt_bench import keep
from tokwatt_bench.quality.score import wilson
from tokwatt_bench.quality_cli import quality, scenarios
from tokwatt_exporter.shell import run_app

app = typer.Typer()
app.command()(quality)
app.command()(scenarios)


@pytest.fixture
def run(monkeypatch, capsys):
    """Exit code, output and errors of a command."""

    def run(*args):
        monkeypatch.setattr("sys.argv", ["tokwatt-bench", *args])
        code = run_app(app, "tokwatt-bench")
        return code, *capsys.readouterr()

    return run


@pytest.mark.e2e
def test_a_tiny_model_is_scored_by_what_it_says(tmp_path, run):
    with llama_server(tmp_path) as engine:
        answers = tmp_path / "answers"
        code, out, err = run("quality", "--url", engine.url, "--suite", "tool_call,needle", "--max-tokens", "16",
                             "--context", "300,9k", "--json", "--fail-under", "50%",
                             "--keep-answers", str(answers), "--data-dir", str(tmp_path / "data"))  # fmt: skip
    found = json.loads(out)
    tools, needles = found["suites"]
    assert (found["model"], found["repeatable"], found["sandbox"]) == ("tiny-llama", True, None)
    assert (needles["items"], needles["answered"], needles["score"]) == (10, 5, 0.0)
    assert all(one["why"].startswith("http_status: HTTP 400") for one in needles["unanswered"])
    assert needles["ci95"] == wilson(0, 5)
    assert tools["items"] == 12 and tools["score"] < 0.5
    assert code == 3
    assert "needle: 5 of 10 questions were not answered: http_status" in err
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    assert len(rows) == 22 and any(row["content"] for row in rows)
    assert answers.stat().st_mode & 0o777 == 0o600


def test_wrong_usage_costs_one_line_before_anything_is_asked(run):
    assert run("quality", "--suite", "code")[::2] == (
        2, "tokwatt-bench: --suite code runs what the model writes, in a sandbox: say --execute-code\n"
    )  # fmt: skip
    assert run("quality", "--suite", "poetry")[0] == 2
    assert run("quality", "--api", "completions")[0] == 2


def test_an_engine_that_is_not_there_is_no_score(run):
    code, out, err = run("quality", "--url", "http://127.0.0.1:9", "--model", "m", "--suite", "arithmetic")
    assert code == 1 and "100%" not in out and err.count("Traceback") == 0


def test_nothing_is_asked_while_a_benchmark_runs(run, server, tmp_path):
    with keep.lock(tmp_path / "data"):
        before = len(server.truths())
        code, out, err = run("quality", "--url", server.url, "--model", "base", "--suite", "arithmetic",
                             "--data-dir", str(tmp_path / "data"))  # fmt: skip
        assert (code, out, len(server.truths())) == (1, "", before)
    assert "another benchmark is running" in err


def test_scenarios_are_listed(run):
    assert [one["name"] for one in json.loads(run("scenarios", "--json")[1])["scenarios"]][:2] == ["chat", "code"]


@pytest.mark.parametrize("right, count, interval", [
    (0, 10, (0.0, 0.278)), (10, 10, (0.722, 1.0)), (5, 10, (0.237, 0.763)), (85, 100, (0.767, 0.907)),
])  # fmt: skip
def test_the_interval_is_wilsons(right, count, interval):
    assert wilson(right, count) == pytest.approx(interval, abs=5e-4)
