"""What misleads a client that measures streams: each trap is right, or refused with a reason."""

import statistics
import time

import pytest

from tokwatt_bench import figures
from tokwatt_bench.statistics import quantile

CLEAN = (
    "base", "role_at_0", "keepalive", "role_at_0,keepalive", "split", "usage_on_last", "usage_twice", "usage_every",
    "finish_on_last", "crlf", "cr", "nospace", "nospace,crlf,split", "close_delimited", "tools", "timings",
    "think=reasoning_content", "think=reasoning", "think=thinking", "think=both",
)  # fmt: skip


def first_token_error(request, truth):
    return request.first_token_seconds - truth.first_token_seconds


@pytest.mark.parametrize("trap", CLEAN)
def test_count_first_token_and_mean_gap_are_the_truth(ask, truth, trap):
    # A machine that is busy makes single answers late; three times in a row it is the client's fault.
    for _ in range(3):
        request, sent = ask(trap), truth()
        assert request.ok, request.detail
        assert (request.generated_tokens, request.token_source) == (64, "usage")
        assert len(request.chunks) == sent.tokens == 64
        gap = figures.mean_token_gap(request).value
        if 0 <= first_token_error(request, sent) < 0.01 and gap == pytest.approx(
            statistics.mean(sent.gaps_seconds), rel=0.05
        ):
            return
    raise AssertionError(f"first token {first_token_error(request, sent)} s late, mean gap {gap} s")


@pytest.mark.parametrize("model", ["tpc=4", "tpc=4,usage_every", "tpc=3,burst=2"])
def test_several_tokens_a_chunk_have_a_right_speed_and_no_gaps_between_tokens(ask, truth, model):
    request, sent = ask(f"{model},itl=5"), truth()
    assert request.generated_tokens == 64
    assert figures.generation_speed(request).value == pytest.approx(
        (64 - sent.writes[0][1]) / (sum(sent.gaps_seconds)), rel=0.03
    )
    gaps, why = figures.token_gaps(request)
    assert gaps == []
    assert "chunks for 64 tokens" in why
    assert len(figures.chunk_gaps(request)) == len(request.chunks) - 1


def test_a_burst_in_one_read_has_a_right_speed_and_no_gaps_between_tokens(ask, truth):
    request, sent = ask("burst=8,itl=5"), truth()
    assert figures.generation_speed(request).value == pytest.approx(63 / sum(sent.gaps_seconds), rel=0.03)
    latency, _ = figures.inter_token_latency([request])
    assert latency.p50 is None
    assert "in one read" in latency.reasons[""]


@pytest.mark.parametrize("model", ["nousage", "nousage,tpc=4"])
def test_chunks_are_never_taken_for_tokens(ask, model):
    request = ask(model)
    assert request.ok
    assert (request.generated_tokens, request.token_source) == (None, None)
    for figure in (figures.generation_speed(request), figures.mean_token_gap(request)):
        assert figure == (None, figures.NO_COUNT)
    assert figures.token_gaps(request) == ([], figures.NO_COUNT)
    assert figures.chunk_gaps(request)
    assert request.first_token_seconds > 0.02


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking", "both"])
def test_the_first_token_and_the_first_token_of_the_answer_are_two_figures(ask, truth, field):
    request, sent = ask(f"think={field}"), truth()
    answered = (sent.writes[32][0] - sent.received_ns) / 1e9
    assert request.first_token_seconds == pytest.approx(sent.first_token_seconds, abs=0.02)
    assert request.first_answer_token_seconds == pytest.approx(answered, abs=0.02)
    assert request.first_answer_token_seconds - request.first_token_seconds > 0.05


def test_a_stall_is_seen_as_the_longest_pause_and_in_the_99th_percentile(ask):
    requests = [ask("stall,tokens=40,itl=10") for _ in range(3)]
    assert figures.longest_pause(requests) == pytest.approx(0.5, abs=0.05)
    pooled, _ = figures.inter_token_latency(requests)
    assert pooled.count == 117
    assert pooled.p99 == pytest.approx(0.5, abs=0.05)
    assert pooled.p50 == pytest.approx(0.01, abs=0.003)


def test_the_gaps_are_those_of_the_server(ask, truth):
    for _ in range(3):
        request, sent = ask("jitter,itl=8,tokens=60"), truth()
        gaps, _why = figures.token_gaps(request)
        errors = [abs(ours - true) for ours, true in zip(gaps, sent.gaps_seconds, strict=True)] if gaps else [1.0]
        if quantile(errors, 0.5) < 0.001 and quantile(errors, 0.95) < 0.005:
            return
    raise AssertionError(f"gaps are off by {quantile(errors, 0.5)} s")


def test_a_prompt_that_was_sent_before_is_known_to_be_cached(ask):
    assert ask("base", prompt="a new prompt").cached_tokens == 0
    assert ask("base", prompt="a new prompt").cached_tokens == 3


@pytest.mark.parametrize(
    ("trap", "failure", "said"),
    [
        ("cut", "cut", "after 33 chunks"),
        ("cutshort", "cut", "after 33 chunks"),
        ("cutclean", "cut", "without finish reason and terminator after 33 chunks"),
        ("cutclean,close_delimited", "cut", "without finish reason and terminator after 33 chunks"),
        ("no_done", "cut", "without terminator after 64 chunks"),
        ("cuterr", "error_event", "slot unavailable"),
        ("err500", "http_status", "HTTP 500: out of memory"),
        ("redirect", "http_status", "HTTP 307: redirects to http://127.0.0.1:9/v1"),
        ("empty", "empty", "without a token"),
        ("nothing", "empty", "no body"),
        ("garbage", "garbage", "{this is not json"),
        ("page", "garbage", "Welcome to nginx!"),
        ("binary", "garbage", ""),
        ("nested", "garbage", "[[["),
        ("huge_line", "garbage", "xxx"),
        ("not_http", "garbage", "not HTTP"),
        ("hang_up", "cut", ""),
    ],
)
def test_what_is_no_whole_answer_is_a_failure_of_its_class(ask, trap, failure, said):
    request = ask(trap)
    assert not request.ok
    assert request.failure == failure
    assert said in request.detail
    assert "\n" not in request.detail and len(request.detail) < 250
    assert (request.first_token_seconds, request.generated_tokens, request.duration_seconds) == (None, None, None)


@pytest.mark.parametrize("trap", ["endless", "loris", "silent", "mute"])
def test_the_timeout_is_for_the_whole_request_whatever_trickles_in(ask, trap):
    began = time.monotonic()
    request = ask(trap, timeout=0.7)
    assert request.failure == "timeout"
    assert time.monotonic() - began < 1.1


def test_an_answer_that_is_whole_counts_although_the_connection_stays_open(ask):
    request = ask("stay", timeout=1.0)
    assert request.ok
    assert request.duration_seconds < 0.5


@pytest.mark.parametrize("model", ["base", "split"])
def test_ollamas_own_stream_is_the_truth_too(ask, truth, model):
    request = ask(model, path="/api/chat")
    assert request.ok
    assert (request.generated_tokens, request.token_source) == (truth().tokens, "eval_count")
    assert request.first_token_seconds == pytest.approx(truth().first_token_seconds, abs=0.05)


@pytest.mark.parametrize(("trap", "failure"), [("cutclean", "cut"), ("cuterr", "error_event"), ("cut", "cut")])
def test_ollamas_own_stream_can_fail_too(ask, trap, failure):
    assert ask(trap, path="/api/chat").failure == failure
