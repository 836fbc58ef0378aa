"""Whatever API a client speaks, the same is counted: requests, tokens, TTFT, ITL and duration."""

import json
import threading

import httpx
import pytest

from proxy.proxying import engine, post, proxy, read_all, read_request
from support.captures import shared_captures
from support.engine import llama_server
from tokwatt_exporter import catalogue as c

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ITEM = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
RESPONSE = {"id": "resp_1", "object": "response", "model": "m", "output": [], "error": None, "incomplete_details": None}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "m", "stop_reason": None}


def named(*bodies):
    return [f"event: {body['type']}\ndata: {json.dumps(body)}\n\n".encode() for body in bodies]


def responses():
    return named(
        {"type": "response.created", "sequence_number": 0, "response": {**RESPONSE, "status": "in_progress"}},
        {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
         "item": {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}},
        *({"type": "response.output_text.delta", "sequence_number": 2 + n, **ITEM, "delta": f"w{n} "}
          for n in range(9)),
        {"type": "response.output_text.done", "sequence_number": 11, **ITEM, "text": "all of it"},
        {"type": "response.completed", "sequence_number": 12,
         "response": {**RESPONSE, "status": "completed",
                      "usage": {"input_tokens": 7, "input_tokens_details": {"cached_tokens": 2}, "output_tokens": 9}}},
    )  # fmt: skip


def messages():
    return named(
        {"type": "message_start", "message": {**MESSAGE, "usage": {"input_tokens": 5, "cache_read_input_tokens": 2,
                                                                   "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"w{n} "}}
          for n in range(9)),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    )  # fmt: skip


def lm_studio():
    """Every event as LM Studio documents it, of a chat that had to load its model; more pieces of the answer."""
    folder = shared_captures() / "engines/lmstudio"
    events = [json.loads((folder / f"doc.api-v1-chat-event.{number:02}.json").read_text())
              for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 16, 17, 19)]  # fmt: skip
    events[11:12] = [{"type": "message.delta", "content": f"w{number} "} for number in range(8)]
    events[-1]["result"]["model_instance_id"] = events[0]["model_instance_id"] = "m"
    events[-1]["result"]["stats"].update(input_tokens=7, total_output_tokens=9)
    return named(*events)


@pytest.mark.parametrize(
    ("path", "events", "cached"),
    [("/v1/responses", responses, 2), ("/v1/messages", messages, 2), ("/api/v1/chat", lm_studio, None)],
)
def test_a_stream_of_named_events_is_counted(tmp_path, path, events, cached):
    pause = threading.Event()

    def serve(sock):
        read_request(sock)
        sock.sendall(SSE)
        for event in events():
            sock.sendall(b"%x\r\n%s\r\n" % (len(event), event))
            pause.wait(0.002)
        sock.sendall(b"0\r\n\r\n")

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sock.sendall(post(path, b'{"model": "asked for", "stream": true}'))
        assert read_all(sock).endswith(b"0\r\n\r\n")
        running.ended(ok=1)
        seen = running.counted()
    who = {"engine": "engine", "model": "m"}
    assert seen.get(c.PROXY_PROMPT_TOKENS(0, **who)) == 7
    assert seen.get(c.PROXY_CACHED_PROMPT_TOKENS(0, **who)) == cached
    assert seen.get(c.PROXY_GENERATION_TOKENS(0, **who)) == 9
    [first] = c.PROXY_TIME_TO_FIRST_TOKEN.distributions(seen.values).values()
    [gaps] = c.PROXY_INTER_TOKEN_LATENCY.distributions(seen.values).values()
    [took] = c.PROXY_REQUEST_DURATION.distributions(seen.values).values()
    assert (first.count, gaps.count, took.count) == (1, 8, 1)
    assert gaps.sum >= 8 * 0.002
    assert 0 < first.sum < first.sum + gaps.sum <= took.sum


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/responses", {**RESPONSE, "status": "completed", "usage": {"input_tokens": 7, "output_tokens": 9}}),
     ("/v1/messages", {**MESSAGE, "stop_reason": "end_turn", "usage": {"input_tokens": 7, "output_tokens": 9}})],
)  # fmt: skip
def test_an_answer_that_is_not_streamed_is_counted_and_one_that_failed_by_its_error(tmp_path, path, body):
    answers = [json.dumps(body).encode(), b'{"type": "error", "error": {"type": "x", "message": "slot lost"}}']

    def serve(sock):
        for answer in answers:
            read_request(sock)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
            sock.sendall(head + answer)

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sock.sendall(post(path, b'{"model": "m"}') * 2)
        running.ended(ok=1, error=1)
        assert running.value(c.PROXY_GENERATION_TOKENS(0, engine="engine", model="m")) == 9
        assert running.value(c.PROXY_PROMPT_TOKENS(0, engine="engine", model="m")) == 7


@pytest.mark.e2e
def test_llama_cpp_is_counted_as_it_counts_in_each_api_that_it_serves(tmp_path):
    asked = {"model": "tiny-llama", "stream": True}
    chat = [{"role": "user", "content": "one two three four"}]
    requests = {
        "/v1/chat/completions": {"messages": chat, "max_tokens": 24, "stream_options": {"include_usage": True}},
        "/v1/completions": {"prompt": "one two three four", "max_tokens": 24},
        "/v1/responses": {"input": chat, "max_output_tokens": 24},
        "/v1/messages": {"messages": chat, "max_tokens": 24},
    }
    with llama_server(tmp_path) as server, proxy(tmp_path, server.url) as running:
        before = counters(server.url)
        for number, (path, body) in enumerate(requests.items(), 1):
            answer = httpx.post(running.url + path, json={**asked, **body}, timeout=60)
            assert (answer.status_code, path) == (200, path)
            running.ended(ok=number)
        counted, after = running.counted(), counters(server.url)
    who = {"engine": "engine", "model": "tiny-llama"}
    generated = counted.get(c.PROXY_GENERATION_TOKENS(0, **who))
    assert generated == after["tokens_predicted_total"] - before["tokens_predicted_total"] > 0
    # What its cache had, llama.cpp leaves out of its own counter.
    new = counted.get(c.PROXY_PROMPT_TOKENS(0, **who)) - counted.get(c.PROXY_CACHED_PROMPT_TOKENS(0, **who))
    assert new == after["prompt_tokens_total"] - before["prompt_tokens_total"]
    [first] = c.PROXY_TIME_TO_FIRST_TOKEN.distributions(counted.values).values()
    assert first.count == len(requests)
    assert counted.get(c.PROXY_UNOBSERVED(0, engine="engine", reason="path")) in (0, None)


def counters(url):
    lines = httpx.get(url + "/metrics").text.splitlines()
    return {name.removeprefix("llamacpp:"): float(value) for name, value in
            (line.split() for line in lines if line.startswith("llamacpp:"))}  # fmt: skip
