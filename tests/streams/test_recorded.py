"""Every stream that was recorded from an engine, held against the count the engine itself put into it."""

import json
import re

import pytest

from support.captures import shared_captures
from tokwatt_bench.request import examine
from tokwatt_bench.stream import Recording
from tokwatt_exporter.streams.stream import parse


def body_of(name):
    file = shared_captures() / "engines" / name
    data = file.read_bytes()
    return data if name.endswith(("body.txt", ".json")) else re.split(rb"\r?\n\r?\n", data, maxsplit=1)[1]


def last_number(key, body):
    found = re.findall(rb'"%s":\s*(\d+)' % key, body)
    return int(found[-1]) if found else None


def events(*bodies):
    lines = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    return [(number, f"data: {line}\n\n".encode()) for number, line in enumerate(lines, 1)]


def delta(finish=None, **fields):
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


WITH_USAGE = [
    "llama.cpp/chat.stream.usage.http",
    "llama.cpp/v1-completions.stream.http",
    "mlx-lm/chat.stream.usage.http",
    "mlx-lm/chat.stream.usage.again-cached.http",
    "mlx-vlm/chat.stream.usage.http",
    "ollama-real/09-v1-chat-stream-usage.body.txt",
    "ollama-real/12-v1-completions-stream.body.txt",
    "rapid-mlx/chat.stream.usage.http",
    "rapid-mlx/chat.stream.usage.again-cached.http",
    "vllm-mlx/chat.stream.usage.http",
    "vllm-mlx/chat.stream.nousage.http",
    "vmlx/chat.stream.usage.http",
]


@pytest.mark.parametrize("name", WITH_USAGE)
def test_the_count_is_the_one_the_engine_states_in_its_usage(name):
    body = body_of(name)
    answer = parse([(1, body)], "openai")
    assert answer.generated_tokens == last_number(b"completion_tokens", body) > 0
    assert answer.prompt_tokens == last_number(b"prompt_tokens", body)
    assert answer.token_source == "usage"
    assert answer.cached_tokens == last_number(b"cached_tokens", body)
    assert answer.finish and answer.terminated
    assert not answer.error and not answer.garbage
    # Recorded engines coalesce, hold characters back or count the end; none sends more chunks than tokens.
    assert 1 <= len(answer.chunks) <= answer.generated_tokens


@pytest.mark.parametrize(
    "name", ["llama.cpp/chat.stream.nousage.http", "llama.cpp/chat.stream.timings_per_token.progress.http"]
)
def test_llama_cpps_timings_count_where_there_is_no_usage(name):
    body = body_of(name)
    answer = parse([(1, body)], "openai")
    assert answer.generated_tokens == last_number(b"predicted_n", body)
    assert answer.token_source == "timings"
    assert answer.prompt_tokens == last_number(b"prompt_n", body) + last_number(b"cache_n", body)
    assert answer.cached_tokens == last_number(b"cache_n", body)


@pytest.mark.parametrize(
    "name",
    ["rapid-mlx/chat.stream.nousage.http", "vmlx/chat.stream.nousage.http",
     "ollama-real/10-v1-chat-stream-nousage.body.txt"],
)  # fmt: skip
def test_without_any_count_there_is_none(name):
    answer = parse([(1, body_of(name))], "openai")
    assert answer.chunks
    assert answer.generated_tokens is None
    assert answer.token_source is None


@pytest.mark.parametrize(
    "name",
    ["ollama-real/05-api-chat-stream.body.txt", "ollama-real/07-api-generate-stream.body.txt",
     "ollama-real/20-api-chat-cold-load.body.txt", "vmlx/api-generate.http"],
)  # fmt: skip
def test_ollamas_own_dialect_counts_by_its_last_line(name):
    body = body_of(name)
    answer = parse([(1, body)], "ollama")
    assert answer.generated_tokens == last_number(b"eval_count", body)
    assert answer.prompt_tokens == last_number(b"prompt_eval_count", body)
    assert answer.prefill_seconds == pytest.approx(last_number(b"prompt_eval_duration", body) / 1e9)
    assert (answer.load_seconds or 0) == pytest.approx(last_number(b"load_duration", body) / 1e9)
    assert answer.terminated and answer.finish


def test_ollamas_cached_tokens_are_known_where_it_says_them():
    answer = parse([(1, body_of("ollama/final-chunk.v0.33.3-windows.json"))], "ollama")
    assert (answer.prompt_tokens, answer.cached_tokens, answer.generated_tokens) == (29, 0, 3)
    assert answer.load_seconds == pytest.approx(19.9063583)


def test_llama_cpps_prefill_is_its_own_time_over_what_was_not_cached():
    answer = parse([(1, body_of("llama.cpp/chat.stream.usage.http"))], "openai")
    assert answer.prefill == (36, pytest.approx(0.02241), "timings.prompt_ms")


