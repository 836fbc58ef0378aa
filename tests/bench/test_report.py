"""Reports of real results: what stands in them, what is left out, and what a stranger's text cannot do."""

import csv
import io
import json
import re
import sys
import xml.etree.ElementTree as ET

import duckdb
import jsonschema
import pytest
import typer

from bench.reports import changed, real, sweep
from tokwatt_bench.explain import METRICS, lookup
from tokwatt_bench.measured import document
from tokwatt_bench.report.card import svg
from tokwatt_bench.report.charts import plots
from tokwatt_bench.report.markdown import markdown
from tokwatt_bench.report.rows import names, rows, short, shown
from tokwatt_bench.report.schema import SCHEMA
from tokwatt_bench.report_cli import report
from tokwatt_exporter.shell import run_app

HOSTILE = "</script><img src=x onerror=alert(1)>|`*_[a](b) {{x}} ${title}"


@pytest.fixture(scope="module")
def good():
    return real()["good"]


@pytest.fixture(scope="module")
def bad():
    return real()["bad"]


@pytest.fixture
def run(tmp_path, monkeypatch, capsysbinary):
    """Run `tokwatt-bench report ARGS` on a document: exit code, stdout, stderr."""
    app = typer.Typer()
    app.command("report")(report)

    def run(measured, *args):
        file = tmp_path / "given.json"
        file.write_text(json.dumps(document(measured)))
        monkeypatch.setattr("sys.argv", ["tokwatt-bench", str(file), *args, "--data-dir", str(tmp_path / "data")])
        code = run_app(app, "tokwatt-bench")
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


def test_what_a_run_prints_and_keeps_is_of_the_schema(good, bad):
    check = jsonschema.Draft202012Validator(SCHEMA)
    check.check_schema(SCHEMA)
    check.validate(document([good, bad]))
    assert not check.is_valid({"results": [{**good.result, "tokens": None}]})
    assert not check.is_valid({"results": [{**good.result, "energy_per_token_joules": "1 J"}]})
    assert not check.is_valid({"results": [{key: value for key, value in good.result.items() if key != "reasons"}]})


def test_every_figure_of_a_result_is_explained(good):
    explained = {metric.name.split(".")[0] for metric in METRICS}
    units = ("_seconds", "_second", "_joules", "_bytes")
    figures = {
        name for name, value in good.result.items()
        if name.endswith(units) or (isinstance(value, dict) and "p50" in value)
    }  # fmt: skip
    assert figures <= explained
    assert len(figures) > 10


def test_a_row_has_the_very_numbers_of_the_result(good):
    found = {row.metric.name: row for row in rows(good.result)}
    summary = good.result["time_to_first_token_seconds"]
    row = found["time_to_first_token_seconds"]
    assert (row.p50, [row.low, row.high], row.of) == (summary["p50"], summary["ci95"], 8)
    assert found["longest_pause_seconds"].p50 == good.result["longest_pause_seconds"]
    assert row.p95 is None and row.why == ""
    missing = found["energy_per_token_joules"]
    assert missing.p50 is None and missing.why == good.result["reasons"]["energy_per_token_joules"]


def test_numbers_for_people_keep_their_digits():
    assert [short(value) for value in (10.0, 9.998, 0.2154, 1465.3, 12345.6, 0.00001234, None)] == [
        "10.00", "9.998", "0.2154", "1465", "12,346", "1.234e-05", "",
    ]  # fmt: skip


def test_results_are_named_by_what_tells_them_apart(good):
    one = changed(good, "a", engine="ollama", version="1", concurrency=1)
    assert names([one.result, changed(one, "b", concurrency=4).result]) == [
        f"{good.result['model']}, 1 at a time", f"{good.result['model']}, 4 at a time",
    ]  # fmt: skip
    fast = changed(one, "b", load={"mode": "open", "rate_per_second": 2.5, "arrivals": "poisson"})
    assert names([one.result, fast.result])[1] == f"{good.result['model']}, 2.5 requests/s"
    assert names([one.result, changed(one, "b", engine="exo", version="2").result]) == ["ollama", "exo"]
    assert names([one.result, changed(one, "b", version="2").result])[0].endswith(", 1")
    assert len(set(names([one.result, changed(one, "b").result]))) == 2


def test_charts_that_have_nothing_to_show_say_why(good, bad):
    drawn = {plot.title: plot for plot in plots([bad])}
    assert {plot.title for plot in drawn.values() if plot.chart} >= {"Request by request"}
    for title in ("Time to first token", "Gaps between chunks", "Gaps over the answer", "Energy against speed"):
        assert drawn[title].chart is None and drawn[title].why
    assert {plot.title: plot.why for plot in plots([good])}["Throughput against concurrency"] == (
        "all of it was measured at one concurrency"
    )


