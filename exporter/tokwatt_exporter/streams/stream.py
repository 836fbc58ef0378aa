"""A body in its dialect, read piece by piece."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from tokwatt_exporter.streams.answer import Answer, Reader, error_in, excerpt
from tokwatt_exporter.streams.lm_studio import LMStudio
from tokwatt_exporter.streams.ollama import Ollama
from tokwatt_exporter.streams.openai import OpenAI
from tokwatt_exporter.streams.sse import Event, Events, JsonLines, ServerSentEvents, WholeBody

#: A piece of the body and when the read that brought it returned, in nanoseconds.
Piece = tuple[int, bytes]
Dialect = Literal["openai", "ollama", "lm_studio"]

DIALECTS: Mapping[str, tuple[Callable[[], Events], Callable[[], Reader]]] = {
    "openai": (ServerSentEvents, OpenAI),
    "ollama": (JsonLines, Ollama),
    "lm_studio": (ServerSentEvents, LMStudio),
}


class Stream:
    """Takes the body of an answer as it comes. Never raises: what is no stream has `garbage` or `error`."""

    def __init__(self, dialect: str, *, whole: bool = False) -> None:
        """`whole` is for an answer that was asked for without streaming; its only chunk is all of its text."""
        events, reader = DIALECTS[dialect]
        self._events, self._reader = (WholeBody() if whole else events()), reader()

    @property
    def answer(self) -> Answer:
        """What came so far; counts are in it after `end`."""
        return self._reader.answer

    def feed(self, at_ns: int, piece: bytes) -> None:
        """A piece and when the read that brought it returned."""
        for event in self._events.feed(at_ns, piece):
            self._take(event)

    def end(self) -> Answer:
        """The whole of it, whether it ended as it should or was cut."""
        for event in self._events.end():
            self._take(event)
        self._reader.close()
        return self.answer

    def _take(self, event: Event) -> None:
        answer = self._reader.answer
        if answer.terminated or not event.data.strip():
            return
        if event.comment:
            self._reader.comment(event.at_ns, event.data)
            return
        answer.last_ns = event.at_ns
        if event.data.strip() == b"[DONE]":
            answer.terminated = True
            return
        try:
            body = json.loads(event.data)
        # RecursionError: a few kilobytes of "[[[[" are valid JSON so far.
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            answer.garbage = answer.garbage or excerpt(event.data)
        elif error := error_in(body, event.kind):
            answer.error = answer.error or error
        else:
            self._reader.take(event.at_ns, body, event.kind)


def parse(pieces: Iterable[Piece], dialect: str) -> Answer:
    """A body that was recorded, at once."""
    stream = Stream(dialect)
    for at_ns, piece in pieces:
        stream.feed(at_ns, piece)
    return stream.end()
