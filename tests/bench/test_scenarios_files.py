"""Prompts and traces of the user's: every common form is read, and what is none costs one line."""

import json
from itertools import islice

import pytest

from tokwatt_bench.scenarios import from_file
from tokwatt_exporter.errors import UsageError


@pytest.fixture
def read(tmp_path):
    """The scenario in a file of this name and content."""

    def read(name, content):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return from_file(file)

    return read


def asks(scenario, count=1):
    return list(islice(scenario.asks(0), count))


def one(scenario):
    return asks(scenario)[0]


def lines(*records):
    return "\n".join(json.dumps(record) for record in records) + "\n"


USER = {"role": "user", "content": "Hello?"}


@pytest.mark.parametrize("name", ["prompt.txt", "prompt.md", "prompt"])
def test_a_text_is_one_prompt_whatever_it_looks_like(read, name):
    found = read(name, '{"prompt": "not JSON, but a text"}\nand more\n')
    assert one(found).messages == ({"role": "user", "content": '{"prompt": "not JSON, but a text"}\nand more\n'},)
    assert found.description == "1 prompt of a file"


def test_the_mark_that_windows_puts_before_a_text_is_no_part_of_it(read):
    assert one(read("p.txt", b"\xef\xbb\xbfHello")).messages[0]["content"] == "Hello"


@pytest.mark.parametrize("record, messages", [
    ("Hello?", (USER,)),
    ({"prompt": "Hello?"}, (USER,)),
    ({"messages": [USER]}, (USER,)),
    ([USER], (USER,)),
    ({"messages": [{"role": "system", "content": ""}, USER]}, ({"role": "system", "content": ""}, USER)),
    # What the assistant says last is what is to be asked for.
    ({"messages": [USER, {"role": "assistant", "content": "Hi."}]}, (USER,)),
    ({"id": "x_0", "conversations": [{"from": "human", "value": "Hello?"}, {"from": "gpt", "value": "Hi."}]}, (USER,)),
    ({"conversations": [{"from": "gpt", "value": "…and so"}, {"from": "human", "value": "Hello?"}]}, (USER,)),
    ({"conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Hello?"},
                        {"from": "gpt", "value": "Hi."}, {"from": "human", "value": "More."}]},
     ({"role": "system", "content": "Be brief."}, USER, {"role": "assistant", "content": "Hi."},
      {"role": "user", "content": "More."})),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}]},
     ({"role": "user", "content": [{"type": "text", "text": "Hello?"}]},)),
    ({"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [{}]},
                   {"role": "tool", "content": "21 °C", "tool_call_id": "1"}]},
     (USER, {"role": "assistant", "content": None, "tool_calls": [{}]},
      {"role": "tool", "content": "21 °C", "tool_call_id": "1"})),
])  # fmt: skip
def test_a_record_in_lines_and_in_a_list_is_the_same_request(read, record, messages):
    assert one(read("a.jsonl", lines(record))).messages == messages
    assert one(read("a.json", json.dumps([record]))).messages == messages
    # Lines of JSON under the other name.
    assert asks(read("b.json", lines(record, record)), 2)[1].messages == messages


def test_a_file_with_one_conversation_is_one_request(read):
    assert one(read("a.json", json.dumps([USER, {"role": "assistant", "content": "Hi."}, USER]))).messages[2] == USER
    assert one(read("b.json", json.dumps({"messages": [USER]}))).messages == (USER,)


def test_a_request_as_it_was_sent_keeps_its_length_and_its_tools(read):
    tool = {"type": "function", "function": {"name": "f"}}
    found = one(read("a.jsonl", lines({"messages": [USER], "max_completion_tokens": 7, "tools": [tool]})))
    assert (found.max_tokens, found.tools) == (7, (tool,))


def test_prompts_come_in_the_files_order_again_and_again(read):
    found = read("a.jsonl", "\n" + lines("a", "b") + "\n\r\n" + lines("c"))
    assert [ask.messages[0]["content"] for ask in asks(found, 7)] == list("abcabca")
    assert (found.unique_prefix, found.name, found.description) == (True, "a", "3 prompts of a file")


