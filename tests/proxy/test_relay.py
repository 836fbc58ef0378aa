"""What passes the proxy passes untouched, and ends as it would without one."""

import contextlib
import random
import socket
import struct
import threading

import psutil
import pytest

from proxy.proxying import engine, post, proxy, read_all, read_request
from support.net import free_port, get, wait_for
from tokwatt_exporter.catalogue import PROXY_CONNECTIONS, PROXY_UNOBSERVED

CHAT = post("/v1/chat/completions", b'{"model": "m", "stream": true, "messages": []}')
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TOKEN = b'data: {"model":"m","choices":[{"delta":{"content":"x"}}]}\n\n'


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def send_in_pieces(sock, data, dice):
    at = 0
    # Some other program that looks around on this machine may connect, too, and go before it has heard all.
    with contextlib.suppress(ConnectionError):
        while at < len(data):
            size = dice.choice((1, 3, 100, 5_000, 70_000, 300_000))
            sock.sendall(data[at : at + size])
            at += size


@pytest.mark.parametrize("seed", range(4))
def test_bytes_that_are_no_http_pass_both_ways_untouched_however_they_come(tmp_path, seed):
    dice = random.Random(seed)
    up, down = dice.randbytes(1_500_000), dice.randbytes(1_500_000)
    got = []

    def serve(sock):
        sender = threading.Thread(target=send_in_pieces, args=(sock, down, random.Random(seed)))
        sender.start()
        got.append(read_all(sock))
        sender.join()

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sender = threading.Thread(target=send_in_pieces, args=(sock, up, dice))
        sender.start()
        found = bytearray()
        while len(found) < len(down):
            found += sock.recv(65536)
        sender.join()
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""
        assert (bytes(found) == down, got[0] == up) == (True, True)
        wait_for(lambda: running.value(PROXY_UNOBSERVED(1, engine="engine", reason="not_http")) >= 1)


def test_requests_that_do_not_wait_for_answers_are_all_answered_and_counted(tmp_path):
    answer = b'{"model": "m", "choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": 1}}'

    def serve(sock):
        while read_request(sock):
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            sock.sendall(head % len(answer) + answer)

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sock.sendall(CHAT * 5)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).count(answer) == 5
        running.ended(ok=5)


def test_a_client_that_has_sent_all_and_says_so_still_gets_its_answer(tmp_path):
    def serve(sock):
        data = read_all(sock)
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\n%d bytes" % len(data))

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sock.sendall(CHAT)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).endswith(b"%d bytes" % len(CHAT))


def test_an_engine_that_does_not_read_holds_back_a_large_upload_instead_of_filling_memory(tmp_path):
    go = threading.Event()
    size = 150_000_000
    got = []

    def serve(sock):
        go.wait(20)
        total = 0
        while more := sock.recv(1 << 20):
            total += len(more)
        got.append(total)

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        block = bytes(1_000_000)
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        sock.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += sock.send(block[: size - sent])
        assert sent < 40_000_000, "the kernel's buffers and ours"
        go.set()
        sock.settimeout(20)
        while sent < size:
            sent += sock.send(block[: size - sent])
        sock.shutdown(socket.SHUT_WR)
        wait_for(lambda: got, 20)
        assert got[0] > size
        assert psutil.Process(running.process.pid).memory_info().rss < 120_000_000


def test_a_client_that_goes_away_ends_the_request_at_the_engine_and_leaves_no_socket(tmp_path):
    noticed = threading.Event()

    def serve(sock):
        read_request(sock)
        sock.sendall(HEAD)
        try:
            while True:
                sock.sendall(chunk(TOKEN))
                noticed.wait(0.005)
        except OSError:
            noticed.set()

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running:
        for _ in range(5):
            noticed.clear()
            with running.connect() as sock:
                sock.sendall(CHAT)
                assert sock.recv(1000)
            assert noticed.wait(10)
        running.ended(disconnected=5)
        wait_for(lambda: running.sockets() == 0)
        wait_for(lambda: running.value(PROXY_CONNECTIONS(0, engine="engine")) == 0)


