import gc
import socket
import threading

import pytest

from tokwatt_bench import stream, wire
from tokwatt_bench.stream import record


def serve(answer):
    """One answer on a raw socket; its URL, and what was asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked = []

    def run():
        connection, _ = listener.accept()
        with listener, connection:
            data = b""
            while b"\r\n\r\n" not in data or not data.endswith(b"}"):
                piece = connection.recv(65536)
                if b"HTTP/1.1" not in piece and not data:
                    return
                data += piece
            asked.append(data)
            answer(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat", asked, thread


def test_the_request_is_on_the_wire_as_given():
    url, asked, thread = serve(lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
    recording = record(url, b'{"a": 1}', {"Authorization": "Bearer k"}, 5)
    thread.join(5)
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat HTTP/1.1\r\n")
    lines = head.decode().split("\r\n")
    assert f"Host: {url.split('/')[2]}" in lines
    assert {"Authorization: Bearer k", "Content-Length: 8", "Accept-Encoding: identity"} <= set(lines)
    assert body == b'{"a": 1}'
    assert (recording.status, recording.end) == (200, "complete")
    assert [piece for _, piece in recording.pieces] == [b"hi"]


def test_a_proxy_in_the_environment_is_not_used(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    url, _, thread = serve(lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    assert record(url, b"{}", {}, 5).status == 200
    thread.join(5)


def test_pieces_of_one_read_share_its_time_and_later_ones_do_not():
    def answer(connection):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"1\r\na\r\n1\r\nb\r\n")
        threading.Event().wait(0.05)
        connection.sendall(b"1\r\nc\r\n0\r\n\r\n")

    url, _, thread = serve(answer)
    recording = record(url, b"{}", {}, 5)
    thread.join(5)
    [(first, _), (second, _), (third, _)] = recording.pieces
    assert recording.sent_ns < first == second
    assert third - second > 40e6


def test_an_answer_shorter_than_it_was_to_be_is_cut():
    url, _, thread = serve(lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi"))
    recording = record(url, b"{}", {}, 5)
    thread.join(5)
    assert recording.end == "cut"
    assert [piece for _, piece in recording.pieces] == [b"hi"]


def test_the_times_are_in_order():
    url, _, thread = serve(lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
    r = record(url, b"{}", {}, 5)
    thread.join(5)
    assert 0 < r.connect_ns < r.connected_ns <= r.sent_ns < r.pieces[0][0] < r.ended_ns


def test_the_garbage_collector_waits_while_the_answer_comes_in(monkeypatch):
    seen = []
    receive = wire._Wire._receive
    monkeypatch.setattr(wire._Wire, "_receive", lambda *given: (seen.append(gc.isenabled()), receive(*given))[1])
    url, _, thread = serve(lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    record(url, b"{}", {}, 5)
    thread.join(5)
    assert set(seen) == {False}
    assert gc.isenabled()


def test_nobody_there_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    assert record(url, b"{}", {}, 5).end == "refused"


def test_a_name_that_does_not_exist_is_unreachable(monkeypatch):
    def nowhere(*given, **more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    recording = record("http://nowhere.invalid:80/", b"{}", {}, 5)
    assert (recording.end, recording.detail) == ("unreachable", "Name or service not known")


def test_a_server_without_tls_is_unreachable_by_https():
    url, _, thread = serve(lambda c: None)
    recording = record(url.replace("http:", "https:"), b"{}", {}, 2)
    thread.join(5)
    assert recording.end == "unreachable"


def test_an_answer_larger_than_any_real_one_is_given_up(monkeypatch):
    monkeypatch.setattr(stream, "MAX_BYTES", 10_000)

    def answer(connection):
        with pytest.raises(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(50 * 2**20))

    url, _, thread = serve(answer)
    recording = record(url, b"{}", {}, 5)
    thread.join(5)
    assert recording.end == "too_large"
