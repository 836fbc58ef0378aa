"""One request and its answer as they passed: which model, how it ended, when tokens came and how many there were."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence
from urllib.parse import urlsplit

from tokwatt_exporter.engines.answers import clean
from tokwatt_exporter.proxy.counts import Seen
from tokwatt_exporter.proxy.framing import Head
from tokwatt_exporter.proxy.gaps import Arrivals
from tokwatt_exporter.streams.answer import Answer, error_in
from tokwatt_exporter.streams.stream import DIALECTS, Piece, Stream

#: Ends of paths that generate text, and the dialect of their answers.
PATHS = {
    "/chat/completions": "openai", "/completions": "openai", "/api/chat": "ollama", "/api/generate": "ollama",
    "/api/v1/chat": "lm_studio", "/responses": "responses", "/v1/messages": "anthropic",
}  # fmt: skip
#: Where the name of a model is looked for: the beginning and the end of a body.
_EDGE = 64 * 1024
#: Answers that come as a whole are kept until they have; streams are read as they come.
MAX_WHOLE_BYTES = 2 * 2**20
MAX_STREAM_BYTES = 64 * 2**20
#: Chunks of a stream that are kept as the reader has them.
_RECENT = 64
#: Inside a text every quotation mark has a backslash before it: this finds keys only.
_MODEL = re.compile(rb'"model(?:_instance_id)?"\s*:\s*("(?:[^"\\]|\\.){1,400}")')


def dialect(head: Head) -> str | None:
    """The dialect in which a request is answered; None where it generates no text that is understood."""
    path = urlsplit(head.target).path.rstrip("/")
    return next((name for end, name in PATHS.items() if path.endswith(end)), None) if head.method == "POST" else None


class Exchange:
    """Takes a request and its answer piece by piece. `dialect` is None for one that is not counted."""

    def __init__(self, head: Head) -> None:
        self.method = head.method
        self.dialect = dialect(head)
        self.missed: str | None = None
        self._edges = b"", b""
        self._asked_ns = 0
        self._status = 0
        self._streamed = False
        self._stream: Stream | None = None
        self._arrivals = Arrivals()
        self._beginning = bytearray()
        self._name: str | None = None
        self._whole = bytearray()
        self._bytes = 0
        self._last_ns = 0

    @property
    def kept(self) -> int:
        """How many bytes of the answer are held."""
        return len(self._whole)

    def sent(self, data: bytes) -> None:
        """A piece of the request's body: only its edges are kept, and only until the answer is over."""
        first, last = self._edges
        if len(first) < _EDGE:
            self._edges = first + data[: _EDGE - len(first)], (last + data[_EDGE - len(first) :])[-_EDGE:]
        else:
            self._edges = first, (last + data)[-_EDGE:]

    def asked(self, at_ns: int) -> None:
        """The request is whole."""
        self._asked_ns = at_ns

    def begins(self, at_ns: int, head: Head) -> None:
        """The answer's head."""
        self._status, self._last_ns = head.status, at_ns
        if not self.dialect or not 200 <= head.status < 300:
            return
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._streamed = kind in ("text/event-stream", "application/x-ndjson")
        if head.headers.get("content-encoding", "identity").lower() != "identity":
            self.missed = "encoded"
        elif self._streamed:
            self._stream = Stream(self.dialect)

    def answered(self, pieces: Sequence[Piece]) -> None:
        """Pieces of the answer's body, one at least."""
        self._last_ns = pieces[-1][0]
        if not self.dialect or not 200 <= self._status < 300 or self.missed:
            return
        self._bytes += sum([len(data) for _, data in pieces])
        if self._bytes > (MAX_STREAM_BYTES if self._stream else MAX_WHOLE_BYTES):
            self.missed, self._stream, self._whole = "too_large", None, bytearray()
        elif self._stream:
            if self._name is None and len(self._beginning) < _EDGE:
                self._look_for_name(b"".join(data for _, data in pieces))
            self._stream.feed_all(pieces)
            if len(self._stream.answer.chunks) > _RECENT:
                self._arrivals.take(self._stream.answer.chunks, leave=1)
        else:
            for _, data in pieces:
                self._whole += data

    def over(self, how: str) -> Generator[None, None, Seen | None]:
        """What it turned out to be, ended by `end`, `eof`, `reset`, `client` or `unreachable`; None for no request
        that generates. A long answer takes several steps.
        """
        if not self.dialect:
            return None
        answer = self._stream.end() if self._stream else self._read() if how == "end" else None
        chunks = bool(answer and answer.chunks)
        if answer and answer.finish in ("load", "unload") and not chunks:
            # Ollama's way to bring a model into memory or out of it.
            return None
        status = self._how_it_ended(how, answer)
        whole = status == "2xx"
        answer = answer or Answer()
        if whole and chunks and answer.generated_tokens is None:
            self.missed = self.missed or "no_count"
        latency = None
        if self._streamed:
            self._arrivals.take(answer.chunks)
            latency = yield from self._arrivals.latency(answer, whole)
        return Seen(
            answer.model or self._name or self._model(), status, self._seconds(self._arrivals.first_ns),
            self._seconds(self._last_ns or None), latency,
            answer.prompt_tokens, answer.cached_tokens, answer.generated_tokens,
        )  # fmt: skip

    def _look_for_name(self, data: bytes) -> None:
        # Names are short: of one that was cut, the beginning is in what came last.
        seen = max(len(self._beginning) - 500, 0)
        self._beginning += data
        self._name = _name(self._beginning[seen:])

    def _how_it_ended(self, how: str, answer: Answer | None) -> str:
        if how == "unreachable":
            return how
        if self._status and not 200 <= self._status < 300:
            return f"{self._status // 100}xx"
        if answer and (answer.error or answer.garbage):
            return "error"
        if answer and self._streamed and answer.terminated:
            return "2xx"
        if how == "client":
            return "disconnected"
        return "2xx" if how == "end" and (self.missed or not self._streamed) else "cut"

    def _read(self) -> Answer | None:
        """An answer that is no stream; None where it cannot be read."""
        if not 200 <= self._status < 300 or self.missed:
            return None
        reader = DIALECTS[self.dialect or ""][1]()
        try:
            # oMLX sends spaces to keep the connection alive.
            body = json.loads(self._whole)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            reader.answer.garbage = "no JSON"
        elif error := error_in(body, ""):
            reader.answer.error = error
        else:
            if self.dialect == "lm_studio":
                body = {"type": "chat.end", "result": body}
            reader.take(self._last_ns, body, "")
        reader.close()
        return reader.answer

    def _model(self) -> str | None:
        """The name in the answer, which is the engine's own, or else the one in the request."""
        texts = (self._whole[:_EDGE], self._whole[-_EDGE:], *self._edges)
        return next((name for text in texts if (name := _name(text))), None)

    def _seconds(self, at_ns: int | None) -> float | None:
        return max(at_ns - self._asked_ns, 0) / 1e9 if at_ns and self._asked_ns else None


def _name(text: bytes | bytearray) -> str | None:
    """The first name of a model in it."""
    if found := _MODEL.search(text):
        try:
            return clean(json.loads(found[1]))
        except ValueError:
            pass
    return None
