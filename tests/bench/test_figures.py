import itertools

import pytest

from tokwatt_bench import figures, measured
from tokwatt_bench.request import Request
from tokwatt_exporter.streams.answer import Answer, Chunk, Prefill

MS = 1_000_000


def request(offsets_ms, tokens=None, finish="length", characters=None, counted=None, **fields):
    chunks = [
        Chunk(round(at * MS), True, (characters or [4] * len(offsets_ms))[n], (counted or [None] * len(offsets_ms))[n])
        for n, at in enumerate(offsets_ms)
    ]
    answer = Answer(chunks, finish, True, prefill=fields.pop("prefill", None),
                    prefill_seconds=fields.pop("prefill_seconds", None))  # fmt: skip
    return Request(
        0, "measured", 0, generated_tokens=tokens, offsets_ns=tuple(chunk.at_ns for chunk in chunks), chunks=chunks,
        answer=answer, first_token_seconds=offsets_ms[0] / 1e3, **fields,
    )  # fmt: skip


def test_decode_speed_leaves_out_the_first_token_and_its_wait():
    assert figures.generation_speed(request([1000, 1010, 1020, 1030], 4)).value == pytest.approx(100)
    assert figures.mean_token_gap(request([1000, 1010, 1020, 1030], 4)).value == pytest.approx(0.01)


def test_an_end_token_without_text_is_not_taken_for_one_that_took_no_time():
    stopped = request([100, 110, 120, 130], 5, finish="stop")
    assert figures.generation_speed(stopped).value == pytest.approx(100)
    assert figures.token_gaps(stopped) == (pytest.approx([0.01, 0.01, 0.01]), "")


def test_one_token_more_than_chunks_is_an_end_token_only_where_the_model_stopped():
    assert figures.token_gaps(request([100, 110, 120, 130], 5))[0] == []


def test_tokens_of_the_first_read_are_all_left_out():
    both = request([100, 100, 110, 120], 4)
    assert figures.generation_speed(both).value == pytest.approx(2 / 0.02)


def test_tokens_of_the_first_chunk_are_counted_where_the_engine_counts():
    counted = request([100, 140, 180], 12, counted=[4, 8, 12], characters=[1, 1, 98])
    assert figures.generation_speed(counted).value == pytest.approx(8 / 0.08)


def test_tokens_of_the_first_chunk_are_its_share_of_the_text_where_nobody_counts():
    assert figures.generation_speed(request([100, 140, 180], 12)).value == pytest.approx(8 / 0.08)
    coalesced = request([100, 140], 5, characters=[6, 24])
    assert figures.generation_speed(coalesced).value == pytest.approx(4 / 0.04)


@pytest.mark.parametrize("offsets", [[100], [100, 100, 100]])
def test_an_answer_that_came_at_once_has_no_speed(offsets):
    assert figures.generation_speed(request(offsets, 30)) == (None, "the whole answer came at once")


def test_an_answer_whose_rest_came_after_most_of_it_has_no_speed():
    # As where the client slept while tokens came: 3 in a sixth of a millisecond are no 19,000 a second.
    slept = request([60.0] * 29 + [60.1, 60.15, 60.16], 32)
    assert figures.generation_speed(slept) == (None, "most of the answer came at once")
    assert measured.decode_speed({"chunk_offsets_ns": slept.offsets_ns, "generated_tokens": 32}) is None


def test_a_single_token_has_no_gap():
    assert figures.token_gaps(request([100], 1)) == ([], "the answer is a single token")


