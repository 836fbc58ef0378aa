"""What engines add to the OpenAI dialect: comments with progress and speed, durations, and text while loading."""

import json
import re

import pytest

from support.captures import shared_captures
from tokwatt_exporter.streams.answer import Prefill
from tokwatt_exporter.streams.stream import parse

SECOND = 10**9


def comment(at, text):
    return at * SECOND, f": {text}\n\n".encode()


def data(at, body):
    return at * SECOND, f"data: {json.dumps(body)}\n\n".encode()


def delta(at, finish=None, **fields):
    return data(at, {"id": "c", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


def usage(at, **fields):
    return data(at, {"id": "c", "choices": [], "usage": fields})


# mlx-lm


def test_prefill_progress_in_comments_is_a_speed():
    pieces = [comment(1, "keepalive 1024/3072"), comment(2, "keepalive 2048/3072"), comment(3, "keepalive 3072/3072"),
              delta(3, content="a")]  # fmt: skip
    assert parse(pieces, "openai").prefill == Prefill(2048, 2.0, "prefill progress")


@pytest.mark.parametrize(
    "reports",
    [[(1, "5/6"), (2, "6/6")], [(1, "6/6")], [(1, "100/400"), (1, "400/400")], [(1, "0/400"), (2, "500/400")],
     [(1, "0/400"), (2, "300/900")], [(1, "0/0"), (2, "0/0")], [(1, "0/99999999999"), (2, "99999999999/99999999999")]],
    ids=["the end only", "one report", "no time between", "more than there is", "of another prompt", "of nothing",
         "too large"],
)  # fmt: skip
def test_progress_that_says_nothing_about_speed_is_left_alone(reports):
    pieces = [comment(at, f"keepalive {text}") for at, text in reports]
    assert parse([*pieces, delta(3, content="a")], "openai").prefill is None


def test_progress_tells_cached_tokens_from_new_ones_where_the_usage_does_not():
    pieces = [comment(1, "keepalive 1/1"), delta(2, content="a"), usage(3, prompt_tokens=6, completion_tokens=1)]
    assert parse(pieces, "openai").cached_tokens == 5
    told = usage(3, prompt_tokens=6, completion_tokens=1, prompt_tokens_details={"cached_tokens": 4})
    assert parse([*pieces[:2], told], "openai").cached_tokens == 4


def test_recorded_progress_agrees_with_the_recorded_usage():
    for name in ("chat.stream.usage.http", "chat.stream.usage.again-cached.http"):
        body = (shared_captures() / "engines/mlx-lm" / name).read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[2]
        untold = re.sub(rb', "prompt_tokens_details": \{[^}]*\}', b"", body)
        assert untold != body
        assert parse([(1, untold)], "openai").cached_tokens == parse([(1, body)], "openai").cached_tokens


# Exo


def test_exos_own_prompt_speed_is_over_what_was_not_cached():
    stats = {"prompt_tps": 500.0, "generation_tps": 30.0, "prefix_cache_hit": "partial"}
    pieces = [comment(1, "keep-alive"), comment(1, 'prefill_progress {"processed_tokens": 10, "total_tokens": 10}'),
              delta(2, content="a"),
              data(3, {"id": "c", "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}],
                       "usage": {"prompt_tokens": 120, "completion_tokens": 1,
                                 "prompt_tokens_details": {"cached_tokens": 20}}}),
              comment(3, f"generation_stats {json.dumps(stats)}"), (4 * SECOND, b"data: [DONE]\n\n")]  # fmt: skip
    answer = parse(pieces, "openai")
    assert answer.prefill == Prefill(100, pytest.approx(0.2), "generation_stats.prompt_tps")
    assert (answer.generated_tokens, answer.cached_tokens, answer.finish, answer.terminated) == (1, 20, "stop", True)


@pytest.mark.parametrize(
    "text",
    ["generation_stats {", "generation_stats []", 'generation_stats {"prompt_tps": "x"}',
     "generation_stats " + '{"a":' * 50000 + "}", "keepalive -1/5", "keepalive 1/5 x"],
    ids=["cut", "a list", "a word", "too deep", "negative", "more"],
)  # fmt: skip
def test_a_comment_of_another_shape_is_only_a_comment(text):
    answer = parse([comment(1, text), delta(2, content="a"), usage(3, prompt_tokens=50, completion_tokens=1)], "openai")
    assert (answer.prefill, answer.garbage, answer.error, len(answer.chunks)) == (None, None, None, 1)


# Engines that say when the first token was there


def test_omlx_says_its_times_in_the_usage():
    pieces = [comment(1, "keep-alive"), delta(2, content="a", finish="stop"),
              usage(3, prompt_tokens=50, completion_tokens=1, cached_tokens=30, model_load_duration=1.5,
                    time_to_first_token=0.4, prompt_eval_duration=0.3)]  # fmt: skip
    answer = parse(pieces, "openai")
    assert (answer.load_seconds, answer.engine_ttft_seconds, answer.prefill_seconds) == (1.5, 0.4, 0.3)
    assert answer.cached_tokens == 30


def test_llama_cpps_and_ollamas_first_token_is_there_when_the_prompt_is_done():
    body = (shared_captures() / "engines/llama.cpp/chat.stream.usage.http").read_bytes().partition(b"\r\n\r\n")[2]
    assert parse([(1, body)], "openai").engine_ttft_seconds == pytest.approx(0.02241)
    line = {"message": {"content": "a"}, "done": True, "load_duration": 2 * SECOND, "prompt_eval_duration": SECOND}
    assert parse([(1, json.dumps(line).encode())], "ollama").engine_ttft_seconds == 3.0
    del line["prompt_eval_duration"]
    assert parse([(1, json.dumps(line).encode())], "ollama").engine_ttft_seconds is None


# Ollama


def test_ollamas_thinking_is_no_answer_yet():
    lines = [{"message": {"content": "", "thinking": "Hm"}}, {"message": {"content": "Yes"}},
             {"response": "", "thinking": "Hm"}, {"response": "Yes"}]  # fmt: skip
    pieces = [(at, json.dumps(line).encode() + b"\n") for at, line in enumerate(lines)]
    assert [(c.at_ns, c.answer) for c in parse(pieces, "ollama").chunks] == [
        (0, False),
        (1, True),
        (2, False),
        (3, True),
    ]


# llama-swap


def loading(at, text):
    return data(at, {"choices": [{"delta": {"reasoning_content": text}}]})


def test_what_llama_swap_says_while_a_model_loads_is_no_token():
    pieces = [loading(1, "━━━━━\n"), loading(1, "llama-swap loading model: m\n"), loading(5, "."),
              loading(20, "\nDone! (19.83s)\n"), loading(20, "━━━━━\n"), loading(20, " \n"),
              delta(21, reasoning_content="Hm"), delta(22, content="a")]  # fmt: skip
    answer = parse(pieces, "openai")
    assert [chunk.at_ns for chunk in answer.chunks] == [21 * SECOND, 22 * SECOND]
    assert answer.load_seconds == 19.83


def test_reasoning_of_an_engine_as_sparing_as_that_is_not_mistaken_once_it_generates():
    assert len(parse([delta(1, content="a"), loading(2, "b")], "openai").chunks) == 2
