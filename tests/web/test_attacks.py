"""What clients do to a server that listens: by accident, by fault and on purpose."""

import contextlib
import select
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from support.net import PLAIN
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.sampler import Sampler
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.web import server as server_module
from tokwatt_exporter.web.connection import CLOSE_SECONDS, REQUEST_SECONDS, Connection
from web.serving import (
    FakeDaemon,
    ask,
    connect,
    cpu_seconds,
    read_all,
    running,
    running_elsewhere,
    seconds_of,
    settings,
    status,
    write,
)

#: A scrape takes a millisecond; this is for a machine on which other tests run, and far below what an attack takes.
SOON = 1.0


@contextlib.contextmanager
def idle_clients(port: int, count: int):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(port)) for _ in range(count)]


def closed(sock: socket.socket, within: float) -> bool:
    """Whether the other side closes within so many seconds."""
    end = time.monotonic() + within
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while select.select([sock], [], [], max(end - time.monotonic(), 0))[0]:
            if not sock.recv(4096):
                return True
        return False
    return True


def open_ones(clients: list[socket.socket]) -> list[int]:
    return [number for number, sock in enumerate(clients) if not closed(sock, 0)]


def test_scrapes_are_answered_while_200_idle_clients_hold_on(web):
    with idle_clients(web.port, 200) as clients:
        assert max(seconds_of(lambda: ask(web.port)) for _ in range(20)) < SOON
        assert len(open_ones(clients)) <= server_module.MAX_CONNECTIONS


@pytest.mark.e2e
def test_300_idle_clients_do_not_use_up_256_descriptors():
    with running_elsewhere(descriptors=256) as (process, port), idle_clients(port, 300):
        before, began = cpu_seconds(process), time.monotonic()
        answers = []
        slowest = max(seconds_of(lambda: answers.append(status(ask(port)))) for _ in range(20))
        time.sleep(1)
        assert set(answers) == {200}
        assert slowest < SOON
        assert (cpu_seconds(process) - before) / (time.monotonic() - began) < 0.25


def test_a_burst_of_clients_is_not_let_in_all_at_once(monkeypatch):
    held = []

    class Counting(Connection):
        def __init__(self, *args):
            super().__init__(*args)
            held.append(len(server._open))

    monkeypatch.setattr(server_module, "Connection", Counting)
    server = server_module.Server(settings(), FakeDaemon(), SelfMetrics())
    # They wait in the kernel until the server starts, and are all there at once then.
    with idle_clients(server.addresses[0].port, 120):
        server.start()
        assert status(ask(server.addresses[0].port)) == 200
        server.stop()
    assert len(held) == 121
    assert max(held) < server_module.MAX_CONNECTIONS + 16


@pytest.mark.e2e
def test_a_server_without_a_descriptor_left_answers_again_when_there_is_one():
    with running_elsewhere(descriptors=40) as (process, port), idle_clients(port, 100):
        before = cpu_seconds(process)
        time.sleep(1)
        assert cpu_seconds(process) - before < 0.25
        assert status(ask(port)) == 200


def test_the_client_that_has_been_idle_longest_makes_room(web):
    with idle_clients(web.port, server_module.MAX_CONNECTIONS) as clients:
        assert len(open_ones(clients)) == server_module.MAX_CONNECTIONS
        assert status(ask(web.port)) == 200
        assert closed(clients[0], 1)
        assert len(open_ones(clients)) == server_module.MAX_CONNECTIONS - 1
        assert web.rejected("limit") == 1


def test_a_request_that_is_being_answered_is_not_what_makes_room():
    going_on, go = threading.Event(), threading.Event()

    def query(name, params):
        going_on.set()
        go.wait(20)
        return [{"metric": "m"}]

    with running(query) as web, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(web.get, "/api/v1/query/series")
        assert going_on.wait(5)
        with idle_clients(web.port, 2 * server_module.MAX_CONNECTIONS):
            assert status(ask(web.port)) == 200
        go.set()
        assert answer.result().json()["rows"] == [{"metric": "m"}]


def test_clients_that_never_read_their_answers_do_not_keep_others_out(web):
    requests = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000
    with idle_clients(web.port, server_module.MAX_CONNECTIONS) as clients:
        for sock in clients:
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.send(requests)
        time.sleep(0.5)
        assert status(ask(web.port)) == 200