def test_a_line_separator_within_a_text_ends_no_line(read):
    assert len(asks(read("a.jsonl", '{"prompt": "a\u2028b\x85c"}\n'))) == 1


def test_a_trace_has_times_from_its_first_request_and_ends(read):
    found = read("t.jsonl", lines(
        {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]},
        {"timestamp": 26482, "input_length": 600, "output_length": 500},
        {"timestamp": 26482, "prompt": "the second of that moment"},
    ))  # fmt: skip
    first, second, third = asks(found, 10)
    assert [ask.at_seconds for ask in (first, second, third)] == [0.0, 0.0, 1.0]
    assert (first.expected_prompt_tokens, first.max_tokens, first.output_tokens) == (600, 500, 500)
    assert second.messages[0]["content"] == "the second of that moment"
    assert third.expected_prompt_tokens == 6955
    assert 6955 / 2 < len(third.messages[0]["content"].split()) < 6955
    assert not found.unique_prefix and third.reuses_prefix
    assert found.description == "a trace of 3 requests over 1 s"


def test_times_are_milliseconds_seconds_or_dates(read):
    def times(*values):
        return [ask.at_seconds for ask in asks(read("t.jsonl", lines(*values)), 9)]

    assert times({"prompt": "a", "at_seconds": 3}, {"prompt": "b", "at_seconds": 3.5}) == [0.0, 0.5]
    assert times({"prompt": "a", "timestamp": 0}, {"prompt": "b", "timestamp": 1500}) == [0.0, 1.5]
    dates = ({"prompt": "a", "timestamp": f"2026-01-01T00:00:{second}+00:00"} for second in ("05", "07.250"))
    assert times(*dates) == [0.0, 2.25]


def test_what_a_trace_shares_is_shared_and_nothing_else(read):
    def text(blocks, length=2000):
        record = {"timestamp": 0, "input_length": length, "output_length": 1, "hash_ids": blocks}
        return one(read("t.jsonl", lines(record))).messages[0]["content"].split()

    one_, two, other = text([1, 2, 3, 4]), text([1, 2, 9, 8]), text([5, 2, 3, 4])
    same = next(at for at, pair in enumerate(zip(one_, two, strict=True)) if pair[0] != pair[1])
    # Two blocks of 512 tokens.
    assert 2 * 512 / 1.4 - 5 < same < 2 * 512 / 1.4 + 20
    assert one_[:15] != other[:15]


def test_a_trace_of_gigabytes_is_not_made_up_before_it_is_asked(read):
    record = {"timestamp": 1, "input_length": 10_000_000, "output_length": 1}
    assert read("t.jsonl", lines(*[record] * 5000)).description == "a trace of 5000 requests over 0 s"


