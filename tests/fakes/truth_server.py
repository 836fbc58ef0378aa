"""A streaming server that knows when it sent what, and with how many tokens: what a benchmark says is held against it.

It runs as a process of its own, for a server in the client's process would share its interpreter lock. What it does is
the name of the model that is asked for: `stall`, `tpc=4`, `itl=2,ttft=20,tokens=128`, several with commas between. The
truth of the last answers is on GET /truth: the time at which each write had returned, on the clock that all processes
of the machine share, with the tokens in it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import socket
import socketserver
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: Tokens of one to four bytes a character, so that cuts fall into the middle of them.
WORDS = (" one", " zwölf", " 三", " 🙂", " five", " x", " sieben", " té")
MODELS = ("base", "stall", "tpc=4")


class Truth(NamedTuple):
    """What was sent for one request; times in nanoseconds. `writes` are (time, tokens) of those with tokens."""

    received_ns: int
    writes: tuple[tuple[int, int], ...]

    @property
    def tokens(self) -> int:
        return sum(tokens for _, tokens in self.writes)

    @property
    def first_token_seconds(self) -> float:
        return (self.writes[0][0] - self.received_ns) / 1e9

    @property
    def gaps_seconds(self) -> list[float]:
        times = [time for time, _ in self.writes]
        return [(after - before) / 1e9 for before, after in itertools.pairwise(times)]


@dataclass
class Behaviour:
    """How to answer, read from the model's name; times in milliseconds."""

    flags: set[str] = field(default_factory=set)
    ttft: float = 20.0
    itl: float = 2.0
    tokens: int = 0
    tpc: int = 1
    burst: int = 1
    think: str = ""

    @classmethod
    def of(cls, model: str, max_tokens: int) -> Behaviour:
        found = cls()
        for word in model.split(","):
            name, _, value = word.partition("=")
            if value:
                kind = type(getattr(found, name))
                setattr(found, name, kind(value))
            else:
                found.flags.add(name)
        found.tokens = found.tokens or max_tokens
        return found

    def __contains__(self, flag: str) -> bool:
        return flag in self.flags


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    server: TruthServer

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            line = self.rfile.readline().decode("latin-1")
            method, path, *_ = line.split() or ("", "")
            headers = {}
            while (text := self.rfile.readline().decode("latin-1").strip()) != "":
                name, _, value = text.partition(":")
                headers[name.lower()] = value.strip()
            body = self.rfile.read(int(headers.get("content-length", 0)))
            received = time.perf_counter_ns()
            if method == "GET":
                self._get(path)
            elif method == "POST":
                Reply(self, path, json.loads(body), received).send()

    def _get(self, path: str) -> None:
        if path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})
        elif path == "/truth":
            self.answer(200, self.server.truths)
        else:
            self.answer(404, {"error": "not here"})

    def answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.wfile.write(b"HTTP/1.1 %d Whatever\r\nContent-Type: application/json\r\n" % status)
        self.wfile.write(b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(data) + data)


class TruthServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.truths: list[tuple[int, list[tuple[int, int]]]] = []
        self.prompts: set[str] = set()