def test_an_engine_that_is_killed_in_the_middle_is_seen_as_without_a_proxy(tmp_path):
    def serve(sock):
        read_request(sock)
        # Without a length, an end would look like that of the answer.
        sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + TOKEN * 3)
        assert sock.recv(1) == b"!"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sock.sendall(CHAT)
        found = b""
        while found.count(b"data") < 3:
            found += sock.recv(1000)
        sock.sendall(b"!")
        with pytest.raises(ConnectionResetError):
            read_all(sock)
        running.ended(cut=1)


def test_an_answer_that_ends_with_its_connection_is_whole(tmp_path):
    def serve(sock):
        read_request(sock)
        sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + TOKEN + b"data: [DONE]\n\n")

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sock.sendall(CHAT)
        assert read_all(sock).endswith(b"[DONE]\n\n")
        running.ended(ok=1)


def test_a_client_that_waits_for_100_continue_gets_it_before_its_body_is_there(tmp_path):
    def serve(sock):
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(1)
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}")

    body = b'{"model": "m"}'
    head = post("/v1/chat/completions", body, b"Expect: 100-continue\r\n").removesuffix(body)
    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sock.sendall(head)
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert read_all(sock).endswith(b"{}")
        running.ended(client_error=1)


def test_another_protocol_passes_after_an_upgrade_and_is_not_read(tmp_path):
    def serve(sock):
        read_request(sock)
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
        while data := sock.recv(1000):
            sock.sendall(data[::-1])

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sock.sendall(b"GET /realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 101 ")
        for frame in (b"\x81\x05hello", CHAT):
            sock.sendall(frame)
            assert sock.recv(1000) == frame[::-1]
        wait_for(lambda: running.value(PROXY_UNOBSERVED(1, engine="engine", reason="upgrade")) == 1)
        assert running.statuses() == {}


def test_an_engine_that_does_not_run_is_a_502_with_a_line_that_says_so_and_the_next_start_is_noticed(tmp_path):
    port = free_port()
    with proxy(tmp_path, f"http://127.0.0.1:{port}", name="ollama") as running:
        with running.connect() as sock:
            sock.sendall(post("/api/chat", b'{"model": "m", "x": "%s"}' % (b"y" * 3_000_000)))
            answer = read_all(sock)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert body == (
            b'{"error": {"message": "tokwatt proxy: ollama at http://127.0.0.1:%d refuses connections: is it running?"'
            b', "type": "engine_unreachable"}}\n' % port
        )
        running.ended(unreachable=1)
        assert get(running.url + "/api/tags").status_code == 502
        wait_for(lambda: running.sockets() == 0)
        assert running.log.read_text().count("refuses connections") == 1


def test_idle_clients_cost_the_engine_nothing_and_make_room_for_those_that_ask(tmp_path):
    def serve(sock):
        while read_request(sock):
            sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with (
        engine(serve) as behind,
        proxy(tmp_path, behind.url, descriptors=128) as running,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(200):
            stack.enter_context(running.connect())
        with running.connect() as sock:
            sock.sendall(b"GET /api/tags HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 204")
        assert behind.connections == 1
        assert running.sockets() <= 128


def test_requests_under_way_are_not_closed_for_new_clients(tmp_path):
    go = threading.Event()

    def serve(sock):
        read_request(sock)
        go.wait(20)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

    with (
        engine(serve) as behind,
        proxy(tmp_path, behind.url, descriptors=64) as running,
        contextlib.ExitStack() as stack,
    ):
        asking = [stack.enter_context(running.connect()) for _ in range(12)]
        for sock in asking:
            sock.sendall(CHAT)
        wait_for(lambda: behind.connections == 12)
        for _ in range(60):
            stack.enter_context(running.connect())
        go.set()
        for sock in asking:
            assert sock.recv(1000).endswith(b"{}")


def test_the_end_of_the_proxy_waits_for_a_request_under_way(tmp_path):
    go = threading.Event()

    def serve(sock):
        read_request(sock)
        go.wait(20)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with engine(serve) as behind, proxy(tmp_path, behind.url) as running, running.connect() as sock:
        sock.sendall(CHAT)
        wait_for(lambda: behind.connections == 1)
        running.process.terminate()
        wait_for(lambda: "under way" in running.log.read_text())
        with pytest.raises(ConnectionRefusedError):
            running.connect()
        go.set()
        assert sock.recv(1000).endswith(b"{}")
        assert running.process.wait(10) == 0
        assert not list((running.data_dir / "proxy").glob("*.json"))