def test_a_sweep_has_every_chart():
    drawn = plots(sweep())
    assert [plot.title for plot in drawn if plot.chart is None] == []
    titles = [plot.title for plot in drawn]
    assert "Conditions: thermal state" in titles and "Conditions: temperature" in titles
    # It never changed, so a picture would say nothing; and of a counter the level means nothing.
    assert not {"Conditions: power source state", "Conditions: gpu frequency"} & set(titles)
    assert not any("swap" in title for title in titles)
    throughput = next(plot for plot in drawn if plot.title == "Throughput against concurrency").chart
    points = throughput["data"]["values"] if "data" in throughput else throughput["layer"][0]["data"]["values"]
    assert {point["result"] for point in points} == {"llama_cpp", "mlx_lm"}
    assert {point["concurrency"] for point in points} == {2, 4}


def test_an_open_loop_is_no_point_of_a_concurrency():
    lanes = sweep()
    opened = changed(lanes[-1], "open", load={"mode": "open", "rate_per_second": 9.0, "arrivals": "constant"})
    chart = next(plot for plot in plots([*lanes, opened]) if plot.title.startswith("Time to first token against")).chart
    assert len(chart["layer"][-1].get("data", chart.get("data"))["values"]) == len(lanes)


def test_the_distribution_ends_at_the_slowest_request(good):
    chart = next(plot for plot in plots([good]) if plot.title == "Requests, end to end").chart
    values = [point["value"] for point in chart["data"]["values"]]
    slowest = max(r["duration_seconds"] for r in good.requests if r["phase"] == "measured") * 1e3
    assert values[-1] == pytest.approx(slowest)
    assert chart["data"]["values"][-1]["share"] == 100


def test_markdown_has_the_figures_the_failures_and_the_definitions(good, bad):
    text = markdown([good.result])
    row = next(row for row in rows(good.result) if row.metric.name == "generation_tokens_per_second")
    assert f"| decode speed | {' | '.join(shown(row))} |" in text
    assert "- **time to first token**: From sending the request" in text
    assert "8 of 8 requests failed** (http_status): HTTP 500: out of memory" in markdown([bad.result])


def test_a_strangers_text_stays_text(good):
    one = changed(good, "a", model=HOSTILE, notes=[HOSTILE])
    text = markdown([one.result])
    assert "<img" not in text.replace("\\<img", "")
    assert all(line.replace("\\|", "").count("|") in (0, 3, 9) for line in text.splitlines())
    card = ET.fromstring(svg(one.result))
    assert not [part for part in card.iter() if part.tag.endswith(("script", "img", "image", "foreignObject"))]
    assert any((part.text or "").startswith("</script>") for part in card.iter())


def test_the_card_has_the_main_figures_and_what_they_are_of(good, bad):
    [one, *_] = sweep()
    text = " ".join("".join(part.itertext()) for part in ET.fromstring(svg(one.result)) if part.tag.endswith("text"))
    for words in ("Qwen3-8B", "llama_cpp 1.0", "Apple M4 Max, Mac16,5", "90.91 tokens/s".replace(" ", ""), "J/token",
                  "95 % between 88.18 and 93.64", "8 requests, 1 at a time"):  # fmt: skip
        assert words in text.replace("90.91 tokens", "90.91tokens"), text
    assert good.result["host"] not in text and good.result["url"] not in text
    failed = svg(bad.result)
    assert "no decode speed: no request succeeded" in failed and "0 of 8 requests" in failed


def test_csv_has_a_row_a_figure(run, good):
    code, out, _ = run([good], "--format", "csv")
    assert code == 0
    found = {row["figure"]: row for row in csv.DictReader(io.StringIO(out))}
    assert set(found) == {metric.name for metric in METRICS if lookup(good.result, metric.name)[0]} - {
        "tokens",
        "chunks",
        "intervals",
    }
    row = found["chunk_gap_seconds"]
    assert float(row["p50"]) == good.result["chunk_gap_seconds"]["p50"]
    assert found["energy_per_token_joules"]["p50"] == "" and found["energy_per_token_joules"]["reason"]


def test_parquet_of_requests_has_the_times_of_every_chunk(run, good, tmp_path):
    file = tmp_path / "it's.parquet"
    assert run([good], "--output", str(file), "--requests") == (0, "", "")
    (tmp_path / "plain.parquet").write_bytes(file.read_bytes())
    found = duckdb.sql(f"SELECT phase, chunk_offsets_ns FROM '{tmp_path}/plain.parquet' ORDER BY phase, request_index")
    given = sorted((r["phase"], r["request_index"], r["chunk_offsets_ns"]) for r in good.requests)
    assert found.fetchall() == [(phase, offsets) for phase, _, offsets in given]
    assert run([good], "--output", str(file))[0] == 0
    (tmp_path / "plain.parquet").write_bytes(file.read_bytes())
    [(speed,)] = duckdb.sql(
        f"SELECT p50 FROM '{tmp_path}/plain.parquet' WHERE figure = 'generation_tokens_per_second'"
    ).fetchall()
    assert speed == good.result["generation_tokens_per_second"]["p50"]


