"""What is counted is what the engine did."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fakes.truth_server import truth_server
from proxy.proxying import engine, post, proxy, read_all, read_request
from support.captures import shared_captures
from support.net import wait_for
from tokwatt_bench.stream import record
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.snapshot import Snapshot

PROMPT = "Wovon man nicht sprechen kann"


@pytest.fixture(scope="module")
def server():
    with truth_server() as running:
        yield running


def ask(url, model, path="/v1/chat/completions", tokens=32, **more):
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "stream": True, "max_tokens": tokens,
            "options": {"num_predict": tokens}, "stream_options": {"include_usage": True}, **more}  # fmt: skip
    return record(url + path, json.dumps(body).encode(), {}, 30.0)


def spread(seen: Snapshot, family, **labels):
    [found] = [one for key, one in family.distributions(seen.values).items() if dict(key) == labels]
    return found


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_tokens_and_times_are_the_truth(server, tmp_path, path):
    with proxy(tmp_path, server.url) as running:
        before = len(server.truths())
        for _ in range(4):
            assert ask(running.url, "base", path, tokens=48).end == "complete"
        running.ended(ok=4)
        truths = server.truths()[before:]
        seen = running.counted()
    labels = {"engine": "engine", "model": "m" if path.startswith("/api") else "base"}
    assert seen.get(c.PROXY_GENERATION_TOKENS(0, **labels)) == sum(truth.tokens for truth in truths)
    assert seen.get(c.PROXY_PROMPT_TOKENS(0, **labels)) == 4 * len(PROMPT.split())
    first = spread(seen, c.PROXY_TIME_TO_FIRST_TOKEN, **labels)
    # The server's clock begins when it has the request, ours when the client's bytes came: ours is never shorter.
    assert first.count == 4
    assert sum(truth.first_token_seconds for truth in truths) <= first.sum + 0.002
    gaps = spread(seen, c.PROXY_INTER_TOKEN_LATENCY, **labels)
    assert gaps.count == sum(len(truth.gaps_seconds) for truth in truths)
    assert gaps.sum == pytest.approx(sum(sum(truth.gaps_seconds) for truth in truths), rel=0.2)
    assert spread(seen, c.PROXY_REQUEST_DURATION, status="2xx", **labels).count == 4


def test_a_chunk_of_several_tokens_is_as_many_gaps_of_its_share(server, tmp_path):
    with proxy(tmp_path, server.url) as running:
        ask(running.url, "tpc=4,itl=5", tokens=65, stream_options={"include_usage": True})
        running.ended(ok=1)
        gaps = spread(running.counted(), c.PROXY_INTER_TOKEN_LATENCY, engine="engine", model="tpc=4,itl=5")
    assert 60 <= gaps.count <= 68
    assert gaps.sum / gaps.count == pytest.approx(0.005, rel=0.3)


def test_chunks_are_not_tokens_where_nobody_counted(server, tmp_path):
    with proxy(tmp_path, server.url) as running:
        ask(running.url, "base,nousage")
        running.ended(ok=1)
        seen = running.counted()
    assert seen.get(c.PROXY_GENERATION_TOKENS(0, engine="engine", model="base,nousage")) is None
    assert c.PROXY_INTER_TOKEN_LATENCY.distributions(seen.values) == {}
    assert len(c.PROXY_TIME_TO_FIRST_TOKEN.distributions(seen.values)) == 1
    assert seen.get(c.PROXY_UNOBSERVED(0, engine="engine", reason="no_count")) == 1


@pytest.mark.parametrize(
    ("model", "status"),
    [("cut", "cut"), ("cutclean", "cut"), ("cutshort", "cut"), ("cuterr", "error"), ("garbage", "error"),
     ("nothing", "cut"), ("hang_up", "cut"), ("err500", "5xx"), ("redirect", "3xx"), ("nested", "error")],
)  # fmt: skip
def test_a_request_that_fails_is_counted_by_how_it_failed(server, tmp_path, model, status):
    with proxy(tmp_path, server.url) as running:
        direct, through = ask(server.url, model), ask(running.url, model)
        assert (through.end, through.status) == (direct.end, direct.status)
        running.ended(**{{"5xx": "server_error", "3xx": "3xx"}.get(status, status): 1})


def test_many_streams_at_once_are_each_counted(server, tmp_path):
    with proxy(tmp_path, server.url) as running, ThreadPoolExecutor(64) as pool:
        done = list(pool.map(lambda _: ask(running.url, "itl=10", tokens=16).end, range(64)))
        assert done == ["complete"] * 64
        running.ended(ok=64)
        assert running.value(c.PROXY_GENERATION_TOKENS(0, engine="engine", model="itl=10")) == 64 * 16


@pytest.mark.parametrize(
    ("capture", "path", "model", "tokens"),
    [("llama.cpp/chat.plain.http", "/v1/chat/completions", None, True),
     ("mlx-lm/chat.plain.http", "/v1/chat/completions", None, True),
     ("mlx-lm/chat.stream.usage.http", "/v1/chat/completions", None, True)],
)  # fmt: skip
def test_answers_of_real_engines_are_counted(tmp_path, capture, path, model, tokens):
    raw = (shared_captures() / "engines" / capture).read_bytes()
    wire = raw[raw.index(b"HTTP/1.") :]

    def serve(sock):
        read_request(sock)
        sock.sendall(wire)

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sock.sendall(post(path, b'{"model": "asked for"}'))
        assert read_all(sock) == wire
        running.ended(ok=1)
        assert bool(running.counted().values.get(c.PROXY_GENERATION_TOKENS)) is tokens


def test_lm_studios_own_api_is_counted_as_a_whole(tmp_path):
    body = (shared_captures() / "engines/lmstudio/doc.api-v1-chat.01.json").read_bytes()

    def serve(sock):
        read_request(sock)
        sock.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sock.sendall(post("/api/v1/chat", b'{"model": "granite"}'))
        running.ended(ok=1)
        seen = running.counted()
        who = {"engine": "engine", "model": "ibm/granite-4-micro"}
        assert seen.get(c.PROXY_GENERATION_TOKENS(0, **who)) == 586
        assert seen.get(c.PROXY_PROMPT_TOKENS(0, **who)) == 646
        assert c.PROXY_TIME_TO_FIRST_TOKEN.distributions(seen.values) == {}


def test_a_model_that_is_loaded_or_dropped_is_no_request_for_text(tmp_path):
    done = threading.Event()

    def serve(sock):
        read_request(sock)
        body = b'{"model": "m", "response": "", "done": true, "done_reason": "unload"}'
        sock.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        done.set()

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sock.sendall(post("/api/generate", b'{"model": "m", "keep_alive": 0}'))
        assert done.wait(10)
        with running.connect() as other:
            other.sendall(post("/api/embed", b"{}"))
            other.recv(1000)
        wait_for(lambda: running.value(c.PROXY_UNOBSERVED(0, engine="engine", reason="path")) == 1)
        assert running.statuses() == {}


def test_neither_prompt_nor_answer_is_in_any_file(tmp_path, server):
    with proxy(tmp_path, server.url, "--log.level", "debug") as running:
        answer = b"".join(piece for _, piece in ask(running.url, "base").pieces)
        ask(running.url, "garbage")
        running.ended(ok=1, error=1)
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(files) >= 3
        said = b"".join(path.read_bytes() for path in files)
    assert b"zw\xc3\xb6lf" in answer
    for marker in (PROMPT.encode(), "zwölf".encode(), b"zw\\u00f6lf", b"this is not json"):
        assert marker not in said
    assert all(path.stat().st_mode & 0o077 == 0 for path in files if path.suffix == ".json")
