"""A server that knows when it sent what: the client is held against it before a benchmark (`calibration`).

It runs as a process of its own, on loopback, and speaks the OpenAI API just enough. How it answers is in the name of
the model: `ttft=20,itl=5,tokens=64`, times in milliseconds; where it is called otherwise, as the server was told to.
`GET /truth` gives, by the request's `seed` or its number, when the request was there and when the write of each token
had returned, on the clock that all processes of the machine share, and forgets.
"""

from __future__ import annotations

import heapq
import itertools
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
#: `select` ends up to a millisecond late, so that the last part of a wait is spent looking.
_LOOKING_NS = 1_500_000


def _event(data: bytes) -> bytes:
    line = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(line), line)


_TOKEN = _event(b'{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" word"}}]}')


@dataclass(slots=True)
class _Answer:
    connection: socket.socket
    seed: int
    gap_ns: int
    tokens: int
    received_ns: int
    writes: list[int] = field(default_factory=list)


class _Server:
    def __init__(self, listener: socket.socket, told: str) -> None:
        self._listener, self._how = listener, told
        self._requests = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, b"")
        self._due: list[tuple[int, int, _Answer]] = []
        self._order = itertools.count()
        self._told: dict[int, Any] = {}

    def serve(self) -> None:
        """Until stdin, which is the parent's, ends."""
        self._selector.register(sys.stdin, selectors.EVENT_READ, b"")
        while True:
            for key, _ in self._selector.select(self._wait()):
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._read(key)
            self._write()

    def _wait(self) -> float | None:
        if not self._due:
            return None
        return max(self._due[0][0] - _LOOKING_NS - time.perf_counter_ns(), 0) / 1e9

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ, b"")

    def _read(self, key: selectors.SelectorKey) -> None:
        connection = key.fileobj
        assert isinstance(connection, socket.socket)
        try:
            data = key.data + connection.recv(65536)
        except OSError:
            data = key.data
        now = time.perf_counter_ns()
        head, found, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if data != key.data and (not found or len(body) < length):
            self._selector.modify(connection, selectors.EVENT_READ, data)
            return
        self._selector.unregister(connection)
        if head.startswith(b"GET /truth"):
            self._tell(connection)
        elif head.startswith(b"POST "):
            self._answer(connection, json.loads(body), now)
        else:
            # Some ask which models there are before they ask anything else.
            self._reply(connection, {"object": "list", "data": [{"id": "truth", "object": "model"}]})

    def _answer(self, connection: socket.socket, body: Mapping[str, Any], now: int) -> None:
        name = str(body["model"])
        wanted = dict(part.split("=") for part in (name if "=" in name else self._how).split(","))
        gap, number = round(float(wanted["itl"]) * 1e6), next(self._requests)
        seed = body.get("seed")
        answer = _Answer(connection, number if seed is None else int(seed), gap, int(wanted["tokens"]), now)
        connection.sendall(_HEAD)
        heapq.heappush(self._due, (now + round(float(wanted["ttft"]) * 1e6), next(self._order), answer))

    def _write(self) -> None:
        while self._due and self._due[0][0] <= time.perf_counter_ns():
            _, _, answer = heapq.heappop(self._due)
            with suppress(OSError):
                answer.connection.sendall(_TOKEN)
            answer.writes.append(time.perf_counter_ns())
            if len(answer.writes) < answer.tokens:
                # From the last write, not from when it was due: what was late must not come in a burst.
                heapq.heappush(self._due, (answer.writes[-1] + answer.gap_ns, next(self._order), answer))
            else:
                self._finish(answer)

    def _finish(self, answer: _Answer) -> None:
        usage = {"prompt_tokens": 20, "completion_tokens": answer.tokens}
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}], "usage": usage}
        with suppress(OSError):
            answer.connection.sendall(_event(json.dumps(end).encode()) + _event(b"[DONE]") + b"0\r\n\r\n")
        answer.connection.close()
        self._told[answer.seed] = {"received": answer.received_ns, "writes": answer.writes}

    def _tell(self, connection: socket.socket) -> None:
        told, self._told = self._told, {}
        self._reply(connection, told)

    def _reply(self, connection: socket.socket, what: object) -> None:
        body = json.dumps(what).encode()
        with suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        connection.close()


@contextmanager
def truth_server(told: str = "ttft=20,itl=5,tokens=64") -> Iterator[str]:
    """Its base URL while it runs; `told` is how it answers models that do not say. `OSError` where it cannot start."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "tokwatt_bench.truth", told], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert child.stdin and child.stdout
    try:
        port = child.stdout.readline().strip()
        if not port:
            raise OSError("the server that knows the truth did not start")
        yield f"http://127.0.0.1:{int(port)}"
    finally:
        child.stdin.close()
        child.stdout.close()
        try:
            child.wait(2)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def main() -> None:
    """The child: its port on stdout, then answers until stdin ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        _Server(listener, sys.argv[1]).serve()


if __name__ == "__main__":
    main()
