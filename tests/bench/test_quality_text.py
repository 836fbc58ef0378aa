"""What answers say, read from streams in every dialect."""

import json
import random

import pytest

from support.captures import shared_captures
from tokwatt_bench.quality.text import Call, Said, said

ENGINES = shared_captures() / "engines"


def sse(*bodies):
    return [(number, b"data: " + json.dumps(body).encode() + b"\n\n") for number, body in enumerate(bodies)]


def deltas(*deltas, finish="stop"):
    chunks = [{"choices": [{"delta": delta}]} for delta in deltas]
    return [*sse(*chunks, {"choices": [{"delta": {}, "finish_reason": finish}]}), (9, b"data: [DONE]\n\n")]


def ndjson(*bodies):
    return [(number, json.dumps(body).encode() + b"\n") for number, body in enumerate(bodies)]


def test_text_reasoning_and_finish_of_openais_dialect():
    pieces = deltas({"role": "assistant", "content": ""}, {"reasoning_content": "Hm. "}, {"reasoning": "Hm."},
                    {"content": "Ye"}, {"content": "s 三"}, finish="length")  # fmt: skip
    assert said(pieces, "openai") == Said("Yes 三", "Hm. Hm.", (), "length")


@pytest.mark.parametrize("delta, found", [
    ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, Said("ab")),
    ({"refusal": "No."}, Said("No.")),
    ({"reasoning_content": "a", "reasoning": "a", "thinking": "b"}, Said("", "ab")),
    ({"content": None}, Said()),
    ({"content": 5, "reasoning": {}, "tool_calls": [3]}, Said()),
    ({"function_call": {"name": "f", "arguments": "{}"}}, Said(calls=(Call("f", "{}"),))),
])  # fmt: skip
def test_a_delta_says(delta, found):
    assert said(deltas(delta), "openai") == found._replace(finish="stop")


def test_a_completion_has_its_text_beside_the_delta():
    assert said(sse({"choices": [{"text": "a"}]}, {"choices": [{"text": "b"}]}), "openai").content == "ab"


def test_calls_come_in_parts_side_by_side_or_whole():
    def part(index, name=None, arguments=""):
        return {"tool_calls": [{"index": index, "function": {"name": name, "arguments": arguments}}]}

    parts = deltas(part(0, "f", '{"a"'), part(0, arguments=": 1}"), part(1, "g", "{"), part(1, arguments="}"),
                   part(0, arguments=" "), finish="tool_calls")  # fmt: skip
    assert said(parts, "openai").calls == (Call("f", '{"a": 1} '), Call("g", "{}"))
    # Each one with the number 0, and without numbers.
    assert said(deltas(part(0, "f", "{}"), part(0, "g", "{}")), "openai").calls == (Call("f", "{}"), Call("g", "{}"))
    assert said(deltas(part(None, "f", "{"), part(None, arguments="}")), "openai").calls == (Call("f", "{}"),)
    assert said(deltas(part(10**9, "f"), part(-5, arguments="{}")), "openai").calls == (Call("f", "{}"),)


def test_ollamas_lines_say_the_same():
    call = {"function": {"name": "f", "arguments": {"ort": "Köln"}}}
    pieces = ndjson(
        {"message": {"thinking": "Hm."}}, {"message": {"content": "Ja", "tool_calls": [call, call]}},
        {"response": "!", "done": True, "done_reason": "length"},
    )  # fmt: skip
    assert said(pieces, "ollama") == Said("Ja!", "Hm.", (Call("f", '{"ort": "Köln"}'),) * 2, "length")
    assert said(ndjson({"done": True}), "ollama").finish == "stop"


def test_a_recorded_call_of_ollama():
    body = json.loads((ENGINES / "ollama/doc.generate-a-chat-completion.13.json").read_text())
    [call] = said(ndjson(body), "ollama").calls
    assert (call.name, json.loads(call.arguments)) == (
        "get_current_weather", {"format": "celsius", "location": "Paris, FR"}
    )  # fmt: skip


def test_lm_studios_documented_events():
    names = [f"doc.api-v1-chat-event.{number:02}.json" for number in (1, 9, 11, 12, 13, 16, 19)]
    bodies = [json.loads((ENGINES / "lmstudio" / name).read_text()) for name in names]
    found = said(sse(*bodies), "lm_studio")
    [call] = found.calls
    assert (found.content, found.reasoning, found.finish) == ("The current", "Need to", "chat.end")
    assert (call.name, json.loads(call.arguments)) == ("model_search", {"sort": "trendingScore", "limit": 1})


@pytest.mark.parametrize("content, answer", [
    (" yes \n", "yes"),
    ("<think>no, no</think>\n\nyes", "yes"),
    # The template began it.
    ("no, no</think>yes", "yes"),
    ("<think>a</think>no<think>b</think> yes", "yes"),
    ("<think>it never ends", ""),
    ("Write <think> to begin with", "Write <think> to begin with"),
])  # fmt: skip
def test_reasoning_that_the_engine_left_in_the_text_is_no_answer(content, answer):
    assert Said(content).answer == answer


def test_everything_generated_is_text_reasoning_and_calls():
    assert Said("c", "r", (Call("f", "{}"),)).all == "r\nc\nf({})"


@pytest.mark.parametrize("dialect", ["openai", "ollama", "lm_studio"])
def test_garbage_says_nothing_and_costs_nothing(dialect):
    draw = random.Random(1)
    for data in (b"", b"\xff" * 100, b"data: [" * 9, b"data: " + b"[" * 200_000 + b"\n\n", b"[1]\n\nnull\n",
                 b'data: {"choices": {"a": 1}}\n\n', b'{"message": [1], "type": [], "choices": [[]]}\n\n',
                 draw.randbytes(10_000)):  # fmt: skip
        assert said([(0, data)], dialect) == Said()


def test_many_parts_are_joined_in_order():
    piece = b'data: {"choices":[{"delta":{"content":"ab","tool_calls":[{"function":{"arguments":"c"}}]}}]}\n\n' * 200
    found = said([(0, piece)] * 100, "openai")
    assert (len(found.content), len(found.calls[0].arguments)) == (40_000, 20_000)