def test_a_few_shared_reads_leave_the_gaps_and_many_do_not():
    few = [10.0 * n for n in range(40)]
    few[20] = few[19]
    assert figures.inter_token_latency([request(few, 40)])[0].count == 39
    many = [10.0 * (n // 2) for n in range(40)]
    found, _ = figures.inter_token_latency([request(many, 40)])
    assert found.p50 is None
    assert found.reasons == {"": "20 of 39 tokens came in one read with the one before"}


def test_answers_with_a_character_of_several_tokens_are_left_out_and_it_is_said():
    plain, emoji = request([0, 10, 20], 3), request([0, 20], 3)
    found, note = figures.inter_token_latency([plain, plain, emoji])
    assert found.count == 4
    assert note == (
        "inter-token latency is of 2 of 3 requests; of another, one chunk is not one token: 2 chunks for 3 tokens"
    )


def test_gaps_are_not_known_where_half_of_the_answers_have_none():
    found, note = figures.inter_token_latency([request([0, 10, 20], 3), request([0, 20], 3)])
    assert (found.p50, note) == (None, "")
    assert found.reasons == {"": "one chunk is not one token: 2 chunks for 3 tokens"}


def test_more_chunks_than_tokens_are_not_tokens():
    assert figures.token_gaps(request([1, 2, 3, 4], 2))[1] == "one chunk is not one token: 4 chunks for 2 tokens"


def test_one_request_without_a_figure_leaves_none_for_all():
    good, bad = request([100, 110, 120], 3), request([100, 110, 120], None)
    found = figures.over([good, bad], figures.generation_speed)
    assert (found.p50, found.reasons) == (None, {"": figures.NO_COUNT})


def test_the_interval_of_gaps_is_that_of_all_of_them_and_as_wide_as_requests_differ():
    def answers(*slow):
        return [request([0, *itertools.accumulate(pace * gap for gap in range(11, 19))], 9) for pace in slow]

    found, _ = figures.inter_token_latency(answers(*[1.0] * 20))
    apart, _ = figures.inter_token_latency(answers(*[1.0, 1.1] * 10))
    assert found.count == apart.count == 160
    for one in (found, apart):
        assert one.ci95[0] <= one.p50 <= one.ci95[1]
    assert found.ci95[1] - found.ci95[0] < apart.ci95[1] - apart.ci95[0]


def test_a_total_with_an_unknown_part_is_unknown():
    assert figures.total([request([1], 3), request([1], 4)], lambda r: r.generated_tokens) == 7
    assert figures.total([request([1], 3), request([1], None)], lambda r: r.generated_tokens) is None
    assert figures.total([], lambda r: r.generated_tokens) is None


def test_failures_are_grouped_by_class():
    ones = [Request(n, "measured", 0, failure=f, detail=d) for n, f, d in ((0, "cut", "a"), (2, "cut", "b"))]
    assert figures.failures([*ones, Request(1, "measured", 0, failure="timeout", detail="c"), request([1], 1)]) == [
        {"class": "cut", "count": 2, "detail": "a", "requests": [0, 2]},
        {"class": "timeout", "count": 1, "detail": "c", "requests": [1]},
    ]


# Prefill


def test_the_engines_own_time_for_what_was_not_cached_is_preferred():
    timed = request([500], 1, prompt_tokens=500, cached_tokens=100, prefill=Prefill(400, 0.2, "timings.prompt_ms"))
    assert figures.prompt_speed(timed, cold=False) == ((2000, ""), "timings.prompt_ms")


def test_cached_tokens_are_not_prefilled():
    half = request([500], 1, prompt_tokens=500, cached_tokens=250)
    assert figures.prompt_speed(half, cold=False) == ((500, ""), "time to first token")
    assert figures.prompt_speed(request([500], 1, prompt_tokens=500, cached_tokens=490), cold=False)[0] == (
        None,
        "only 10 prompt tokens were not cached; it takes 16",
    )


def test_an_engines_duration_is_for_the_tokens_that_were_not_cached():
    ollama = request([500], 1, prompt_tokens=500, cached_tokens=100, prefill_seconds=0.1)
    assert figures.prompt_speed(ollama, cold=False) == ((4000, ""), "prompt_eval_duration")


def test_an_unknown_cache_leaves_the_speed_unknown_unless_the_prompt_was_new():
    unknown = request([500], 1, prompt_tokens=500)
    assert figures.prompt_speed(unknown, cold=True)[0] == (1000, "")
    assert figures.prompt_speed(unknown, cold=False)[0].value is None


def test_a_prompt_that_nobody_counted_has_no_speed():
    assert figures.prompt_speed(request([500], 1), cold=True)[0] == (None, "the engine gives no count of prompt tokens")