@pytest.mark.parametrize("content, said", [
    (lines("a") + "{", "line 2 is not JSON: "),
    (lines("a", 5), "line 2: is a number, no prompt"),
    (lines("a", None), "line 2: is null, no prompt"),
    (lines({"text": "a"}), "line 1: has none of messages, prompt, conversations and input_length"),
    (lines({"prompt": " \n"}), "line 1: prompt is empty"),
    (lines({"prompt": ["a"]}), "line 1: prompt is a list, no text"),
    (lines({"prompt": "a\0b"}), "line 1: prompt has a NUL in it"),
    ('{"prompt": "\\ud800"}', "line 1: prompt has half a character in it (a lone surrogate)"),
    (lines({"messages": {}}), "line 1: messages is an object, no list"),
    (lines({"messages": []}), "line 1: has no message of the user"),
    (lines({"messages": [USER, 3]}), "line 1: message 2 is a number, no object"),
    (lines({"messages": [{"role": "boss", "content": "a"}]}), "line 1: message 1 has no role of system, developer, "),
    (lines({"messages": [{"role": ["user"], "content": "a"}]}), "line 1: message 1 has no role of system, developer, "),
    (lines({"messages": [{"role": "user"}]}), "line 1: message 1 has no content"),
    (lines({"messages": [{"role": "user", "content": 3}]}), "line 1: message 1 has no content"),
    (lines({"messages": [{"role": "user", "content": [3]}]}), "line 1: message 1 has a part without a type"),
    (lines({"messages": [{"role": "user", "content": [{"type": "text"}]}]}), "line 1: message 1 is null, no text"),
    (lines({"messages": [{"role": "assistant", "content": "a"}]}), "line 1: has no message of the user"),
    (lines({"conversations": [{"from": "bing", "value": "a"}]}), "line 1: turn 1 is of nobody known"),
    (lines({"conversations": [{"from": {}, "value": "a"}]}), "line 1: turn 1 is of nobody known"),
    (lines({"conversations": [{"from": "human"}]}), "line 1: turn 1 is null, no text"),
    (lines({"prompt": "a", "max_tokens": 0}), "line 1: max_tokens is no whole number from 1 to 10000000"),
    (lines({"prompt": "a", "max_tokens": True}), "line 1: max_tokens is no whole number from 1 to 10000000"),
    (lines({"prompt": "a", "tools": "f"}), "line 1: tools is no list of objects"),
    (lines({"input_length": 1e9}), "line 1: input_length is no whole number"),
    (lines({"input_length": 5, "hash_ids": ["a"]}), "line 1: hash_ids is no list of whole numbers"),
    (lines({"prompt": "a", "timestamp": -1}), "line 1: timestamp is no time"),
    ('{"prompt": "a", "timestamp": NaN}', "line 1: timestamp is no time"),
    (lines({"prompt": "a", "timestamp": 10**400}), "line 1: timestamp is no time"),
    (lines({"prompt": "a", "timestamp": "soon"}), "line 1: timestamp is neither milliseconds nor a date"),
    (lines({"prompt": "a", "at_seconds": [1]}), "line 1: at_seconds is a list, no number"),
    (lines({"prompt": "a", "at_seconds": 1}, "b"), "1 of 2 requests have no time, the others have one"),
    ('{"prompt": ' + "[" * 100_000, "line 1 is nested too deeply, or has a number that is too long"),
    ("1" * 5000, "line 1 is nested too deeply, or has a number that is too long"),
    (" \n\n", "is empty"),
    (b"ok\n\xff\xfe", "line 2 is not UTF-8"),
])  # fmt: skip
def test_a_file_that_is_wrong_costs_one_line_with_its_place(read, content, said):
    with pytest.raises(UsageError) as caught:
        read("a.jsonl", content)
    assert f"a.jsonl: {said}" in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("content, said", [
    ('[{"prompt": "a"},\n{"prompt": }]', "line 2 is not JSON: Expecting value"),
    ("[]", "has no prompt in it"),
    ('["a", 5]', "item 2: is a number, no prompt"),
    ("5", "it: is a number, no prompt"),
    ("[" * 100_000, "is JSON that no prompt is in: nested too deeply, or a number too long"),
])  # fmt: skip
def test_json_that_is_wrong_costs_one_line_too(read, content, said):
    with pytest.raises(UsageError, match=r"a\.json: ") as caught:
        read("a.json", content)
    assert said in str(caught.value)


def test_what_cannot_be_read_is_said(tmp_path, read, monkeypatch):
    with pytest.raises(UsageError, match="there: No such file"):
        from_file(tmp_path / "there")
    with pytest.raises(UsageError, match="Is a directory"):
        from_file(tmp_path)
    with pytest.raises(UsageError, match="has a NUL in it"):
        read("picture.png", b"PNG\0")
    monkeypatch.setattr("tokwatt_bench.scenarios.files.MAX_BYTES", 2**20)
    with pytest.raises(UsageError, match="is larger than 1 MiB"):
        read("a.txt", b"x" * (2**20 + 1))