@pytest.fixture(scope="module")
def slow_clients():
    """Seconds until each kind of slow client was closed, and how many time-outs were counted."""
    with running() as web, contextlib.ExitStack() as stack:
        idle, half, trickle, again = (stack.enter_context(connect(web.port)) for _ in range(4))
        began = time.monotonic()
        half.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
        again.sendall(b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
        seen = b""
        while b"is ready" not in seen:
            seen += again.recv(4096)
        again.sendall(b"GET /")
        waiting = {"idle": idle, "half": half, "trickle": trickle, "again": again}
        after = {}
        while waiting and time.monotonic() - began < 20:
            with contextlib.suppress(ConnectionError):
                trickle.send(b"G")
            for name in [name for name, sock in waiting.items() if closed(sock, 0.05)]:
                after[name] = time.monotonic() - began
                del waiting[name]
            time.sleep(0.2)
        yield after, web.rejected("timeout")


@pytest.mark.parametrize("kind", ["idle", "half", "trickle", "again"])
def test_a_client_without_a_whole_request_is_closed_in_time(slow_clients, kind):
    after, _ = slow_clients
    assert REQUEST_SECONDS - 1 < after[kind] < 2 * REQUEST_SECONDS + 2


def test_every_client_that_ran_out_of_time_is_counted(slow_clients):
    assert slow_clients[1] == 4


def test_a_client_that_was_served_may_stay_for_the_next_scrape(web):
    with httpx.Client(base_url=web.url, trust_env=False, verify=PLAIN) as client:
        client.get("/metrics")
        time.sleep(REQUEST_SECONDS + 1)
        assert client.get("/metrics").status_code == 200
    assert web.rejected("timeout") == 0


@pytest.fixture
def tls_web(tmp_path, pki):
    with running(web_config_file=write(tmp_path / "web.yml", pki.tls_config())) as running_server:
        yield running_server


def scrape_tls(port: int, pki) -> int:
    with connect(port) as plain, pki.trust().wrap_socket(plain, server_hostname="localhost") as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return status(read_all(sock))


def test_idle_tcp_clients_do_not_hold_up_tls(tls_web, pki):
    with idle_clients(tls_web.port, 100):
        for _ in range(5):
            assert seconds_of(lambda: scrape_tls(tls_web.port, pki)) < SOON
        assert scrape_tls(tls_web.port, pki) == 200


def test_a_tls_handshake_has_its_time(tls_web):
    with connect(tls_web.port) as silent, connect(tls_web.port) as trickle:
        trickle.sendall(b"\x16\x03\x01")
        assert not closed(silent, REQUEST_SECONDS - 1)
        assert closed(silent, 2)
        assert closed(trickle, 2)
    assert tls_web.rejected("timeout") == 2


def test_a_tls_client_that_never_says_goodbye_is_not_waited_for(tls_web, pki):
    with connect(tls_web.port) as plain, plain.dup() as wire, pki.trust().wrap_socket(
        plain, server_hostname="localhost"
    ) as sock:  # fmt: skip
        sock.sendall(b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        read_all(sock)
        assert closed(wire, CLOSE_SECONDS + 2)


@pytest.mark.e2e
def test_300_clients_that_hang_in_their_handshakes_do_not_use_up_256_descriptors(tmp_path, pki):
    config = write(tmp_path / "web.yml", pki.tls_config())
    with running_elsewhere(descriptors=256, web_config_file=str(config)) as (_, port), idle_clients(port, 300):
        assert [scrape_tls(port, pki) for _ in range(5)] == [200] * 5


def test_plain_http_on_the_tls_port_is_closed_and_harms_nobody(tls_web, pki):
    assert status(ask(tls_web.port)) == 0
    assert scrape_tls(tls_web.port, pki) == 200


class Broken(Collector):
    name = "broken"

    def read(self):
        raise ValueError("no such sensor")


class Sound(Collector):
    name = "sound"

    def read(self):
        return [c.MEMORY_SIZE(2**30)]


def test_one_failing_collector_costs_only_its_own_metrics(web):
    sampler = Sampler([Broken(), Sound()], SelfMetrics(), 5)
    web.daemon.latest = sampler.sample()
    sampler.stop()
    answer = web.get()
    assert answer.status_code == 200
    assert f"{c.MEMORY_SIZE.name} 1.073741824e+09" in answer.text
    assert f'{c.COLLECTOR_SUCCESS.name}{{collector="broken"}} 0.0' in answer.text


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=abc", "version=9.9.9", ";q=;,;", "a/b;version"]
)
def test_a_malformed_accept_header_gets_text(web, accept):
    answer = web.get(headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")


HEAD = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (HEAD + b"Host: localhost\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\r\n\r\nhello", 413),
        (HEAD + b"Content-Length: 99999999999\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 413),
        (HEAD + b"X-Long: " + b"a" * 30_000 + b"\r\n\r\n", 431),
        (HEAD + b"".join(b"X-%d: a\r\n" % number for number in range(3_000)) + b"\r\n", 431),
        (HEAD.replace(b"/metrics", b"/" + b"a" * 30_000) + b"\r\n", 431),
        (HEAD.replace(b"GET", b"POST") + b"\r\n", 405),
        (HEAD.replace(b"GET", b"OPTIONS") + b"\r\n", 405),
        (HEAD.replace(b"GET", b"TRACE") + b"\r\n", 405),
        (HEAD.replace(b"/metrics", b"http://evil.example/metrics") + b"\r\n", 404),
        (HEAD + b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 200),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 421),
    ],
)
def test_what_is_no_plain_get_is_refused_and_closed(web, request_bytes, expected):
    answer = ask(web.port, request_bytes)
    assert status(answer) == expected
    assert status(ask(web.port)) == 200


def test_a_websocket_is_refused(web):
    request = (
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert status(ask(web.port, request)) == 403


def test_a_client_that_closes_its_half_after_asking_gets_its_answer(web):
    with connect(web.port) as sock:
        sock.sendall(b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert status(read_all(sock)) == 200


def test_clients_that_vanish_leave_no_word_in_the_log(web, caplog):
    for _ in range(20):
        sock = connect(web.port)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.close()
    assert status(ask(web.port)) == 200
    assert not caplog.records


def test_sixty_clients_at_once_are_all_answered(web):
    with ThreadPoolExecutor(60) as pool:
        assert [status(answer) for answer in pool.map(lambda _: ask(web.port), range(180))] == [200] * 180


def test_stopping_closes_every_connection():
    with running() as web, idle_clients(web.port, 10) as clients:
        assert status(ask(web.port)) == 200
        assert seconds_of(web.server.stop) < 3
        assert all(closed(sock, 1) for sock in clients)
        with pytest.raises(ConnectionRefusedError):
            connect(web.port)
