"""Answers that were not streamed: the same counts, and one chunk with all of the text."""

import re

import pytest

from support.captures import shared_captures
from tokwatt_exporter.streams.stream import Stream


def read(dialect, body):
    stream = Stream(dialect, whole=True)
    for at in range(0, len(body), 100):
        stream.feed(at, body[at : at + 100])
    assert stream.answer.chunks == []
    return stream.end()


@pytest.mark.parametrize("engine", ["llama.cpp", "mlx-lm", "mlx-vlm", "rapid-mlx", "vmlx"])
def test_openais_recorded_answers_have_the_engines_counts(engine):
    file = shared_captures() / "engines" / engine / "chat.plain.http"
    body = re.split(rb"\r?\n\r?\n", file.read_bytes(), maxsplit=1)[1]
    answer = read("openai", body)
    assert answer.generated_tokens == int(re.findall(rb'"completion_tokens":\s*(\d+)', body)[-1])
    assert answer.prompt_tokens == int(re.findall(rb'"prompt_tokens":\s*(\d+)', body)[-1])
    assert answer.finish
    assert len(answer.chunks) == 1


def test_ollamas_recorded_answer_has_its_durations():
    body = (shared_captures() / "engines/ollama-real/06-api-chat-nonstream.body.txt").read_bytes()
    answer = read("ollama", body)
    assert answer.generated_tokens == int(re.findall(rb'"eval_count":\s*(\d+)', body)[-1])
    assert answer.prefill_seconds and answer.terminated and len(answer.chunks) == 1


@pytest.mark.parametrize(("number", "tokens", "load"), [("01", 586, 2.656), ("02", 50, None)])
def test_lm_studios_documented_answers_have_their_statistics(number, tokens, load):
    body = (shared_captures() / f"engines/lmstudio/doc.api-v1-chat.{number}.json").read_bytes()
    answer = read("lm_studio", body)
    assert (answer.generated_tokens, answer.load_seconds, answer.terminated) == (tokens, load, True)
    assert answer.chunks


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"error": {"message": "no"}}'])
def test_what_is_no_answer_is_none(body):
    answer = read("openai", body)
    assert (answer.chunks, answer.generated_tokens, answer.finish) == ([], None, None)
