"""Another engine's metrics under our names: one table for each engine, and no sum of which a part is not known."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.exposition import MAX_LINES, MAX_MODELS, Page, Row, Table, numbers
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.families import Distribution
from tokwatt_exporter.snapshot import Reading

TABLE = Table(
    (
        Row("x_running", c.REQUESTS_RUNNING, always=True),
        Row("x_usage", c.KV_CACHE_USAGE),
        Row("x_old_usage", c.KV_CACHE_USAGE, factor=0.01, before="0.13"),
        Row("x_tokens_total", c.PROMPT_TOKENS, only={"source": ("computed",)}),
        Row("x_all_tokens_total", c.PROMPT_TOKENS),
        Row("x_done_total", c.REQUESTS, without={"endpoint": ("embeddings",)}),
        Row("x_ttft_ms", c.TIME_TO_FIRST_TOKEN, factor=0.001, only={"stream": ("", "true")}),
    ),
    model="model_name",
    copies=frozenset({"tp_rank"}),
)


def read(*lines: str, model: str | None = "m", version: str | None = None, table: Table = TABLE) -> set[Reading]:
    return set(Page("\n".join(lines).encode(), table).readings("e", model, version)[0])


def problem(*lines: str, version: str | None = None, table: Table = TABLE) -> str | None:
    return Page("\n".join(lines).encode(), table).readings("e", "m", version)[1]


def test_shards_are_added_up_for_each_model():
    found = read(
        'x_running{engine="0",model_name="a"} 2', 'x_running{engine="1",model_name="a"} 3',
        'x_running{engine="0",model_name="b"} 7',
    )  # fmt: skip
    assert found == {c.REQUESTS_RUNNING(5, engine="e", model="a"), c.REQUESTS_RUNNING(7, engine="e", model="b")}


def test_a_ratio_over_shards_is_their_mean():
    found = read('x_usage{engine="0",model_name="a"} 0.2', 'x_usage{engine="1",model_name="a"} 0.6')
    assert found == {c.KV_CACHE_USAGE(0.4, engine="e", model="a")}


def test_copies_of_one_number_count_once():
    lines = [f'x_running{{dp_rank="{dp}",tp_rank="{tp}",model_name="a"}} 4' for dp in "01" for tp in "0123"]
    assert read(*lines) == {c.REQUESTS_RUNNING(8, engine="e", model="a")}


def test_samples_without_a_model_are_about_the_one_that_is_known():
    assert read("x_running 1") == {c.REQUESTS_RUNNING(1, engine="e", model="m")}
    assert read('x_running{model_name=""} 1') == {c.REQUESTS_RUNNING(1, engine="e", model="m")}
    assert read("x_running 1", model=None) == {Reading(c.REQUESTS_RUNNING, (("engine", "e"),), 1.0)}


def test_only_the_first_row_that_is_there_counts():
    both = ('x_tokens_total{source="computed"} 3', 'x_tokens_total{source="cached"} 4', "x_all_tokens_total 7")
    assert read(*both) == {c.PROMPT_TOKENS(3, engine="e", model="m")}
    assert read("x_all_tokens_total 7") == {c.PROMPT_TOKENS(7, engine="e", model="m")}


def test_samples_about_something_else_are_left_out():
    found = read('x_done_total{endpoint="chat"} 2', 'x_done_total{endpoint="embeddings"} 40')
    assert found == {c.REQUESTS(2, engine="e", model="m")}


@pytest.mark.parametrize("version", ["0.12.1", None, "0.14.0.dev3+g1234567"])
def test_an_old_name_is_read_where_it_may_still_mean_the_same(version: str | None):
    assert read("x_old_usage 40", version=version) == {c.KV_CACHE_USAGE(0.4, engine="e", model="m")}


def test_an_old_name_is_not_read_in_versions_in_which_it_has_another_meaning():
    assert read("x_old_usage 40", version="0.13.0") == set()


def histogram(*counts: float, total: float = 0.0, bounds: tuple[str, ...] = ("10", "200", "+Inf"), **labels: str):
    """The lines of a histogram in the order in which nobody writes them."""
    said = "".join(f',{name}="{text}"' for name, text in ({"model_name": "a"} | labels).items())
    rows = [f'x_ttft_ms_bucket{{le="{le}"{said}}} {count}' for le, count in zip(bounds, counts, strict=True)]
    return [*reversed(rows), f"x_ttft_ms_sum{{{said[1:]}}} {total}", f"x_ttft_ms_count{{{said[1:]}}} {counts[-1]}"]


def ttft(*rows: tuple[float, float], total: float, model: str = "a") -> set[Reading]:
    return set(c.TIME_TO_FIRST_TOKEN(Distribution(rows, total), engine="e", model=model))


def test_a_histogram_keeps_the_buckets_of_the_engine_in_our_unit():
    assert read(*histogram(1, 4, 5, total=900)) == ttft((0.01, 1), (0.2, 4), (math.inf, 5), total=0.9)


def test_histograms_are_added_up_over_shards_for_each_model_and_without_what_is_not_meant():
    lines = histogram(1, 4, 5, total=900, rank="0") + histogram(0, 1, 1, total=100, rank="1")
    lines += histogram(7, 7, 7, model_name="b") + histogram(50, 50, 50, stream="false")
    a, b = (
        ttft((0.01, 1), (0.2, 5), (math.inf, 6), total=1.0),
        ttft((0.01, 7), (0.2, 7), (math.inf, 7), total=0.0, model="b"),
    )
    assert read(*lines) == a | b


@pytest.mark.parametrize(
    "lines",
    [
        histogram(1, 4, 5)[:-1],
        histogram(1, 4, 5)[:-2],
        histogram(1, 4, 5)[1:],
        histogram(4, 1, 5),
        histogram(1, 4, math.nan),
        histogram(1, -4, 5),
        histogram(1, 4, 5, bounds=("10", "x", "+Inf")),
        histogram(1, 4, 5, bounds=("10", "-1", "+Inf")),
        histogram(1, 4, 5, bounds=("10", "10.0", "+Inf")),
        histogram(1, 4, 5, total=math.nan),
        histogram(*range(200), bounds=(*map(str, range(199)), "+Inf")),
        histogram(1, 4, 5, rank="0") + histogram(1, 2, 5, rank="1", bounds=("10", "300", "+Inf")),
        [*histogram(1, 4, 5), 'x_ttft_ms_bucket{le="200'],
    ],
)
def test_a_histogram_that_is_not_whole_is_absent(lines: list[str]):
    assert read(*lines) == set()


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf", "1e999", "x", ""])
def test_a_sum_of_which_a_part_is_not_known_is_absent(value: str):
    assert read('x_running{engine="0",model_name="a"} 2', f'x_running{{engine="1",model_name="a"}} {value}') == set()


def test_a_part_that_is_not_known_costs_only_its_own_model_and_family():
    found = read(
        'x_running{engine="0",model_name="a"} NaN', 'x_running{engine="0",model_name="b"} 1',
        'x_usage{model_name="a"} 0.5',
    )  # fmt: skip
    assert found == {c.REQUESTS_RUNNING(1, engine="e", model="b"), c.KV_CACHE_USAGE(0.5, engine="e", model="a")}


def test_of_a_sample_that_comes_twice_the_first_counts():
    assert read("x_running 1", "x_running 50") == {c.REQUESTS_RUNNING(1, engine="e", model="m")}


def test_a_models_name_is_cleaned_and_may_hold_what_ends_a_line_elsewhere():
    found = read('x_running{model_name="a\u2028\x1b[31m\\"b\\""} 1')
    assert found == {c.REQUESTS_RUNNING(1, engine="e", model='a[31m"b"')}


def test_timestamps_comments_and_families_of_others_do_not_matter():
    found = read("# TYPE x_running gauge", "x_running 1 1795441872000", "y_running 9", "x_running_max 9", "", "\x00{")
    assert found == {c.REQUESTS_RUNNING(1, engine="e", model="m")}


def test_a_family_that_disappeared_is_named_with_the_version():
    assert problem("x_usage 1", version="0.99.1") == "has no x_running on /metrics of version 0.99.1"
    assert problem("x_running 1") is None
    assert problem("x_usage 1", version="9" * 200) == "has no x_running on /metrics of version " + "9" * 40


def test_a_family_that_is_declared_has_not_disappeared():
    assert problem("# TYPE x_running gauge") is None
    counted = Table((Row("x_done_total", c.REQUESTS, always=True),))
    assert problem("# TYPE x_done counter", table=counted) is None
    assert problem("# TYPE x_done_other counter", table=counted) == "has no x_done_total on /metrics"


def test_an_old_name_that_disappeared_in_time_is_not_missed():
    table = Table((Row("x_new", c.KV_CACHE_USAGE, since="0.13", always=True), Row("x_old", c.KV_CACHE_USAGE)))
    assert problem("x_old 1", version="0.12", table=table) is None
    assert problem("x_other 1", version="0.12", table=table) is None
    assert problem("x_other 1", version="0.13", table=table) == "has no x_new on /metrics of version 0.13"


def test_nothing_is_missed_before_an_engine_has_worked():
    table = Table((Row("x_running", c.REQUESTS_RUNNING, always=True),), working="x_done_total")
    assert problem("x_usage 1", table=table) is None
    assert problem("x_done_total 1", table=table) == "has no x_running on /metrics"


def test_models_beyond_the_limit_are_counted_and_not_even_parsed():
    lines = [f'x_running{{engine="0",model_name="m{i}"}} 1' for i in range(10_000)]
    page = Page("\n".join(lines).encode(), TABLE)
    assert len(page.readings("e")[0]) == MAX_MODELS
    assert page.dropped == 10_000 - MAX_MODELS


def test_a_page_without_end_is_no_page():
    with pytest.raises(EngineError, match="more than"):
        Page("\n".join(f'x_running{{engine="{i}"}} 1' for i in range(MAX_LINES + 1)).encode(), TABLE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.33.0", (0, 33, 0)), ("v1.2rc1", (1, 2)), ("0.1.dev9", None), ("", None), ("b1-0c1e570", None)],
)
def test_versions_are_numbers_unless_they_are_between_versions(text: str, expected: tuple[int, ...] | None):
    assert numbers(text) == expected


NAMES = some.sampled_from(("x_running", "x_usage", "x_tokens_total", "x_done_total", "# TYPE x_running", "y", ""))
LABELS = some.sampled_from(
    ("", "{", "}", "{}", '{model_name="a"}', '{model_name="\\x00\\n"}', '{model_name="', "{a=1}", '{"x"}')
)
VALUES = some.sampled_from(
    ("1", "-0", "nan", "1e308", "1e309", "0x10", "1_0", "1 2 3", "", "\x00", "\u0663", "1 # {} 1")
)
GAPS = some.sampled_from((" ", "", "\t"))
LINE = some.tuples(NAMES, LABELS | some.text(max_size=9), GAPS, VALUES).map("".join)


@settings(max_examples=500, deadline=None)
@given(lines=some.lists(LINE | some.text(max_size=30)), version=some.none() | some.text())
def test_whatever_a_page_holds_numbers_are_finite_and_names_are_clean(lines: list[str], version: str | None):
    body = "\n".join(lines).encode("utf-8", "surrogatepass")
    with suppress(EngineError):
        readings, missing = Page(body, TABLE).readings("e", None, version)
        assert missing is None or len(missing) < 200
        for reading in readings:
            assert math.isfinite(reading.value)
            assert reading.value >= 0
            assert all(text.isprintable() and text for _, text in reading.labels)
