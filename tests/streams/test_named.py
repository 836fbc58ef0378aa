"""The Responses API and Anthropic's messages: events by their documentation, and what engines that serve them sent."""

import json
import re

import pytest

from support.captures import shared_captures
from tokwatt_exporter.streams.stream import Stream, parse


def recorded(name):
    return re.split(rb"\r?\n\r?\n", (shared_captures() / "engines/llama.cpp" / name).read_bytes(), maxsplit=1)[1]


def events(*bodies):
    return [(at, f"event: {body['type']}\ndata: {json.dumps(body)}\n\n".encode()) for at, body in enumerate(bodies, 1)]


def whole(dialect, body):
    stream = Stream(dialect, whole=True)
    stream.feed(1, json.dumps(body).encode())
    return stream.end()


# The Responses API


def response(status, **more):
    return {"id": "resp_1", "object": "response", "created_at": 1741290958, "status": status, "error": None,
            "incomplete_details": None, "model": "m", "output": [], "usage": None, **more}  # fmt: skip


def output(kind, number, **more):
    return {"type": f"response.{kind}", "item_id": "msg_1", "output_index": 0, "content_index": 0,
            "sequence_number": number, **more}  # fmt: skip


BEGIN = [
    {"type": "response.created", "sequence_number": 0, "response": response("in_progress")},
    {"type": "response.in_progress", "sequence_number": 1, "response": response("in_progress")},
    {"type": "response.output_item.added", "sequence_number": 2, "output_index": 0,
     "item": {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}},
    output("content_part.added", 3, part={"type": "output_text", "text": "", "annotations": []}),
]  # fmt: skip
USAGE = {"input_tokens": 37, "input_tokens_details": {"cached_tokens": 5}, "output_tokens": 3,
         "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 40}  # fmt: skip


def completed(kind="completed", **more):
    return {"type": f"response.{kind}", "sequence_number": 9, "response": response(kind, usage=USAGE, **more)}


def test_a_response_has_its_deltas_and_the_counts_of_its_end():
    deltas = [
        output("output_text.delta", 4 + n, delta=text, logprobs=[]) for n, text in enumerate(("Hi", " there", "!"))
    ]
    done = output("output_text.done", 7, text="Hi there!")
    answer = parse(events(*BEGIN, *deltas, done, completed()), "responses")
    assert [(chunk.at_ns, chunk.answer, chunk.characters) for chunk in answer.chunks] == [
        (5, True, 2), (6, True, 6), (7, True, 1)
    ]  # fmt: skip
    assert (answer.prompt_tokens, answer.cached_tokens, answer.generated_tokens) == (37, 5, 3)
    assert (answer.finish, answer.terminated, answer.error, answer.model) == ("completed", True, None, "m")


@pytest.mark.parametrize(
    ("kind", "of_answer"),
    [("reasoning_text", False), ("reasoning_summary_text", False), ("refusal", True),
     ("function_call_arguments", True), ("custom_tool_call_input", True)],
)  # fmt: skip
def test_everything_generated_in_a_response_is_a_token(kind, of_answer):
    [chunk] = parse(events(*BEGIN, output(f"{kind}.delta", 4, delta="ab")), "responses").chunks
    assert (chunk.answer, chunk.characters) == (of_answer, 2)


def test_the_name_of_a_function_is_its_first_token_and_sound_is_none():
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": ""}
    added = {"type": "response.output_item.added", "sequence_number": 2, "output_index": 0, "item": call}
    sound = {"type": "response.audio.delta", "sequence_number": 3, "delta": "UklGRg=="}
    answer = parse(events(added, sound, output("function_call_arguments.delta", 4, delta="{}")), "responses")
    assert [chunk.at_ns for chunk in answer.chunks] == [1, 3]


def test_a_response_that_ran_out_of_tokens_has_ended():
    last = completed("incomplete", incomplete_details={"reason": "max_output_tokens"})
    answer = parse(events(*BEGIN, last), "responses")
    assert (answer.finish, answer.terminated, answer.generated_tokens) == ("max_output_tokens", True, 3)


@pytest.mark.parametrize(
    "last",
    [{"type": "response.failed", "sequence_number": 5,
      "response": response("failed", error={"code": "server_error", "message": "slot lost"})},
     {"type": "error", "sequence_number": 5, "code": "x", "message": "slot lost", "param": None}],
)  # fmt: skip
def test_a_response_that_failed_is_an_error_with_or_without_the_events_name(last):
    for pieces in (events(*BEGIN, last), [(1, b"data: %s\n\n" % json.dumps(last).encode())]):
        assert parse(pieces, "responses").error == "slot lost"


def test_a_response_that_breaks_off_has_no_end():
    answer = parse(events(*BEGIN, output("output_text.delta", 4, delta="a")), "responses")
    assert (answer.terminated, answer.generated_tokens, len(answer.chunks)) == (False, None, 1)


def test_a_response_as_a_whole_is_one_answer():
    items = [{"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}]},
             {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
             {"type": "function_call", "name": "f", "arguments": "{}"}]  # fmt: skip
    answer = whole("responses", response("completed", output=items, usage=USAGE))
    assert [(chunk.answer, chunk.characters) for chunk in answer.chunks] == [(False, 2), (True, 2), (True, 3)]
    assert (answer.generated_tokens, answer.finish, answer.terminated) == (3, "completed", True)
    assert whole("responses", response("failed", error={"message": "slot lost"})).error == "slot lost"


def test_llama_cpps_recorded_response_is_counted():
    answer = parse([(1, recorded("responses.stream.http"))], "responses")
    assert (answer.prompt_tokens, answer.cached_tokens, answer.generated_tokens) == (36, 35, 3)
    assert (len(answer.chunks), answer.terminated, answer.model) == (2, True, "tiny.gguf")


# Anthropic's messages


def started(**usage):
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "m", "stop_reason": None,
               "stop_sequence": None, "usage": usage}  # fmt: skip
    return {"type": "message_start", "message": message}


def block(index, **content):
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(index, **fields):
    return {"type": "content_block_delta", "index": index, "delta": fields}


def ended(reason, **usage):
    return [{"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
            {"type": "message_stop"}]  # fmt: skip


def test_a_message_has_its_deltas_and_its_last_counts():
    said = [started(input_tokens=25, cache_creation_input_tokens=3, cache_read_input_tokens=7, output_tokens=1),
            block(0, type="thinking", thinking="", signature=""), {"type": "ping"},
            delta(0, type="thinking_delta", thinking="hm"), delta(0, type="signature_delta", signature="EqQBCgIYAhIM"),
            {"type": "content_block_stop", "index": 0}, block(1, type="text", text=""),
            delta(1, type="text_delta", text="Hello"), {"type": "content_block_stop", "index": 1},
            *ended("end_turn", output_tokens=15)]  # fmt: skip
    answer = parse(events(*said), "anthropic")
    assert [(chunk.at_ns, chunk.answer, chunk.characters) for chunk in answer.chunks] == [(4, False, 2), (8, True, 5)]
    # By the documentation, what the cache gave or took is not in input_tokens.
    assert (answer.prompt_tokens, answer.cached_tokens, answer.generated_tokens) == (35, 7, 15)
    assert (answer.finish, answer.terminated, answer.error) == ("end_turn", True, None)


def test_the_use_of_a_tool_is_generated_text():
    said = [started(input_tokens=1, output_tokens=1), block(0, type="tool_use", id="t", name="weather", input={}),
            delta(0, type="input_json_delta", partial_json=""),
            delta(0, type="input_json_delta", partial_json='{"a":1}'),
            *ended("tool_use", output_tokens=9)]  # fmt: skip
    answer = parse(events(*said), "anthropic")
    assert [(chunk.at_ns, chunk.characters) for chunk in answer.chunks] == [(2, 7), (4, 7)]
    assert answer.finish == "tool_use"


def test_what_a_message_counts_before_its_first_piece_is_no_count_of_a_cut_one():
    answer = parse(
        events(started(input_tokens=25, output_tokens=1), delta(0, type="text_delta", text="H")), "anthropic"
    )
    assert (answer.prompt_tokens, answer.generated_tokens, answer.terminated) == (25, None, False)


def test_an_error_in_a_message_is_one():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert parse(events(started(input_tokens=1), error), "anthropic").error == "Overloaded"


def test_a_message_as_a_whole_is_one_answer():
    content = [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]
    body = {**started(input_tokens=4, output_tokens=6)["message"], "content": content, "stop_reason": "tool_use"}
    answer = whole("anthropic", body)
    assert [chunk.characters for chunk in answer.chunks] == [2, 1 + len('{"a": 1}')]
    assert (answer.prompt_tokens, answer.generated_tokens, answer.finish, answer.terminated) == (4, 6, "tool_use", True)
    assert whole("anthropic", {"type": "error", "error": {"type": "x", "message": "no"}}).error == "no"


def test_llama_cpps_recorded_message_is_counted():
    answer = parse([(1, recorded("messages.anthropic.stream.http"))], "anthropic")
    assert (answer.prompt_tokens, answer.cached_tokens, answer.generated_tokens) == (36, 25, 3)
    assert (len(answer.chunks), answer.finish, answer.terminated) == (3, "max_tokens", True)


@pytest.mark.parametrize("dialect", ["responses", "anthropic"])
@pytest.mark.parametrize(
    "strange",
    ['{"type": 5}', '{"type": "response.output_text.delta"}', '{"type": "response.completed", "response": []}',
     '{"type": "content_block_delta", "delta": "x"}', '{"type": "message_start", "message": {"usage": 3}}',
     '{"type": "message_delta", "usage": {"output_tokens": -1}}', '{"type": "response.output_item.added", "item": 1}'],
)  # fmt: skip
def test_fields_of_another_type_are_not_there(dialect, strange):
    answer = parse([(1, f"data: {strange}\n\n".encode())], dialect)
    assert (answer.chunks, answer.generated_tokens, answer.prompt_tokens, answer.garbage) == ([], None, None, None)
