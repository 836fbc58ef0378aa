"""Streams side by side, and where an answer ends."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.truth_server import truth_server
from tokwatt_bench.framing import Framing
from tokwatt_bench.request import examine
from tokwatt_bench.stream import Recording, decode, encode
from tokwatt_bench.wire import Outgoing, Wires
from web import certificates


@pytest.fixture(scope="module")
def server():
    with truth_server() as running:
        yield running


def outgoing(server, model, tokens=16, timeout=20.0):
    url = server.url + "/v1/chat/completions"
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": tokens,
            "stream_options": {"include_usage": True}}  # fmt: skip
    return Outgoing(url, encode(url, json.dumps(body).encode(), {}), timeout)


def test_streams_side_by_side_take_the_time_of_one(server):
    with Wires() as wires:
        begun = time.perf_counter()
        for lane in range(32):
            wires.start(lane, outgoing(server, f"ttft=200,itl=10,tokens={8 + lane}"))
        assert wires.running == 32
        found = []
        while wires.running:
            found += wires.wait()
        seconds = time.perf_counter() - begun
    requests = {key: examine(recording, "openai", 0, "measured") for key, recording in found}
    assert {request.detail for request in requests.values()} == {""}
    assert {lane: request.generated_tokens for lane, request in requests.items()} == {n: 8 + n for n in range(32)}
    assert seconds < 32 * 0.25


def test_waiting_has_an_end(server):
    with Wires() as wires:
        wires.start("slow", outgoing(server, "ttft=5000"))
        assert wires.wait(time.perf_counter() + 0.05) == []
        assert wires.running == 1


def test_waiting_with_nothing_under_way_only_takes_its_time():
    with Wires() as wires:
        assert wires.wait() == []
        end = time.perf_counter() + 0.05
        assert wires.wait(end) == []
        assert time.perf_counter() >= end


def test_one_that_ends_does_not_wait_for_the_others(server):
    with Wires() as wires:
        wires.start("slow", outgoing(server, "ttft=5000"))
        wires.start("quick", outgoing(server, "ttft=1,itl=1"))
        assert [key for key, _ in wires.wait()] == ["quick"]


def test_each_has_its_own_timeout_and_its_own_end(server):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    with Wires() as wires:
        wires.start("late", outgoing(server, "ttft=5000", timeout=0.1))
        wires.start("fine", outgoing(server, "ttft=1,itl=1"))
        wires.start("nobody", Outgoing(nobody, encode(nobody, b"{}", {}), 5.0))
        found = []
        while wires.running:
            found += wires.wait()
    assert {key: recording.end for key, recording in found} == {
        "late": "timeout", "fine": "complete", "nobody": "refused"
    }  # fmt: skip


def test_a_server_that_keeps_the_connection_open_ends_its_answer_all_the_same():
    answers = {
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n",
        "continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    }
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        kept = []

        def serve():
            for _ in answers:
                connection, _ = listener.accept()
                name = connection.recv(65536).rpartition(b"\r\n\r\n")[2].decode()
                connection.sendall(answers[name])
                kept.append(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        with Wires() as wires:
            for name in answers:
                wires.start(name, Outgoing(url, encode(url, name.encode(), {}), 5.0))
            found = []
            while wires.running:
                found += wires.wait()
        thread.join(5)
    for connection in kept:
        connection.close()
    for _, recording in found:
        decode(recording)
    assert {key: (r.end, b"".join(piece for _, piece in r.pieces)) for key, r in found} == dict.fromkeys(
        answers, ("complete", b"hi")
    )


@settings(max_examples=60, deadline=None)
@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=20),
    trailer=st.sampled_from([b"", b"X: y\r\n"]),
)
def test_a_chunked_answer_ends_with_its_last_byte_however_it_is_cut(chunks, cuts, trailer):
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailer + b"\r\n"
    framing, reads, at = Framing(), [], 0
    while at < len(data):
        piece = data[at : at + cuts[len(reads) % len(cuts)]]
        at += len(piece)
        reads.append((len(reads), piece))
        assert framing.over(piece) == (at == len(data))
    recording = Recording(0, reads=reads)
    decode(recording)
    assert recording.end == "complete"
    assert b"".join(piece for _, piece in recording.pieces) == b"".join(chunks)


def test_a_piece_has_the_time_of_the_read_that_completed_it():
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    recording = Recording(0, reads=[(1, head + b"3\r\na"), (5, b"bc\r\n3\r\nde"), (9, b"f\r\n0\r\n\r\n")])
    decode(recording)
    assert [(stamp, piece) for stamp, piece in recording.pieces] == [(1, b"a"), (5, b"bc"), (5, b"de"), (9, b"f")]


def test_streams_over_tls_are_stamped_like_others(tmp_path, monkeypatch):
    pki = certificates.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pki.folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.folder / "server.pem", pki.folder / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"

        def serve():
            for _ in range(2):
                plain, _ = listener.accept()
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for piece in (b"first", b"second"):
                        connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                        time.sleep(0.05)
                    connection.sendall(b"0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with Wires() as wires:
            for lane in range(2):
                wires.start(lane, Outgoing(url, encode(url, b"{}", {}), 5.0))
            found = []
            while wires.running:
                found += wires.wait()
        thread.join(5)
    for _, recording in found:
        decode(recording)
        assert (recording.end, recording.detail) == ("complete", "")
        (first, one), (second, two) = recording.pieces
        assert (one, two) == (b"first", b"second")
        assert recording.sent_ns < first < second
        assert second - first > 20e6