class Reply:
    """One answer: server-sent events, or NDJSON on /api/chat."""

    def __init__(self, handler: _Handler, path: str, body: dict[str, Any], received: int) -> None:
        self._handler, self._body, self._received = handler, body, received
        self._native = path.startswith("/api/")
        limit = body.get("options", {}).get("num_predict") if self._native else body.get("max_tokens")
        self._how = Behaviour.of(body["model"], int(limit or 16))
        self._writes: list[tuple[int, int]] = []
        self._random = random.Random(7)
        self._completion = path.endswith("/v1/completions")
        text = body["prompt"] if self._completion else body["messages"][0]["content"]
        self._prompt_tokens = len(text.split())
        self._cached = self._prompt_tokens if text in handler.server.prompts else 0
        handler.server.prompts.add(text)

    def send(self) -> None:
        how = self._how
        # Before the answer, so that who has it finds its truth; the writes are added as they are made.
        self._handler.server.truths.append((self._received, self._writes))
        if "err500" in how:
            self._handler.answer(500, {"error": {"message": "out of memory"}})
        elif odd := next((ODD[flag] for flag in how.flags if flag in ODD), None):
            odd(self._handler.connection)
        else:
            self._stream()

    def _stream(self) -> None:
        how = self._how
        kind = "application/x-ndjson" if self._native else "text/event-stream"
        framing = "" if "close_delimited" in how else "Transfer-Encoding: chunked\r\n"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{framing}Connection: close\r\n\r\n".encode()
        self._handler.connection.sendall(head)
        begin = time.perf_counter_ns()
        if "role_at_0" in how:
            self._write([self._delta(role="assistant", content="")])
        groups = list(self._groups())
        done = 0
        for number, group in enumerate(groups):
            due = begin + int((how.ttft + self._delay(done, number)) * 1e6)
            self._wait(due)
            tokens = sum(count for count, _ in group)
            self._write([event for _, event in group], tokens)
            done += tokens
            if number >= len(groups) // 2 and (cut := next((CUTS[f] for f in how.flags if f in CUTS), None)):
                cut(self)
                return
        self._end()

    def _groups(self) -> Iterator[list[tuple[int, Any]]]:
        """The writes: events with their tokens. The first one is alone: with it the prefill ends."""
        how = self._how
        sizes = [1]
        while sum(sizes) < how.tokens:
            sizes.append(min(how.tpc, how.tokens - sum(sizes)))
        if "empty" in how:
            return
        events, done = [], 0
        for size in sizes:
            text = "".join(WORDS[(done + part) % len(WORDS)] for part in range(size))
            done += size
            events.append((size, self._token(text, done)))
        yield events[:1]
        for start in range(1, len(events), how.burst):
            yield events[start : start + how.burst]

    def _token(self, text: str, done: int) -> Any:
        how = self._how
        fields: dict[str, Any] = {"content": text}
        if how.think and done <= how.tokens // 2:
            names = ("reasoning_content", "reasoning") if how.think == "both" else (how.think,)
            fields = dict.fromkeys(names, text) | ({"content": None} if how.think == "both" else {})
        if "tools" in how:
            fields = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
        last = done == how.tokens
        return self._delta(
            finish="length" if last and "finish_on_last" in how else None,
            usage=self._usage(done) if "usage_every" in how or (last and "usage_on_last" in how) else None,
            **fields,
        )

    def _delta(self, finish: str | None = None, usage: Any = None, **fields: Any) -> Any:
        if self._native:
            return {"model": "m", "message": {"role": "assistant", **fields}, "done": False}
        generated = {"text": fields.get("content", "")} if self._completion else {"delta": fields}
        choice = {"index": 0, **generated, "finish_reason": finish}
        return {"object": "chat.completion.chunk", "choices": [choice], **({"usage": usage} if usage else {})}

    def _usage(self, tokens: int) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": self._prompt_tokens + tokens,
        }
        if "cached_unknown" not in self._how:
            usage["prompt_tokens_details"] = {"cached_tokens": self._cached}
        return usage

    def _end(self) -> None:
        # Where client and server share a core, the client reads the last token only when the server rests.
        time.sleep(0.001)
        how, tokens = self._how, sum(tokens for _, tokens in self._writes)
        if self._native:
            self._write([{"model": "m", "message": {"role": "assistant", "content": ""}, "done": True,
                          "done_reason": "length", "eval_count": tokens, "prompt_eval_count": self._prompt_tokens,
                          "prompt_eval_duration": 10_000_000, "eval_duration": 1, "load_duration": 1}])  # fmt: skip
            self._close()
            return
        events: list[Any] = []
        if "finish_on_last" not in how:
            events.append(self._delta(finish="length"))
        wanted = (self._body.get("stream_options") or {}).get("include_usage")
        if "nousage" not in how and (wanted or "usage_twice" in how):
            usage = {"choices": [], "usage": self._usage(tokens)}
            if "timings" in how:
                usage["timings"] = {"predicted_n": tokens, "cache_n": 0, "prompt_n": self._prompt_tokens,
                                    "prompt_ms": how.ttft}  # fmt: skip
            events += [usage] * (2 if "usage_twice" in how else 1)
        self._write(events)
        if "no_done" not in how:
            self._frame(self._line_end(b"data: [DONE]"))
        if "stay" in how:
            time.sleep(30)
        self._close()

    def _write(self, events: list[Any], tokens: int = 0) -> None:
        data = b"".join(self._encoded(event) for event in events)
        if "keepalive" in self._how:
            data = self._line_end(b": keep-alive") + data
        if "split" in self._how:
            # In the middle of the event, and of a character where there is a long one.
            at = next((i for i, byte in enumerate(data) if byte >= 0xC0), len(data) // 2 - 1) + 1
            self._frame(data[:at])
            time.sleep(0.0005)
            data = data[at:]
        self._frame(data)
        if tokens:
            self._writes.append((time.perf_counter_ns(), tokens))

    def _encoded(self, event: Any) -> bytes:
        data = json.dumps(event, ensure_ascii=False).encode()
        if self._native:
            return data + b"\n"
        return self._line_end((b"data:" if "nospace" in self._how else b"data: ") + data)

    def _line_end(self, line: bytes) -> bytes:
        end = b"\r\n" if "crlf" in self._how else b"\r" if "cr" in self._how else b"\n"
        return line + end + end

    def _frame(self, data: bytes) -> None:
        if "close_delimited" not in self._how:
            data = b"%x\r\n" % len(data) + data + b"\r\n"
        self._handler.connection.sendall(data)

    def _close(self) -> None:
        if "close_delimited" not in self._how:
            self._handler.connection.sendall(b"0\r\n\r\n")

    def _delay(self, done: int, number: int) -> float:
        """Milliseconds after the first token at which the next write is due: when its last token is ready."""
        how = self._how
        if not number:
            return 0.0
        ready = min(done + how.tpc * how.burst, how.tokens) - 1
        delay = ready * how.itl
        if "stall" in how and number > 8:
            delay += 500
        return delay + (self._random.uniform(-0.4, 0.4) * how.itl if "jitter" in how else 0.0)

    @staticmethod
    def _wait(due_ns: int) -> None:
        while (left := due_ns - time.perf_counter_ns()) > 0:
            time.sleep(left / 1e9)

    # How an answer may end before its end

    def cut(self) -> None:
        """The connection is reset."""
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._handler.connection.close()

    def cut_clean(self) -> None:
        """The body ends as it should, and that is all."""
        self._close()

    def cut_short(self) -> None:
        """The connection is closed in the middle of the body."""

    def cut_error(self) -> None:
        """An error event, then what a whole stream ends with."""
        self._frame(self._encoded({"error": {"message": "slot unavailable", "code": 500}}))
        if not self._native:
            self._frame(self._line_end(b"data: [DONE]"))
        self._close()


CUTS: dict[str, Callable[[Reply], None]] = {
    "cut": Reply.cut, "cutclean": Reply.cut_clean, "cutshort": Reply.cut_short, "cuterr": Reply.cut_error,
}  # fmt: skip

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def _garbage(connection: socket.socket) -> None:
    connection.sendall(_HEAD + b"data: {this is not json\n\ndata: [DONE]\n\n")


def _page(connection: socket.socket) -> None:
    connection.sendall(_HEAD + b"<html><body>Welcome to nginx!</body></html>\n")


def _binary(connection: socket.socket) -> None:
    connection.sendall(_HEAD + bytes(range(256)) * 400)


def _not_http(connection: socket.socket) -> None:
    connection.sendall(b"\x00\xff\x13\x37 not http\r\n\r\n" * 20)


def _huge_line(connection: socket.socket) -> None:
    connection.sendall(_HEAD + b"data: " + b"x" * 2**20 + b"\n\n")


def _nested(connection: socket.socket) -> None:
    connection.sendall(_HEAD + b"data: " + b"[" * 200_000 + b"\n\n")


def _endless(connection: socket.socket) -> None:
    connection.sendall(_HEAD)
    event = b'data: {"choices":[{"delta":{"content":" more"}}]}\n\n'
    while True:
        connection.sendall(event)
        time.sleep(0.01)


def _loris(connection: socket.socket) -> None:
    for byte in _HEAD * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def _silent(connection: socket.socket) -> None:
    time.sleep(30)


def _mute(connection: socket.socket) -> None:
    time.sleep(0.5)
    connection.sendall(_HEAD)
    time.sleep(30)


def _nothing(connection: socket.socket) -> None:
    connection.sendall(_HEAD)


def _hang_up(connection: socket.socket) -> None:
    """Not a byte."""


def _redirect(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:9/v1\r\nContent-Length: 0\r\n\r\n")


#: What is no stream at all.
ODD: dict[str, Callable[[socket.socket], None]] = {
    "garbage": _garbage, "page": _page, "binary": _binary, "not_http": _not_http, "huge_line": _huge_line,
    "nested": _nested, "endless": _endless, "loris": _loris, "silent": _silent, "mute": _mute, "nothing": _nothing,
    "hang_up": _hang_up, "redirect": _redirect,
}  # fmt: skip


class Running(NamedTuple):
    """A truth server that runs."""

    url: str

    def truths(self) -> list[Truth]:
        """What it has sent, request by request."""
        # Not at the top: the server in a process of its own is not where `support` is found.
        from support.net import get

        found = get(self.url + "/truth").json()
        return [Truth(received, tuple((time, tokens) for time, tokens in writes)) for received, writes in found]


@contextlib.contextmanager
def truth_server() -> Iterator[Running]:
    """A truth server as a process of its own."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process.stdout:
        try:
            yield Running(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.kill()
            process.wait()


def main() -> None:
    """Serve on a free port, which is printed first."""
    with TruthServer() as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
