"""The definitions: found by the words people use, and the same wherever they are shown."""

import json
from pathlib import Path

import pytest
import typer

from tokwatt_bench.explain import METRICS, figures, find, markdown
from tokwatt_bench.explain_cli import explain
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.shell import run_app

BENCHMARK = Path(__file__).parents[2] / "docs/benchmark.md"


@pytest.fixture
def ask(capsys, monkeypatch):
    """Run `tokwatt-bench explain ARGS`: exit code, stdout, stderr."""
    app = typer.Typer()
    app.command("explain")(explain)

    def ask(*args):
        monkeypatch.setattr("sys.argv", ["tokwatt-bench", *args])
        code = run_app(app, "tokwatt-bench")
        return code, *capsys.readouterr()

    return ask


@pytest.mark.parametrize(("asked", "name"), [
    ("TTFT", "time_to_first_token_seconds"),
    ("first answer token", "time_to_first_answer_token_seconds"),
    ("itl", "inter_token_latency_seconds"),
    ("TPOT", "mean_inter_token_latency_seconds"),
    ("decode", "generation_tokens_per_second"),
    ("prefill", "prompt_tokens_per_second"),
    ("end-to-end", "request_duration_seconds"),
    ("goodput", "goodput.requests_per_second"),
    ("load time", "load_seconds"),
    ("energy per token", "energy_per_token_joules"),
    ("prefill energy", "energy.prefill_per_token_joules"),
    ("decode energy", "energy.decode_per_token_joules"),
    ("energy.per_token_gross_joules", "energy.per_token_gross_joules"),
    ("tokens per joule", "energy.tokens_per_joule"),
    ("roofline", "memory_bandwidth_ratio"),
    ("longest pause", "longest_pause_seconds"),
    ("delay", "delay_seconds"),
])  # fmt: skip
def test_a_figure_is_found_by_the_words_people_use(asked, name):
    assert find(asked).name == name


def test_no_word_means_two_figures():
    words = [word.lower() for metric in METRICS for word in {metric.name, metric.title, *metric.aliases}]
    assert sorted(words) == sorted(set(words))


def test_each_figure_says_what_it_is_and_when_there_is_none():
    for metric in METRICS:
        assert len(metric.definition) > 40 and metric.definition.endswith("."), metric.name
        assert metric.null and metric.unit, metric.name


def test_an_unknown_figure_costs_one_line_with_near_names(ask):
    code, out, err = ask("goodputt")
    assert (code, out) == (2, "")
    assert (
        err
        == "tokwatt-bench: no figure is called 'goodputt'; did you mean goodput.requests_per_second, goodput.ratio?\n"
    )
    with pytest.raises(UsageError, match="time_to_first_token_seconds"):
        find("ttf")
    with pytest.raises(UsageError, match="lists them all"):
        find("xyzzy")


def test_one_figure_is_explained_and_all_are_listed(ask):
    code, out, _ = ask("ttft")
    assert code == 0
    assert out.startswith("time_to_first_token_seconds (time to first token), in s\n\nFrom sending")
    assert "null when: no request succeeded" in out
    code, out, _ = ask()
    assert code == 0
    assert all(metric.name in out for metric in METRICS)
    [itl] = json.loads(ask("itl", "--json")[1])["figures"]
    assert itl["definition"] == find("itl").definition


def test_figures_of_a_result_are_those_it_has_a_place_for():
    result = {"time_to_first_token_seconds": {"p50": 0.2}, "energy_per_token_joules": None, "energy": {}, "tokens": {}}
    assert [(metric.name, value) for metric, value in figures(result)] == [
        ("time_to_first_token_seconds", {"p50": 0.2}), ("energy_per_token_joules", None),
    ]  # fmt: skip


@pytest.mark.text
def test_the_page_of_the_benchmark_has_the_very_definitions():
    assert markdown() in BENCHMARK.read_text(), "docs/benchmark.md: its table of figures is not that of explain.py"