def test_json_is_the_document_it_was_made_of(run, good, bad):
    code, out, _ = run([good, bad], "--format", "json")
    assert (code, json.loads(out)) == (0, json.loads(json.dumps(document([good, bad]))))


def test_a_png_is_a_card_of_1200_by_630(run, good, tmp_path):
    file = tmp_path / "card.png"
    assert run([good], "--output", str(file)) == (0, "", "")
    head = file.read_bytes()[:24]
    assert head.startswith(b"\x89PNG") and (head[16:20], head[20:24]) == (
        (1200).to_bytes(4, "big"),
        (630).to_bytes(4, "big"),
    )


@pytest.mark.parametrize(("args", "line"), [
    ((), r"--format or --output: say which of html, .*png.*"),
    (("--format", "pdf"), r"--format: 'pdf' is not one of html, .*"),
    (("--output", "x.doc"), r"--output: x\.doc ends in none of html, .*"),
    (("--format", "html"), r"--output: html goes into a file, name one"),
    (("--format", "markdown", "--requests"), r"--requests: markdown has no rows.*"),
    (("--format", "csv", "--output", "/nowhere/x.csv"), r"--output: /nowhere/x\.csv cannot be written: No such file.*"),
    (("--output", "/nowhere/x.parquet"), r"--output: /nowhere/x\.parquet cannot be written: No such file.*"),
])  # fmt: skip
def test_wrong_use_costs_one_line(run, good, args, line):
    code, out, err = run([good], *args)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"tokwatt-bench: {line}\n", err), err


@pytest.mark.parametrize(("change", "line"), [
    ({"longest_pause_seconds": 1e306}, "holds a number that cannot have been measured"),
    ({"runs": 10**30}, "is not JSON"),
    ({"model": "\ud800"}, "holds text that is not Unicode"),
    ({"settings": json.loads("[" * 200 + "]" * 200)}, "is no object"),
    ({"settings": {"a": json.loads("[" * 200 + "]" * 200)}}, "holds more than 30 things within each other"),
])  # fmt: skip
def test_a_file_that_was_made_to_break_its_reader_costs_one_line(run, good, tmp_path, change, line):
    hostile = changed(good, "h", **change)
    for name in ("x.html", "x.md", "x.png", "x.parquet"):
        code, out, err = run([hostile], "--output", str(tmp_path / name))
        assert (code, out) == (2, "")
        assert line in err and err.count("\n") == 1
        assert not (tmp_path / name).exists()


def test_odd_conditions_and_offsets_are_drawn_as_far_as_they_make_sense(good):
    odd = [{"time": 0}, {"time": 1_794_234_000_000, "temperature_celsius": "hot", "thermal_state": ["x"], "x": {}},
           {"time": 1_794_234_001_000, "temperature_celsius": 50, "thermal_state": "unheard of"},
           {"time": 1_794_234_002_000, "temperature_celsius": 51}]  # fmt: skip
    one = changed(
        good, "odd", concurrency=0, conditions={"before": None, "after": None, "samples": odd, "problems": []}
    )
    for request in one.requests:
        request["chunk_offsets_ns"] = [9, 3, 3]
    drawn = {plot.title: plot.chart for plot in plots([one, good])}
    [state] = drawn["Conditions: thermal state"]["data"]["values"]
    assert state["state"] == "unheard of"
    assert len(drawn["Conditions: temperature"]["data"]["values"]) == 2
    assert drawn["Gaps between chunks"] and drawn["Throughput against concurrency"] is None


def test_a_page_of_hundreds_of_results_is_refused(run, good, tmp_path):
    many = [changed(good, f"r{number}") for number in range(41)]
    code, _, err = run(many, "--output", str(tmp_path / "x.html"))
    assert code == 2 and "41 results are too many for a page; name 40 or fewer" in err
    assert run(many, "--format", "csv")[0] == 0


def test_a_card_is_of_one_result_and_rows_need_requests(run, good, bad, tmp_path):
    assert "a card is of one result, and this is 2" in run([good, bad], "--format", "svg")[2]
    bare = good._replace(requests=[])
    code, _, err = run([bare], "--output", str(tmp_path / "x.parquet"), "--requests")
    assert code == 2 and "without their requests" in err
    assert not (tmp_path / "x.parquet").exists()


def test_without_the_extra_it_says_what_to_install(run, good, tmp_path, monkeypatch):
    for module in ("vl_convert", "altair"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("x.html", "x.png"):
        code, out, err = run([good], "--output", str(tmp_path / name))
        assert (code, out) == (2, "")
        assert err == "tokwatt-bench: this needs what is not installed: pip install 'tokwatt[report]'\n"
        assert not (tmp_path / name).exists()
    assert run([good], "--format", "markdown")[0] == 0
