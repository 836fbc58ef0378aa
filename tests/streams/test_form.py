"""Events that are known by their form say the same as events that are read."""

import json
import random
import re

import pytest

from support.captures import shared_captures
from tokwatt_exporter.streams import stream as module
from tokwatt_exporter.streams.stream import Stream, parse

ENGINES = shared_captures() / "engines"
PATTERNS = ("*/chat.stream*.http", "*/*completions.stream*.http", "ollama-real/*-stream*.txt", "ollama-real/*cold*.txt")
STREAMS = [
    *((str(path.relative_to(ENGINES)), "ollama" if "-api-" in path.name else "openai")
      for pattern in PATTERNS for path in sorted(ENGINES.glob(pattern))),
    ("llama.cpp/messages.anthropic.stream.http", "anthropic"), ("llama.cpp/responses.stream.http", "responses"),
]  # fmt: skip


def body_of(name):
    data = (ENGINES / name).read_bytes()
    return data if name.endswith(".txt") else re.split(rb"\r?\n\r?\n", data, maxsplit=1)[1]


def events(body, dialect):
    return re.findall(rb"[^\n]*\n" if dialect == "ollama" else rb"(?:[^\n]+\r?\n)*\r?\n", body)


def openai(text, **more):
    return {"id": "c", "created": 1, "choices": [{"index": 0, "delta": {"content": text}}], **more}


def sse(body):
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


def fed(pieces, dialect="openai"):
    """The answer, and how many events were read as JSON."""
    loads, read = json.loads, []

    class Json:
        @staticmethod
        def loads(data):
            read.append(data)
            return loads(data)

    stream = Stream(dialect)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "json", Json)
        for number, piece in enumerate(pieces, 1):
            stream.feed(number, piece)
        return stream.end(), len(read)


def test_there_are_streams_of_every_recorded_engine():
    assert len(STREAMS) >= 15


@pytest.mark.parametrize(("name", "dialect"), STREAMS)
def test_a_recorded_stream_says_the_same_however_it_is_cut(name, dialect):
    body = body_of(name)
    found = events(body, dialect)
    assert b"".join(found) == body
    # In one piece no event is known by its form, for none is alone.
    whole = parse([(1, body)], dialect)
    dice = random.Random(1)
    for pieces in (found, list(groups(found, dice)), list(cuts(body, dice))):
        answer = parse([(1, piece) for piece in pieces], dialect)
        assert answer == whole


def groups(found, dice):
    while found:
        size = dice.choice((1, 1, 1, 2, 5))
        yield b"".join(found[:size])
        found = found[size:]


def cuts(body, dice):
    while body:
        size = dice.choice((1, 50, 300, 700))
        yield body[:size]
        body = body[size:]


def test_events_that_differ_in_text_id_and_time_are_read_once():
    pieces = [sse(openai(f"w{number}", created=number // 7, id=f"c-{number}")) for number in range(1, 50)]
    answer, read = fed([*pieces, sse({"choices": [], "usage": {"completion_tokens": 49}}), b"data: [DONE]\n\n"])
    assert read == 2
    assert [chunk.at_ns for chunk in answer.chunks] == list(range(1, 50))
    assert (answer.generated_tokens, answer.terminated, answer.last_ns) == (49, True, 51)


def test_the_time_of_ollamas_lines_is_no_difference():
    lines = [b'{"model":"m","created_at":"2026-01-01T00:00:0%d.1Z","message":{"role":"assistant","content":"w"},'
             b'"done":false}\n' % number for number in range(9)]  # fmt: skip
    answer, read = fed(lines, "ollama")
    assert (len(answer.chunks), read) == (9, 1)


@pytest.mark.parametrize(
    "text",
    [
        "zwölf",
        'a "quoted" word',
        "tab\t",
        "\\",
        "🙂",
        "\ud83d\ude42".encode("utf-16", "surrogatepass").decode("utf-16"),
    ],
)
@pytest.mark.parametrize("ascii", [True, False])
def test_characters_are_those_of_the_text_and_not_of_its_bytes(text, ascii):
    body = openai(text)
    piece = f"data: {json.dumps(body, ensure_ascii=ascii)}\n\n".encode()
    answer, read = fed([sse(openai("a")), piece])
    assert ([chunk.characters for chunk in answer.chunks], read) == ([1, len(text)], 1)


@pytest.mark.parametrize(
    "other",
    [
        openai(""), openai("b", usage={"completion_tokens": 7}), openai("b", timings={"predicted_n": 7}),
        openai("b", error={"message": "slot lost"}), {"error": "slot lost"}, openai("b", model="another"),
        {"choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "delta": {"content": "b", "reasoning_content": "c"}}]},
        {"choices": [{"index": 0, "delta": {"reasoning_content": "c"}}]},
    ],
)  # fmt: skip
def test_whatever_differs_in_more_than_its_text_is_read(other):
    pieces = [sse(openai("a")), sse(openai("bb")), sse(other), sse(openai("ccc"))]
    answer, read = fed(pieces)
    assert read == 2 + (b"finish" in pieces[2])
    assert answer == parse(
        [(1, b"".join(pieces[:1])), (2, pieces[1]), (3, pieces[2] + b": x\n\n"), (4, pieces[3])], "openai"
    )


@pytest.mark.parametrize("broken", [b"a\xff", b"a\\x", b"a\\u12", b"a\nb", b"a\x01"])
def test_a_text_that_is_none_is_garbage_as_without_forms(broken):
    one = sse(openai("a"))
    answer, _ = fed([one, one.replace(b'"a"', b'"%s"' % broken)])
    assert (len(answer.chunks), bool(answer.garbage)) == (1, True)


def test_what_comes_after_the_terminator_is_not_counted_by_its_form_either():
    one = sse(openai("a"))
    answer, _ = fed([one, one, b"data: [DONE]\n\n", one])
    assert (len(answer.chunks), answer.last_ns) == (2, 3)


def test_counts_with_each_chunk_are_each_read():
    pieces = [sse(openai("a", usage={"prompt_tokens": 1, "completion_tokens": number})) for number in range(1, 6)]
    answer, read = fed(pieces)
    assert (read, [chunk.counted for chunk in answer.chunks]) == (5, [1, 2, 3, 4, 5])


def test_an_engine_whose_events_all_differ_is_not_learned_over_and_over(monkeypatch):
    learned = []
    monkeypatch.setattr(module, "form", lambda *event: learned.append(event))
    answer, read = fed([sse(openai("a", **{f"k{number}": 1})) for number in range(100)])
    assert (len(answer.chunks), read, len(learned)) == (100, 100, module.MAX_FORMS)


def test_half_an_event_is_finished_before_one_is_known():
    one = sse(openai("a"))
    answer, _ = fed([one, one[:20], one[20:], one + one, one + one[:9], one[9:]])
    assert [chunk.at_ns for chunk in answer.chunks] == [1, 3, 4, 4, 5, 6]


def test_pieces_fed_together_have_their_own_times():
    one = sse(openai("a"))
    stream = Stream("openai")
    stream.feed_all(
        [(number, piece) for number, piece in enumerate([one, one, one[:9], one[9:], one, b": x\n\n", one], 1)]
    )
    assert [chunk.at_ns for chunk in stream.end().chunks] == [1, 2, 4, 5, 7]