def test_rapid_mlxs_own_time_to_first_token_is_kept_beside_ours():
    answer = parse([(1, body_of("rapid-mlx/chat.stream.usage.http"))], "openai")
    assert answer.engine_ttft_seconds == pytest.approx(0.03796798300027149)


@pytest.mark.parametrize(
    ("name", "dialect", "failure"),
    [("ollama-real/21-api-chat-aborted.body.txt", "ollama", "cut"),
     ("ollama/doc.errors.1.json", "ollama", "error_event"),
     ("mlx-lm/chat.stream-options-without-include_usage.http", "openai", "cut")],
)  # fmt: skip
def test_recorded_streams_that_failed_are_failures(name, dialect, failure):
    assert examine(Recording(0, status=200, pieces=[(1, body_of(name))]), dialect, 0, "measured").failure == failure


# What is not in the recordings


@pytest.mark.parametrize(
    "fields",
    [{"content": "a"}, {"reasoning_content": "a"}, {"reasoning": "a"}, {"thinking": "a"},
     {"content": [{"type": "text", "text": "a"}]}, {"refusal": "no"},
     {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]},
     {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}, {"function_call": {"arguments": "{"}}],
)  # fmt: skip
def test_every_kind_of_generated_text_is_a_token(fields):
    assert len(parse(events(delta(role="assistant"), delta(**fields)), "openai").chunks) == 1


@pytest.mark.parametrize(
    "fields", [{"role": "assistant"}, {"role": "assistant", "content": ""}, {"content": None}, {"tool_calls": []}, {}]
)
def test_a_delta_without_text_is_no_token(fields):
    assert parse(events(delta(**fields)), "openai").chunks == []


def test_the_same_reasoning_under_two_names_is_one_text():
    [chunk] = parse(events(delta(content=None, reasoning_content="abc", reasoning="abc")), "openai").chunks
    assert (chunk.answer, chunk.characters) == (False, 3)


def test_a_usage_that_is_repeated_or_grows_is_not_added_up():
    usage = [{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": n}} for n in (1, 2, 9, 9)]
    assert parse(events(delta(content="a"), *usage, "[DONE]"), "openai").generated_tokens == 9


def test_a_usage_of_zero_is_no_count():
    zero = {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    answer = parse(events(delta(content="a"), zero, "[DONE]"), "openai")
    assert (answer.prompt_tokens, answer.generated_tokens) == (None, None)


def test_a_usage_of_zero_after_a_real_one_does_not_replace_it():
    usages = [{"choices": [], "usage": {"prompt_tokens": n, "completion_tokens": n}} for n in (7, 0)]
    assert parse(events(delta(content="a"), *usages), "openai").generated_tokens == 7


def test_counts_that_contradict_each_other_are_said():
    last = {"choices": [], "usage": {"completion_tokens": 100}, "timings": {"predicted_n": 50}}
    answer = parse(events(delta(content="a"), last), "openai")
    assert answer.generated_tokens == 100
    assert answer.notes == ["usage counts 100 tokens, timings 50"]


@pytest.mark.parametrize(
    "error",
    [{"error": {"message": "slot lost"}}, {"error": "slot lost"}, {"object": "error", "message": "slot lost"},
     {"error": {"code": 500, "message": "slot lost"}, "choices": []}],
)  # fmt: skip
def test_an_error_inside_a_stream_is_found_whatever_its_shape(error):
    assert parse(events(delta(content="a"), error, "[DONE]"), "openai").error == "slot lost"


def test_an_event_named_error_is_one():
    assert parse([(1, b'event: error\ndata: {"message": "slot lost"}\n\n')], "openai").error == "slot lost"


def test_a_null_error_is_none():
    assert parse(events({**delta(content="a"), "error": None}), "openai").error is None


@pytest.mark.parametrize(
    "strange",
    ['{"choices": {"0": 1}}', '{"choices": [null]}', '{"choices": [{"delta": "x"}]}', '{"usage": 5, "timings": []}',
     '{"usage": {"completion_tokens": true, "prompt_tokens": -1}}', '{"usage": {"completion_tokens": 1e400}}'],
)  # fmt: skip
def test_fields_of_another_type_are_not_there(strange):
    answer = parse(events(strange, "[DONE]"), "openai")
    assert (answer.chunks, answer.generated_tokens, answer.prompt_tokens) == ([], None, None)


def test_what_comes_after_the_terminator_is_not_part_of_the_answer():
    answer = parse(events(delta(content="a", finish="stop"), "[DONE]", delta(content="b"), {"error": "late"}), "openai")
    assert (len(answer.chunks), answer.error, answer.last_ns) == (1, None, 2)


def test_a_terminator_without_a_finish_reason_is_no_end():
    recording = Recording(0, status=200, pieces=events(delta(content="a"), "[DONE]"))
    request = examine(recording, "openai", 0, "measured")
    assert (request.failure, request.detail) == ("cut", "ended without finish reason after 1 chunks")
