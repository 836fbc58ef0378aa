"""Many clients that crawl take nothing from those that do not, and leave nothing behind."""

import asyncio
import contextlib
import socket
import threading

import psutil

from proxy.proxying import engine, post, proxy, read_all, read_request
from support.net import wait_for
from tokwatt_exporter.catalogue import PROXY_CONNECTIONS
from tokwatt_exporter.proxy.relay import Relay, Upstream

CRAWLERS = 256
CHAT = post("/v1/chat/completions", b'{"model": "m", "stream": true}')
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
TOKEN = b'data: {"model":"m","choices":[{"delta":{"content":"x"}}]}\n\n'
QUICK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    + b'data: {"model":"quick","choices":[{"delta":{"content":"x"}}]}\n\n' * 3
    + b'data: {"choices":[],"usage":{"completion_tokens":3}}\n\ndata: [DONE]\n\n'
)


def test_a_crowd_that_crawls_delays_nobody_and_leaves_no_socket_behind(tmp_path):
    held_back, over = threading.Event(), threading.Event()

    def serve(sock):
        request = read_request(sock)
        if b"quick" in request:
            sock.sendall(QUICK)
        elif b"flood" in request:
            flood(sock, held_back, over)
        elif request:
            sock.sendall(ENDLESS)
            while not over.wait(0.1):
                sock.sendall(TOKEN)

    with (
        engine(serve) as behind,
        proxy(tmp_path, behind.url) as running,
        contextlib.ExitStack() as stack,
    ):
        # None takes anything of its answer, and half do not get to the end of their request.
        crawling = [stack.enter_context(running.connect()) for _ in range(CRAWLERS)]
        for number, sock in enumerate(crawling):
            sock.sendall(CHAT if number % 2 else CHAT[:-1])
        flooded = stack.enter_context(running.connect())
        flooded.sendall(post("/v1/completions", b'{"model": "flood"}'))
        assert held_back.wait(60), "the engine does not send what its client does not take"
        wait_for(lambda: behind.connections == CRAWLERS + 1)
        for _ in range(20):
            with running.connect() as sock:
                sock.sendall(post("/v1/chat/completions", b'{"model": "quick"}'))
                assert read_all(sock) == QUICK
        running.ended(ok=20)
        # One that crawls to its end is served as well.
        crawling[0].sendall(CHAT[-1:])
        assert crawling[0].recv(len(ENDLESS)) == ENDLESS
        assert psutil.Process(running.process.pid).memory_info().rss < 150_000_000
        stack.close()
        wait_for(lambda: running.sockets() == 0, 20)
        wait_for(lambda: running.value(PROXY_CONNECTIONS(0, engine="engine")) == 0, 20)
        over.set()


def flood(sock, held_back, over):
    """Send until the other side takes no more."""
    sock.sendall(ENDLESS)
    sock.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while True:
            sock.sendall(TOKEN * 1000)
    held_back.set()
    over.wait(60)


def test_an_engine_that_is_killed_leaves_no_socket_behind(tmp_path):
    go = threading.Event()

    def serve(sock):
        read_request(sock)
        sock.sendall(ENDLESS + TOKEN * 1000)
        go.wait(60)

    with (
        engine(serve) as behind,
        proxy(tmp_path, behind.url) as running,
        contextlib.ExitStack() as stack,
    ):
        clients = [stack.enter_context(running.connect()) for _ in range(32)]
        for sock in clients:
            sock.sendall(CHAT)
        for sock in clients:
            assert sock.recv(1000)
        go.set()
        for sock in clients:
            with contextlib.suppress(ConnectionResetError):
                read_all(sock)
        wait_for(lambda: running.sockets() == 0, 20)
        running.ended(cut=32)


def test_a_side_that_vanishes_without_a_word_is_asked_after():

    class Nobody:
        def __init__(self):
            self.gone = asyncio.Event()

        def sent(self, at_ns, data): ...

        def answered(self, at_ns, data): ...

        def ended(self, at_ns, how): ...

        def reached(self): ...

        def closed(self, relay):
            self.gone.set()

    def serve(sock):
        sock.sendall(sock.recv(1))
        sock.recv(1)

    async def connected(port):
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        mine = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        with listener, mine:
            relay = Relay(Upstream("127.0.0.1", port), nobody := Nobody(), nobody)
            await loop.connect_accepted_socket(lambda: relay.client, theirs)
            mine.setblocking(False)
            await loop.sock_sendall(mine, b"x")
            assert await loop.sock_recv(mine, 1) == b"x"
            sockets = [side.transport.get_extra_info("socket") for side in (relay.client, relay.engine)]
            asked = [sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for sock in sockets]
            relay.abort()
            await nobody.gone.wait()
            return asked

    with engine(serve) as behind:
        assert asyncio.run(connected(int(behind.url.rpartition(":")[2]))) == [1, 1]
