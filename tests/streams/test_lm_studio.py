"""LM Studio's own stream, from the events as its documentation has them."""

import json

import pytest

from support.captures import shared_captures
from tokwatt_exporter.streams.stream import Stream, parse

SECOND = 10**9


def documented(number):
    file = shared_captures() / "engines/lmstudio" / f"doc.api-v1-chat-event.{number:02}.json"
    return json.loads(file.read_text())


def event(at, body):
    return at, f"event: {body['type']}\ndata: {json.dumps(body)}\n\n".encode()


def whole():
    """Every event of a chat that had to load its model, a tenth of a second apart."""
    numbers = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 16, 17, 19)
    return [event(place * SECOND // 10, documented(number)) for place, number in enumerate(numbers, 1)]


def test_the_documented_events_are_an_answer_with_the_engines_own_figures():
    answer = parse(whole(), "lm_studio")
    assert [(chunk.at_ns, chunk.answer, chunk.characters) for chunk in answer.chunks] == [
        (9 * SECOND // 10, False, len("Need to")), (12 * SECOND // 10, True, len("The current")),
    ]  # fmt: skip
    assert (answer.prompt_tokens, answer.generated_tokens, answer.token_source) == (329, 268, "stats")
    assert answer.engine_ttft_seconds == 0.781
    assert answer.load_seconds == 12.34
    assert (answer.prefill_seconds, answer.prefill_source) == (pytest.approx(0.2), "prompt_processing")
    assert (answer.finish, answer.terminated, answer.error, answer.cached_tokens) == ("chat.end", True, None, None)


def test_the_load_time_of_the_statistics_wins_over_that_of_the_event():
    last = documented(19)
    last["result"]["stats"]["model_load_time_seconds"] = 2.656
    assert parse([*whole()[:-1], event(SECOND * 2, last)], "lm_studio").load_seconds == 2.656


def test_an_event_without_its_name_is_known_by_its_type():
    pieces = [(at, piece.partition(b"\n")[2]) for at, piece in whole()]
    assert parse(pieces, "lm_studio").generated_tokens == 268


def test_a_stream_that_breaks_off_has_no_end():
    answer = parse(whole()[:-1], "lm_studio")
    assert (answer.finish, answer.terminated, answer.generated_tokens, len(answer.chunks)) == (None, False, None, 2)


def test_progress_and_empty_deltas_are_no_tokens():
    empty = {"type": "message.delta", "content": ""}
    assert parse([*whole()[:8], event(SECOND, empty)], "lm_studio").chunks == []


def test_a_tool_call_is_generated_text():
    [chunk] = parse([event(1, documented(11)), event(2, documented(12)), event(3, documented(13))], "lm_studio").chunks
    assert (chunk.at_ns, chunk.answer) == (2, True)


def test_an_error_event_is_one():
    assert parse([*whole()[:5], event(2 * SECOND, documented(18))], "lm_studio").error == '"model" is required'


def test_what_came_so_far_is_known_before_the_end():
    stream = Stream("lm_studio")
    for at, piece in whole()[:9]:
        stream.feed(at, piece)
    assert (len(stream.answer.chunks), stream.answer.terminated) == (1, False)
